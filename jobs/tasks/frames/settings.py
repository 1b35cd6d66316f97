"""The learners of the task ``frames`` and how they learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.images.training import ImageSettings

LEARNERS: Final = ("lstm", "ridge")
PRESETS: Final = ("small", "paper")


@dataclass(frozen=True)
class FrameSettings(ImageSettings):
    """The network of single frames, see ``ImageSettings``, and the one of whole runs that follows it.

    Attributes:
        phases: a run's time is brought to so many moments.
        width: of the bi-directional LSTM, each way.
        run_steps, run_batch, run_rate: of its training.
        copies: of every run's features, all but one of changed frames.
    """

    size: int = 96
    steps: int = 400
    rate: float = 1e-3
    phases: int = 64
    width: int = 48
    run_steps: int = 500
    run_batch: int = 16
    run_rate: float = 2e-3
    copies: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "run_steps", "run_batch", "run_rate", "copies"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}: give more than 0")
        if self.phases < 2:
            raise UsageError(f"phases is {self.phases}: give 2 or more")


@dataclass(frozen=True)
class RidgeSettings:
    """Of the baseline. ``runs``: at most so many are looked at to choose the threshold."""

    runs: int = 40

    def __post_init__(self) -> None:
        if not self.runs > 0:
            raise UsageError(f"runs is {self.runs}: give 1 or more")


# Cong et al.: 18,688 frames, Inception-v3 for 200 epochs at 1e-4 (batch 8 is their code's), Bi-LSTM of 146 runs for 100
# epochs at 4e-5. As many passes would be 467,200 steps; a quarter of the epochs at four times the batch is taken.
PAPER: Final = {"network": "inception", "size": 299, "steps": 29_200, "batch": 32, "rate": 1e-4, "decay": 0.0,
                "fall": "drops", "average": 0.0, "width": 256, "run_steps": 1_900, "run_batch": 8, "run_rate": 4e-5,
                "copies": 1}  # fmt: skip


def settings(model: str, preset: str) -> FrameSettings | RidgeSettings:
    """A learner's settings as they are unless told otherwise.

    Raises:
        UsageError: for an unknown one.
    """
    if model not in LEARNERS:
        raise UsageError(f"learner {model!r} is unknown; give {' or '.join(LEARNERS)}")
    if model == "ridge":
        return RidgeSettings()
    return FrameSettings(**PAPER) if preset == "paper" else FrameSettings()  # type: ignore[arg-type]
