"""What a person who reads a dataset can mend, and the checks of arguments that several of its classes make."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from lesionforge.generators.types import UserError


class ReaderError(UserError, ValueError):
    """Something asked of a dataset that it cannot give; the message names the argument, its value and the fix."""


def texts(name: str, value: Any, example: str) -> list[str]:
    """A list of texts. A text is one of its letters too, so it is refused.

    Args:
        name: of the argument.
        value: what was given.
        example: what to give.

    Raises:
        ReaderError: where it is none.
    """
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise ReaderError(f"{name} is {shown(value)}, no list of names: give {example}")
    return list(value)


def integer(name: str, value: Any, least: int, below: int) -> int:
    """An integer, numpy's too, of ``least`` to ``below - 1``.

    Raises:
        ReaderError: where it is none or another one.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if not least <= number < below:
        raise ReaderError(f"{name} is {shown(value)}: give an integer of {least} to {below - 1}")
    return number


def weight(name: str, value: Any) -> Fraction:
    """A number of at least 0, as it is written.

    Raises:
        ReaderError: where it is none.
    """
    try:
        number = Fraction(str(value))
    except ValueError:
        number = Fraction(-1)
    if number < 0:
        raise ReaderError(f"{name} is {shown(value)}: give a number of at least 0")
    return number


def shown(value: Any) -> str:
    """A value in an error: one line, not too long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:60]}..."
