"""XRA-Diff's network: diffusers' ``UNet3DConditionModel`` that is told of the views by the hull and by vectors.

As the paper and its code have it (Table 3), which makes it what it is: a network for video, whose time is the grid's
first axis and is never halved; one vector as the whole context, so that its cross-attention is a shift that no query
changes (queries and keys learn nothing); with 32 groups for 32 channels, norms at the finest level that take off again
what the noise level added there. ``small`` and ``tiny`` keep the first two and have several channels a group.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import UNet3DConditionModel
from torch import Tensor, nn
from torch.nn import functional

from lesionforge.jobs.errors import UsageError


@dataclass(frozen=True)
class Sizes:
    """Of a network.

    Attributes:
        channels, layers: of the U-Net's levels, the finest first, and ResNet blocks of each; the coarsest but one and
            the bottom have attention.
        head, context: channels of an attention head, and of the vector that it is told.
        groups: of its norms.
        encoder: channels of the encoders.
        picture: pixels an edge at which they are given the views.
        patch: cells an edge that are one of the U-Net's, which has them as channels, and one of the hull's encoder,
            which has their mean; 1 takes the grid as it is.
    """

    channels: tuple[int, ...]
    layers: int
    head: int
    context: int
    groups: int
    encoder: int
    picture: int
    patch: int


PRESETS = {
    "paper": Sizes((32, 64, 128, 256, 512, 1024), 5, 64, 1024, 32, 64, 512, 1),
    "small": Sizes((64, 128, 192, 256), 2, 32, 256, 16, 64, 128, 2),
    "tiny": Sizes((32, 48, 64), 1, 16, 64, 8, 16, 64, 3),
}


class XraDiff(nn.Module):  # type: ignore[misc]
    """U-Net and encoders. On a GPU it computes in bfloat16 (autocast).

    Args:
        sizes: of it.
        views: of a pair, an encoder each.
        told: ``all`` of the views, ``hull`` (the paper's "no projections"), or ``nothing``.
    """

    def __init__(self, sizes: Sizes, views: int = 2, told: str = "all") -> None:
        super().__init__()
        self.sizes = sizes
        plain = len(sizes.channels) - 2
        self.unet = UNet3DConditionModel(
            in_channels=2 * sizes.patch**3,
            out_channels=sizes.patch**3,
            down_block_types=("DownBlock3D",) * plain + ("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D") + ("UpBlock3D",) * plain,
            block_out_channels=sizes.channels,
            layers_per_block=sizes.layers,
            cross_attention_dim=sizes.context,
            attention_head_dim=sizes.head,
            norm_num_groups=sizes.groups,
        )
        self.hull_encoder = HullEncoder(sizes.encoder, sizes.context) if told != "nothing" else None
        many = views if told == "all" else 0
        self.view_encoders = nn.ModuleList(ViewEncoder(sizes.encoder, sizes.context) for _ in range(many))

    def condition(self, hull: Tensor, shadows: Tensor) -> tuple[Tensor, Tensor]:
        """What it is told: the hull (b, 1, n, n, n) beside the noisy tree, and one vector (b, 1, context).

        Args:
            hull: uint8 (b, n, n, n), 0 or 1.
            shadows: uint8 (b, views, rows, cols), 0 or 1.
        """
        volume = hull[:, None].to(self.unet.dtype)
        if self.hull_encoder is None:
            return torch.zeros_like(volume), volume.new_zeros(len(hull), 1, self.sizes.context)
        with self._precision(volume):
            vector = self.hull_encoder(functional.avg_pool3d(volume, self.sizes.patch))
            for encoder, view in zip(self.view_encoders, shadows.to(volume).split(1, 1), strict=False):
                vector = vector + encoder(functional.adaptive_avg_pool2d(view, self.sizes.picture))
        return volume, vector.to(volume.dtype)[:, None]

    def forward(self, noisy: Tensor, levels: Tensor, volume: Tensor, vector: Tensor) -> Tensor:
        """The schedule's prediction for noisy trees (b, 1, n, n, n) at noise levels (b,)."""
        inner = torch.cat([folded(noisy, self.sizes.patch), folded(volume, self.sizes.patch)], 1)
        with self._precision(noisy):
            out = self.unet(inner, levels, vector).sample
        return unfolded(out.to(noisy.dtype), self.sizes.patch)

    def _precision(self, like: Tensor) -> torch.autocast:
        return torch.autocast("cuda", torch.bfloat16, enabled=like.is_cuda)


class HullEncoder(nn.Module):  # type: ignore[misc]
    """(b, 1, n, n, n) -> (b, context)."""

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(1, channels, 3, padding=1)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.conv3 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm1, self.norm2 = nn.BatchNorm3d(channels), nn.BatchNorm3d(channels)
        self.fc = nn.Linear(channels, context)

    def forward(self, hull: Tensor) -> Tensor:
        """See the class."""
        x = functional.gelu(self.norm1(self.conv1(hull)))
        x = functional.gelu(self.norm2(self.conv2(x)))
        out: Tensor = self.fc(self.conv3(x).mean((2, 3, 4)))
        return out


class ViewEncoder(nn.Module):  # type: ignore[misc]
    """(b, 1, rows, cols) -> (b, context)."""

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv3 = nn.Conv2d(channels, channels, 3, padding=1)
        self.fc = nn.Linear(channels, context)

    def forward(self, view: Tensor) -> Tensor:
        """See the class."""
        x = view
        for conv in (self.conv1, self.conv2, self.conv3):
            x = functional.gelu(conv(x))
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


def folded(x: Tensor, patch: int) -> Tensor:
    """(b, c, n, n, n) -> (b, c * patch^3, n / patch, ...): blocks of cells as channels.

    Raises:
        UsageError: for a grid that is no multiple of the patch.
    """
    b, c, n = x.shape[:3]
    if n % patch:
        raise UsageError(f"a grid of {n} cells an edge: give one of a multiple of {patch}, or another preset")
    m = n // patch
    blocks = x.reshape(b, c, m, patch, m, patch, m, patch).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return blocks.reshape(b, c * patch**3, m, m, m)


def unfolded(x: Tensor, patch: int) -> Tensor:
    """The way back of ``folded``."""
    b, c, m = x.shape[:3]
    blocks = x.reshape(b, c // patch**3, patch, patch, patch, m, m, m).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return blocks.reshape(b, c // patch**3, m * patch, m * patch, m * patch)
