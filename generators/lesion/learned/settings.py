"""What a fitted model's folder says beside its weights, and the sizes it can be built of.

Sizes: the papers' (``paper``), one meant for a GPU (``small``, not fitted yet) and a toy for tests (``tiny``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lesionforge.generators.diffusion.model import FittedSettings
from lesionforge.generators.lesion.blend import HALO_MM

HEALTHY = "healthy"
BACKENDS = ("difftumor", "medddpm", "promptlesion", "promptlesion-mask")

BENT_WINDOW, BEND_HU = (-1000.0, 1800.0), 500.0  # all tissue there is; see ``crop.unit``
#: HU that the networks tell apart. DiffTumor's for the abdomen; there lumen and calcium would both be clipped.
WINDOWS: Mapping[str, tuple[float, float]] = {"abdomen": (-175.0, 250.0), "ccta": (-200.0, 900.0), "all": BENT_WINDOW}


@dataclass(frozen=True)
class LesionSettings(FittedSettings):
    """A model in words and numbers.

    ``steps``: all levels, DDPM's ancestral steps; fewer, DDIM without fresh noise.

    Attributes:
        backend: one of ``BACKENDS``, or ``vqgan`` for an autoencoder alone.
        side: of the cubes it works on, voxels.
        window: HU that become -1 and 1.
        bend_hu: of the way between them, see ``crop.unit``.
        spacing_mm: edge lengths of the voxels it was fitted on, (i, j, k).
        spacings_mm: the same of each class's, where classes have voxels of their own.
        hu: of each class ``follows``: how much of its organ's or vessel's HU the mean of its core follows; and of the
            lesions that were seen, from the darkest to the brightest, ``rest``: what is left, HU, and ``radius_mm``:
            that of the ball of its volume.
        levels_hu: of each class, the least and the most HU of the organs or vessels that its lesions lay in.
        grain: of each class, how uneven its tissue is by itself, HU, and its share of the scan's grain.
        networks: arguments of each network there is: ``vqgan``, ``unet``, ``pixels``, ``voxels``, ``prompt``.
        classes: of lesions, ``healthy`` the first.
        levels: of noise in the schedule.
        halo_mm: least reach of what is hidden about a lesion, see ``blend.halo_mm``.
        strength: share of the way to pure noise from which the background is taken back; 1: from noise alone.
    """

    backend: str
    side: int
    window: tuple[float, float]
    spacing_mm: tuple[float, float, float]
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    levels: int = 0
    bend_hu: float = 0.0
    spacings_mm: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    hu: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    levels_hu: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    grain: Mapping[str, Sequence[float]] = field(default_factory=dict)
    halo_mm: float = HALO_MM
    strength: float = 1.0

    def __post_init__(self) -> None:
        for kind, told in self.hu.items():
            if not isinstance(told, Mapping) or set(told) != {"follows", "rest", "radius_mm"}:
                raise TypeError(f"hu of {kind} is told without the sizes of its lesions")  # as older weights have it

    @property
    def whole(self) -> bool:
        """Whether it draws voxels, in boxes as large as the lesion, and knows the level of its organ."""
        return "voxels" in self.networks

    @property
    def multiple(self) -> int:
        """What the edges of such boxes are whole multiples of; 0: all are cubes of one side."""
        return 2 ** len(self.networks["voxels"]["channels"]) if self.whole else 0

    @property
    def prompted(self) -> bool:
        """Whether it is one of PromptLesion's two."""
        return self.backend.startswith("promptlesion")


@dataclass(frozen=True)
class LesionPreset:
    """Networks by their arguments.

    Attributes:
        side: of the cubes, voxels.
        vqgan: of ``networks.vqgan.VQGAN``; the published sizes are its defaults.
        discriminators: of ``networks.vqgan.Discriminators``.
        unet: of ``networks.unet.LatentUNet``.
        pixels: of ``networks.pixels.PixelUNet``, which is Med-DDPM's.
        voxels: of ``networks.voxels.VoxelUNet``, which is PromptLesion's in place of ``vqgan`` and ``unet``.
        prompt: width of a prompt.
        patch: side of the mask's patches in ``promptlesion-mask``, voxels.
    """

    side: int
    prompt: int
    patch: int
    vqgan: Mapping[str, Any] = field(default_factory=dict)
    discriminators: Mapping[str, Any] = field(default_factory=dict)
    unet: Mapping[str, Any] = field(default_factory=dict)
    pixels: Mapping[str, Any] = field(default_factory=dict)
    voxels: Mapping[str, Any] = field(default_factory=dict)


PRESETS: Mapping[str, LesionPreset] = {
    "paper": LesionPreset(
        side=96,
        vqgan={"hidden": 16, "levels": 2, "dim": 8, "n_codes": 16_384, "groups": 32},
        discriminators={"channels": 64, "layers": 3},
        unet={"dim": 24, "mults": (1, 2, 4, 8), "heads": 8, "head_dim": 32, "groups": 8},
        pixels={"channels": (64, 64, 128, 192, 256), "heads": 4, "groups": 32},
        prompt=64,
        patch=12,
    ),
    "small": LesionPreset(
        side=64,
        vqgan={"hidden": 16, "levels": 2, "dim": 8, "n_codes": 4096, "groups": 16},
        discriminators={"channels": 32, "layers": 3},
        unet={"dim": 32, "mults": (1, 2, 4), "heads": 4, "head_dim": 32, "groups": 8},
        pixels={"channels": (32, 64, 128, 128), "heads": 4, "groups": 16},
        prompt=64,
        patch=8,
    ),
    "tiny": LesionPreset(
        side=16,
        vqgan={"hidden": 8, "levels": 2, "dim": 4, "n_codes": 32, "groups": 4},
        discriminators={"channels": 4, "layers": 1},
        unet={"dim": 16, "mults": (1, 2), "heads": 2, "head_dim": 8, "groups": 4},
        pixels={"channels": (8, 16), "heads": 2, "groups": 4},
        prompt=16,
        patch=4,
    ),
    "voxel": LesionPreset(side=16, voxels={"channels": (32, 80), "spread": 0.2}, prompt=32, patch=4),
}
