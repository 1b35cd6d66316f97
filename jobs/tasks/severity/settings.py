"""The learner's settings."""

from __future__ import annotations

from dataclasses import dataclass

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.images.training import ImageSettings

MODEL, CROPS = "attention", "crops"
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


@dataclass(frozen=True)
class CropSettings:
    """Of the learner that grades crops about lesions, see ``crop``.

    Attributes:
        steps, batch: of the optimizer; crops of a step.
        rate, decay, warmup: AdamW's learning rate at its highest, its weight decay, steps until the rate is there; then
            it falls along a cosine.
        average: of the weights' moving average, the ones that predict.
        shift_px: largest shift of a crop's centre from its box's, along each axis, in pixels of a 512-pixel frame.
        scale: that its classes are of: ``visual``, by eye, as experts grade; ``geometric``, as QCA measures. Generated
            lesions are measured, so for ``visual`` their %DS is brought to experts' scale first; to be scored on these,
            whose classes stay measured, it takes ``geometric``.
    """

    steps: int = 800
    batch: int = 48
    rate: float = 2e-3
    decay: float = 0.05
    warmup: int = 40
    average: float = 0.99
    shift_px: float = 8.0
    scale: str = "visual"

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "rate"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}: give more than 0")
        if not 0 <= self.average < 1:
            raise UsageError(f"average is {self.average}: give 0 to less than 1")
        if not 0 <= self.shift_px <= 24:
            raise UsageError(f"shift_px is {self.shift_px}: give 0 to 24 pixels, or the lesion leaves its crop")
        if self.scale not in ("visual", "geometric"):
            raise UsageError(f"scale is {self.scale!r}: give visual or geometric")


def of_preset(preset: str) -> Settings:
    """``small``: minutes of a CPU core. ``paper``: Inception-v3 a view, batch 8, Adam at 1e-4, 200 epochs of 640."""
    if preset == "small":
        return Settings()
    return Settings("inception", 512, 16_000, 8, 1e-4, decay=0.0, average=0.0, attend=0.0, networks="view")
