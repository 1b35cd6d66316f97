"""What a generator's parameters are: frozen dataclasses whose bounds stand in their types, once.

    @dataclass(frozen=True)
    class NoiseParams(Parameters):
        dose: Range[Annotated[float, Interval(ge=0.1, le=1)]] = (0.3, 1.0)

The engine and ``lesionforge schema`` read the same annotations; ``Parameters`` holds to them what is built without the
engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import repeat
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from annotated_types import Interval

__all__ = ["Interval", "LowFirst", "Parameters", "Range", "bounds_text"]

T = TypeVar("T")


class LowFirst:
    """Marks a pair as a range: its first value is at most its second."""


Range = Annotated[tuple[T, T], LowFirst()]


@dataclass(frozen=True)
class Parameters:
    """Base of parameters; by itself, none.

    A subclass that checks across fields in a ``__post_init__`` of its own calls ``super().__post_init__()`` first.
    """

    def __post_init__(self) -> None:
        """Hold every field against the bounds in its type.

        Raises:
            ValueError: naming field, value and bounds.
        """
        kind: Any = type(self)
        hints = _hints(kind)
        for field in fields(self):
            for message in _faults(field.name, getattr(self, field.name), hints[field.name]):
                raise ValueError(message)


def bounds_text(bounds: Any) -> str:
    """``0 to 1``, ``1 or more``, ``above 0`` ...; empty where there are none. Of an ``Interval``."""
    limits = (bounds.ge, bounds.gt, bounds.le, bounds.lt)
    low, above, high, below = ("" if x is None else str(x) if isinstance(x, int) else f"{x:.4g}" for x in limits)
    if low and high:
        return f"{low} to {high}"
    words = (
        above and f"above {above}",
        low and f"{low} or more",
        high and f"at most {high}",
        below and f"below {below}",
    )
    return ", ".join(filter(None, words))


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _faults(name: str, value: Any, hint: Any) -> Iterator[str]:
    """What is out of bounds in a value of a type, at any depth of tuples and unions."""
    kind, marks = _split(hint)
    parts: Any = get_args(kind)
    if value is None:
        return
    if any(isinstance(mark, LowFirst) for mark in marks):
        bounds = _interval(_split(parts[0])[1])
        low, high = value
        if not (low <= high and _within(low, bounds) and _within(high, bounds)):
            within = bounds_text(bounds)
            yield f"{name} is {low:g} ... {high:g}: give a range, low first{within and ', within '}{within}"
    elif isinstance(value, tuple):
        for item, part in zip(value, repeat(parts[0]) if parts[-1:] == (Ellipsis,) else parts, strict=False):
            yield from _faults(name, item, part)
    elif not _within(value, bounds := _interval(marks)):
        yield f"{name} is {value:g}: give {bounds_text(bounds)}"
    else:
        for part in parts:  # of a union
            yield from _faults(name, value, part)


def _split(hint: Any) -> tuple[Any, Sequence[Any]]:
    if get_origin(hint) is Annotated:
        kind, *marks = get_args(hint)
        return kind, marks
    return hint, ()


def _interval(marks: Sequence[Any]) -> Interval:
    found = {
        name: limit
        for mark in marks
        for name in ("gt", "ge", "lt", "le")
        if (limit := getattr(mark, name, None)) is not None
    }
    return Interval(**found)


def _within(value: Any, bounds: Interval) -> bool:
    """False for NaN wherever there is a bound."""
    if isinstance(value, str) or bounds == Interval():
        return True
    low = value > bounds.gt if bounds.gt is not None else bounds.ge is None or value >= bounds.ge
    high = value < bounds.lt if bounds.lt is not None else bounds.le is None or value <= bounds.le
    return bool(low and high)
