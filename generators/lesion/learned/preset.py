"""Sizes: the papers' (``paper``), one meant for a GPU (``small``, not fitted yet) and a toy for tests (``tiny``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """Networks by their arguments.

    Attributes:
        side: of the cubes, voxels.
        vqgan: of ``networks.vqgan.VQGAN``; the published sizes are its defaults.
        discriminators: of ``networks.vqgan.Discriminators``.
        unet: of ``networks.unet.LatentUNet``.
        pixels: of ``networks.pixels.PixelUNet``, which is Med-DDPM's.
        prompt: width of a prompt.
        patch: side of the mask's patches in ``promptlesion-mask``, voxels.
    """

    side: int
    vqgan: Mapping[str, Any]
    discriminators: Mapping[str, Any]
    unet: Mapping[str, Any]
    pixels: Mapping[str, Any]
    prompt: int
    patch: int


PRESETS: Mapping[str, Preset] = {
    "paper": Preset(
        side=96,
        vqgan={"hidden": 16, "levels": 2, "dim": 8, "n_codes": 16_384, "groups": 32},
        discriminators={"channels": 64, "layers": 3},
        unet={"dim": 24, "mults": (1, 2, 4, 8), "heads": 8, "head_dim": 32, "groups": 8},
        pixels={"channels": (64, 64, 128, 192, 256), "heads": 4, "groups": 32},
        prompt=64,
        patch=12,
    ),
    "small": Preset(
        side=64,
        vqgan={"hidden": 16, "levels": 2, "dim": 8, "n_codes": 4096, "groups": 16},
        discriminators={"channels": 32, "layers": 3},
        unet={"dim": 32, "mults": (1, 2, 4), "heads": 4, "head_dim": 32, "groups": 8},
        pixels={"channels": (32, 64, 128, 128), "heads": 4, "groups": 16},
        prompt=64,
        patch=8,
    ),
    "tiny": Preset(
        side=16,
        vqgan={"hidden": 8, "levels": 2, "dim": 4, "n_codes": 32, "groups": 4},
        discriminators={"channels": 4, "layers": 1},
        unet={"dim": 16, "mults": (1, 2), "heads": 2, "head_dim": 8, "groups": 4},
        pixels={"channels": (8, 16), "heads": 2, "groups": 4},
        prompt=16,
        patch=4,
    ),
}
