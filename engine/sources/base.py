"""What a source is: cases by number, readable in any order, on any worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from pydantic import TypeAdapter

from engine import registry
from engine.recipe import SourceRecipe
from generators.types import Case


class SourceError(Exception):
    """A source that is not there or holds nothing usable; the message names the place and the fix."""


class Source(Protocol):
    """A third party's source needs just this; register it under the entry points ``lesionforge.sources``.

    ``Options`` is a dataclass or pydantic model that forbids unknown keys. Case ``c`` belongs to subject
    ``c // cases_per_subject``.
    """

    Options: type[Any]
    subjects: int
    cases_per_subject: int
    licence: str

    def __init__(self, place: str, options: Any) -> None:
        """``place`` is the URI after its scheme. Lists what is there, reads nothing yet."""

    def fingerprint(self) -> str:
        """Stands for the content in the dataset's identity; free of paths and of names of persons."""

    def read(self, case: int) -> Case:
        """Read one case.

        Raises:
            BadCase: with the reason, where the case cannot be used.
        """


def open_source(recipe: SourceRecipe) -> Source:
    """The source a recipe names.

    Raises:
        SourceError: where the place is missing or empty.
    """
    kind = registry.load("sources", recipe.scheme)
    options = TypeAdapter(kind.Options).validate_python(recipe.options)
    source: Source = kind(recipe.uri.split(":", 1)[1], options)
    return source


def open_sources(recipes: Sequence[SourceRecipe]) -> list[Source]:
    """All sources of a recipe, in order."""
    return [open_source(recipe) for recipe in recipes]
