"""What kind of lesion, for the prompt blocks: a row for each class, or a transformer over the mask of all classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LAYERS = 3  # the paper's


class ClassPrompt(nn.Module):  # type: ignore[misc]
    """A one-hot class through a matrix: a learned row for each class, and one more for no prompt at all.

    Args:
        classes: number of them.
        width: of a row.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.rows = nn.Embedding(classes + 1, width)

    def forward(self, lesion: Tensor, regions: Tensor, drop: Tensor) -> Tensor:
        """(n, width, 1, 1, 1) of classes (n,); ``drop`` (n,) bool takes the prompt away. ``regions`` is not used."""
        nothing = torch.full_like(lesion, self.rows.num_embeddings - 1)
        return self.rows(torch.where(drop, nothing, lesion))[:, :, None, None, None]


class MaskPrompt(nn.Module):  # type: ignore[misc]
    """A prompt for each patch of the multi-class mask, from a transformer that sees all of them.

    Args:
        regions: channels of the mask.
        width: of a prompt.
        side: of the volumes, voxels; 0: of any size, a patch's place tells nothing.
        patch: side of a patch.
        heads: of the attention.
    """

    def __init__(self, regions: int, width: int, side: int, patch: int, heads: int = 4) -> None:
        super().__init__()
        cells = side // patch
        self.patches = nn.Conv3d(regions, width, patch, stride=patch)
        self.places = nn.Parameter(0.02 * torch.randn(cells**3, width)) if side else 0.0
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(width), enable_nested_tensor=False)
        self.nothing = nn.Parameter(0.02 * torch.randn(width))

    def forward(self, lesion: Tensor, regions: Tensor, drop: Tensor) -> Tensor:
        """(n, width, a, b, c) of masks (n, regions, f, h, w); ``drop`` as above. ``lesion`` is not used."""
        patches = self.patches(regions.to(self.patches.weight.dtype))
        grid = patches.shape[2:]
        tokens = self.encoder(patches.flatten(2).transpose(1, 2) + self.places)
        tokens = torch.where(drop[:, None, None], self.nothing, tokens)
        return tokens.transpose(1, 2).unflatten(2, grid)
