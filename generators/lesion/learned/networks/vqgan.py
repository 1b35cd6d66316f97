"""The 3-D VQGAN of DiffTumor (Chen et al. 2024, step 1) and its two discriminators, to the published parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as functional
from torch import Tensor, nn

from lesionforge.generators.lesion.learned.networks.codebook import Codebook

_EPS = 1e-6


def _norm(channels: int, groups: int) -> nn.Module:
    return nn.GroupNorm(groups, channels, eps=_EPS)


def _conv(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    return nn.Conv3d(inside, outside, kernel, stride, padding=1, padding_mode="replicate")


class VolumeResidual(nn.Module):  # type: ignore[misc]
    """x + conv(silu(norm(conv(silu(norm(x))))))."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        layers: list[Any] = []
        for _ in range(2):
            layers += [_norm(channels, groups), nn.SiLU(), _conv(channels, channels)]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Up(nn.Module):  # type: ignore[misc]
    """Transposed convolution that doubles every axis, its border replicated."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose3d(inside, outside, 4, stride=2, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.pad(x, (1,) * 6, mode="replicate"))


class VQGAN(nn.Module):  # type: ignore[misc]
    """Volumes (n, 1, f, h, w), -1 ... 1, to latents (n, dim, f / 4, h / 4, w / 4) and back (for two levels).

    Args:
        hidden: channels of the first level.
        levels: times that every axis is halved.
        dim: channels of the latent.
        n_codes: of the codebook.
        groups: of the normalisation.
    """

    def __init__(
        self, hidden: int = 16, levels: int = 2, dim: int = 8, n_codes: int = 16_384, groups: int = 32
    ) -> None:
        super().__init__()
        down: list[Any] = [_conv(1, hidden)]
        for n in range(levels):
            wide = hidden * 2 ** (n + 1)
            down += [_conv(wide // 2, wide, 4, stride=2), VolumeResidual(wide, groups)]
        top = hidden * 2**levels
        self.encoder = nn.Sequential(*down, _norm(top, groups), nn.SiLU())
        up: list[Any] = [_norm(top, groups), nn.SiLU()]
        inside = top
        for n in range(levels):
            outside = hidden * 2 ** (levels - n)
            up += [Up(inside, outside), VolumeResidual(outside, groups), VolumeResidual(outside, groups)]
            inside = outside
        self.decoder = nn.Sequential(*up, _conv(inside, 1))
        self.before = nn.Conv3d(top, dim, 1)
        self.after = nn.Conv3d(dim, top, 1)
        self.codebook = Codebook(n_codes, dim)

    def encode(self, volume: Tensor) -> Tensor:
        """Latents, not quantised."""
        return self.before(self.encoder(volume))

    def decode(self, latent: Tensor) -> Tensor:
        """Volumes of latents, which are quantised first."""
        return self.decoder(self.after(self.codebook.lookup(latent)))

    def forward(self, volume: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction, commitment loss (n,) and indices; ``seed`` as in ``Codebook.forward``."""
        quantised, commitment, index = self.codebook(self.encode(volume), seed)
        return self.decoder(self.after(quantised)), commitment, index

    # Latents for the diffusion model: -1 ... 1 from the smallest to the largest number in the codebook.

    def scale(self, latent: Tensor) -> Tensor:
        low, high = self.codebook.codes.min(), self.codebook.codes.max()
        return 2 * (latent - low) / (high - low) - 1

    def unscale(self, latent: Tensor) -> Tensor:
        low, high = self.codebook.codes.min(), self.codebook.codes.max()
        return (latent + 1) / 2 * (high - low) + low


class Discriminators(nn.Module):  # type: ignore[misc]
    """Of slices and of volumes: pix2pixHD's patch discriminators (Wang et al. 2018), as MONAI has them."""

    def __init__(self, channels: int = 64, layers: int = 3) -> None:
        super().__init__()
        from monai.networks.nets.patchgan_discriminator import PatchDiscriminator

        self.slice, self.volume = (PatchDiscriminator(d, channels, 1, 1, layers, bias=True, padding=2) for d in (2, 3))

    def forward(self, volume: Tensor, slices: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Features of each layer, the last the verdict, of slices (n, 1, h, w) and volumes (n, 1, f, h, w)."""
        return self.slice(slices), self.volume(volume)
