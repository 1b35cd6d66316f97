"""Severity classes of a percent diameter stenosis, and what is known of a run's lesions in them.

Cuts are half-open, as everywhere: class k holds %DS from cut k up to cut k + 1. ``25`` is CORE320's 2-CAT (below 25, 25
and more), ``25/100`` its 3-CAT (total occlusions apart), ``50/70`` and ``70`` are clinical. A lesion whose class alone
is known (moderate: 50 to 70) is somewhere in an interval; it has a class of the cuts where no cut is inside of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from lesionforge.generators.types import significant
from lesionforge.jobs.errors import UsageError

UNKNOWN = -1  # class of a frame that holds a lesion which nobody graded so finely
INTERVALS: Mapping[str | None, tuple[float, float]] = {  # %DS, both ends can be
    "mild": (0.0, 49.0),
    "moderate": (50.0, 69.0),
    "severe": (70.0, 100.0),
    None: (0.0, 100.0),
}


def cuts(text: str) -> tuple[float, ...]:
    """``25/100`` as (25.0, 100.0).

    Raises:
        UsageError: for what is no rising list of percents.
    """
    try:
        found = tuple(float(part) for part in str(text).split("/"))
    except ValueError:
        found = ()
    if not found or any(not 0 < one <= 100 for one in found) or list(found) != sorted(set(found)):
        raise UsageError(f"cut is {text!r}: give rising %DS such as 25 (2-CAT), 25/100 (3-CAT), 50/70 or 70")
    return found


def grade(percent_ds: float, cuts: tuple[float, ...]) -> int:
    """Class of a percent diameter stenosis: how many cuts it reaches."""
    return sum(significant(percent_ds) >= cut for cut in cuts)


def between(lesion: Mapping[str, Any]) -> tuple[float, float]:
    """Lowest and highest %DS that a lesion may have, which are one where somebody measured it; see ``worst``."""
    percent = lesion.get("percent_ds")
    return INTERVALS[lesion.get("severity_class")] if percent is None else (percent, percent)


def worst(lesions: Iterable[Mapping[str, Any]], cuts: tuple[float, ...]) -> int:
    """Class of the worst of some lesions, 0 of none, ``UNKNOWN`` where it is not known well enough.

    Args:
        lesions: with ``percent_ds`` and ``severity_class``, either of which may be None or missing.
        cuts: in %DS, rising.
    """
    low = high = 0
    for lesion in lesions:
        ends = between(lesion)
        low, high = max(low, grade(ends[0], cuts)), max(high, grade(ends[1], cuts))
    return low if low == high else UNKNOWN


def names(cuts: tuple[float, ...]) -> list[str]:
    """``<25``, ``25-99``, ``100``: the classes in words."""
    ends = [f"{cut:g}" for cut in cuts]
    middle = [f"{a:g}-{b - 1:g}" for a, b in pairwise(cuts)]
    return [f"<{ends[0]}", *middle, "100" if cuts[-1] == 100 else f"≥{ends[-1]}"]
