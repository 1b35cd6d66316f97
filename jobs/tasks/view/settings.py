"""The learners of the task ``view`` and how they learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.images.training import ImageSettings

LEARNERS: Final = ("net", "angles")
PRESETS: Final = ("small", "paper")


@dataclass(frozen=True)
class ViewSettings(ImageSettings):
    """See ``ImageSettings``.

    ``frames``: of each run, evenly among those of full contrast, that are learnt from and averaged over. Turns and
    bends are wide: no two hearts lie alike, and a side is told by how its tree forks, not by which way its trunk runs.
    """

    frames: int = 4
    turn_deg: float = 30.0
    bend: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.frames > 0:
            raise UsageError(f"frames is {self.frames}: give 1 or more")


@dataclass(frozen=True)
class AngleSettings:
    """Of the baseline that looks at the C-arm's angles alone.

    ``spread_deg``: least standard deviation of a class's angles.
    """

    spread_deg: float = 5.0

    def __post_init__(self) -> None:
        if not self.spread_deg > 0:
            raise UsageError(f"spread_deg is {self.spread_deg}: give more than 0 degrees")


# 30 epochs of 16,655 frames (four fifths of 20,819) in batches of 32, half of them with C5 and the head alone.
PAPER: Final = {"network": "resnet50", "size": 224, "steps": 15_600, "rate": 1e-5, "decay": 0.0, "fall": "drops",
                "average": 0.0, "frozen": 0.5, "frames": 16, "turn_deg": 12.0, "bend": 0.0}  # fmt: skip


def settings(model: str, preset: str) -> ViewSettings | AngleSettings:
    """A learner's settings as they are unless told otherwise.

    Raises:
        UsageError: for an unknown one.
    """
    if model not in LEARNERS:
        raise UsageError(f"learner {model!r} is unknown; give {' or '.join(LEARNERS)}")
    if model == "angles":
        return AngleSettings()
    return ViewSettings(**PAPER) if preset == "paper" else ViewSettings()  # type: ignore[arg-type]
