"""The networks, and how they learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lesionforge.jobs.errors import UsageError

NETWORKS: Final = ("unet", "dynunet")


@dataclass(frozen=True)
class Settings:
    """A network in numbers.

    Attributes:
        network: ``unet`` (MONAI's, residual) or ``dynunet`` (nnU-Net's design).
        channels: of each level; between two levels the sides are halved.
        patch: side of what it learns from and of the sliding window, voxels.
        batch: patches of a step.
        steps: of the optimizer.
        rate, decay: AdamW's learning rate, at its highest, and weight decay.
        warmup: steps over which the rate rises; then it falls as a cosine.
        overlap: of the sliding windows, as a share of their side.
        batch_dice: Dice loss over the voxels of the batch, not of each patch.
        positive: share of patches about a lesion.
        weight: of lesions' voxels in the cross-entropy, against background's 1: above 1 the network does not begin by
            calling everything background, from which it comes back late.
        loaders: processes that cut patches ahead; 0 cuts them in this one.
    """

    network: str
    channels: tuple[int, ...]
    patch: int
    batch: int
    steps: int
    rate: float
    warmup: int
    decay: float = 1e-5
    overlap: float = 0.75
    batch_dice: bool = False
    positive: float = 0.5
    weight: float = 1.0
    loaders: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))  # a list, read from JSON or a command line
        cell = 2 ** (len(self.channels) - 1)
        if len(self.channels) < 3:
            raise UsageError(f"channels are {list(self.channels)}: give three levels or more")
        if self.patch < cell or self.patch % cell:
            raise UsageError(f"patch is {self.patch}: {len(self.channels)} levels need a multiple of {cell}")
        for name in ("batch", "steps", "rate", "warmup", "weight"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}: give more than 0")
        if not 0 <= self.positive <= 1:
            raise UsageError(f"positive is {self.positive}: give 0 to 1")
        if not 0 <= self.overlap < 1:
            raise UsageError(f"overlap is {self.overlap}: give 0 to less than 1")


# DiffTumor's third step: 2,000 epochs of 211 volumes in batches of 12, the first 100 of them to warm up.
_PAPER: Final[dict[str, Any]] = {"patch": 96, "batch": 12, "steps": 36_000, "warmup": 1_800, "rate": 4e-4, "loaders": 8}
# 1,500 steps in place of 36,000: small patches about weighted lesions, so that they are found at all. With a third of
# the steps training limits a network, not its data: other subjects' lesions then add nothing to those of six.
_TINY: Final[dict[str, Any]] = {
    "channels": (8, 16, 32, 64),
    "patch": 32,
    "warmup": 20,
    "overlap": 0.5,
    "batch_dice": True,
}
PRESETS: Final[Mapping[tuple[str, str], Settings]] = {
    ("unet", "paper"): Settings("unet", (16, 32, 64, 128, 256), **_PAPER),
    ("dynunet", "paper"): Settings("dynunet", (32, 64, 128, 256, 320), **_PAPER),
    ("unet", "tiny"): Settings("unet", batch=8, steps=1500, rate=5e-3, weight=2.0, **_TINY),
    # Its logits grow with the last layer's weights alone, as the layer before is normalised: hence the higher rate.
    ("dynunet", "tiny"): Settings("dynunet", batch=4, steps=1500, rate=2e-2, positive=0.75, weight=4.0, **_TINY),
}


def settings(network: str, preset: str) -> Settings:
    """The settings of a network.

    Args:
        network: one of ``NETWORKS``.
        preset: ``paper`` (the published sizes, for a GPU) or ``tiny`` (minutes of one CPU core).

    Raises:
        UsageError: for an unknown network or preset.
    """
    if (network, preset) not in PRESETS:
        presets = " or ".join(sorted({preset for _, preset in PRESETS}))
        networks = " or ".join(NETWORKS)
        raise UsageError(f"network {network!r}, preset {preset!r}: give {networks}, and the preset {presets}")
    return PRESETS[network, preset]
