"""The arms of the study: those of every task of runs, and each with redundancy frames.

``redundancy``: real runs and their frames from before the contrast, as a class of their own. ``NAME``, ``NAME-alone``:
with generated runs or stills, or with these alone, see ``tasks.images.arms``; the ending ``-redundancy`` adds
redundancy frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.task import REAL, TrainingSet
from lesionforge.jobs.tasks.images import arms
from lesionforge.jobs.tasks.severity.images import Images

REDUNDANCY = "redundancy"


def parsed(arm: str) -> tuple[str, bool]:
    """The arm without redundancy frames, and whether it has them."""
    return (REAL if arm == REDUNDANCY else arm.removesuffix(f"-{REDUNDANCY}")), arm.endswith(REDUNDANCY)


def data_of(arm: str, data: Sequence[str]) -> str | None:
    """See ``Task.data_of_arm``."""
    try:
        return arms.data_of(parsed(arm)[0], data)
    except UsageError:
        there = ", ".join([REAL, REDUNDANCY, *arms.names(data)])
        raise UsageError(f"arm {arm!r} is unknown; give {there}, or one with the ending -{REDUNDANCY}") from None


def training_set(
    arm: str, size: int | None, seed: int, real: Sequence[Images], synthetic: Sequence[Images], real_share: float
) -> TrainingSet[Images]:
    """Runs of one training, ``size`` counts subjects.

    Raises:
        UsageError: where there are too few, or no redundancy frames.
    """
    plain, redundancy = parsed(arm)
    chosen = arms.training_set("severity", plain, size, seed, real, synthetic, real_share)
    if not redundancy:
        bare = ([one.without_redundancy() for one in pool] for pool in (chosen.real, chosen.synthetic))
        return replace(chosen, real=next(bare), synthetic=next(bare))
    if not any(len(one.empty) for one in [*chosen.real, *chosen.synthetic]):
        raise UsageError(f"arm {arm!r} needs frames from before the contrast, and no run has one: give other --arms")
    return chosen
