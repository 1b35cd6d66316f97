"""The learner's settings."""

from __future__ import annotations

from dataclasses import dataclass

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.images.training import ImageSettings

MODEL = "attention"
APART = ("joint", "view")


@dataclass(frozen=True)
class Settings(ImageSettings):
    """See ``ImageSettings``; every network of a learner takes all steps.

    Attributes:
        attend: weight of a loss that draws the attention into labelled boxes; 0: as CORE320, which had none here.
        networks: ``joint``: one for all images; ``view``: one for each view of the left tree (LAO or RAO, cranial or
            caudal) and one for the right tree, as CORE320's.
    """

    size: int = 192
    steps: int = 1500
    batch: int = 16
    attend: float = 1.0
    networks: str = "joint"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attend < 0:
            raise UsageError(f"attend is {self.attend}: give 0 or more")
        if self.networks not in APART:
            raise UsageError(f"networks is {self.networks!r}: give {' or '.join(APART)}")


def of_preset(preset: str) -> Settings:
    """``small``: minutes of a CPU core. ``paper``: Inception-v3 a view, batch 8, Adam at 1e-4, 200 epochs of 640."""
    if preset == "small":
        return Settings()
    return Settings("inception", 512, 16_000, 8, 1e-4, decay=0.0, average=0.0, attend=0.0, networks="view")
