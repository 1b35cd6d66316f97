"""The arms of a study of runs: real ones, real with generated ones, generated ones alone; sizes count subjects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from lesionforge.generators.types import stream
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.task import REAL, Item, TrainingSet

I = TypeVar("I", bound=Item)  # noqa: E741
MIXED, ALONE = "x1", "-alone"


def names(data: Sequence[str]) -> list[str]:
    """All arms of synthetic datasets by name."""
    return [arm for name in data for arm in (name or MIXED, f"{name or MIXED}{ALONE}")]


def data_of(arm: str, data: Sequence[str]) -> str | None:
    """Name of an arm's synthetic dataset, None for ``real``.

    Raises:
        UsageError: for an arm that no name explains.
    """
    if arm == REAL:
        return None
    name = arm.removesuffix(ALONE)
    name = "" if name == MIXED else name
    if name not in data:
        raise UsageError(f"arm {arm!r} is unknown; give {', '.join([REAL, *names(data)])}")
    return name


def training_set(
    task: str, arm: str, size: int | None, seed: int, real: Sequence[I], synthetic: Sequence[I], real_share: float
) -> TrainingSet[I]:
    """Items of one run; the subjects of a smaller size are among those of a larger one.

    Raises:
        UsageError: where there are fewer subjects than ``size``.
    """
    if arm.endswith(ALONE):
        return TrainingSet([], synthetic, real_share)
    if size is not None:
        subjects = sorted({item.subject for item in real})
        if size > len(subjects):
            raise UsageError(f"{size} subjects are asked for; there are {len(subjects)}")
        order = stream(f"{task}/{seed}".encode(), "subjects").permutation(len(subjects))
        chosen = {subjects[i] for i in order[:size]}
        real = [item for item in real if item.subject in chosen]
    return TrainingSet(real, synthetic, real_share)
