"""A network that grades an image: any body of ``tasks.images``, CORE320's attention over its cells, a few dense units.

The head as their code has it: batch norm, dropout, 1 x 1 convolutions of 64, 16, 8 and 1 channels to a mask of 0 to 1,
the mean of the features under the mask, dropout, dense, dropout, classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from lesionforge.jobs.tasks.images.networks import Classifier, Residual
from lesionforge.jobs.tasks.images.pictures import Contrast

HIDDEN = 128  # dense units of the head


class AttentionHead(nn.Module):  # type: ignore[misc]
    """From features (n, width, h, w) to logits (n, classes)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        steps: list[nn.Module] = [nn.BatchNorm2d(width), nn.Dropout(0.5)]
        for inside, outside in ((width, 64), (64, 16), (16, 8)):
            steps += [nn.Conv2d(inside, outside, 1), nn.ReLU()]
        self.mask = nn.Sequential(*steps, nn.Conv2d(8, 1, 1), nn.Sigmoid())
        self.dense = nn.Sequential(
            nn.Dropout(0.25), nn.Linear(width, HIDDEN), nn.ReLU(), nn.Dropout(0.25), nn.Linear(HIDDEN, classes)
        )

    def shares(self, features: Tensor) -> Tensor:
        """How much each cell counts, (n, 1, h, w): the mask, adding up to 1."""
        mask: Tensor = self.mask(features)
        return mask / mask.sum((2, 3), keepdim=True).clamp(min=1e-6)

    def parts(self, features: Tensor) -> Tensor:
        """Each cell's part of the pooled features, (n, width, h, w): they add up to the mean under the mask."""
        return features * self.shares(features)

    def forward(self, features: Tensor) -> Tensor:
        """Logits."""
        out: Tensor = self.dense(self.parts(features).sum((2, 3)))
        return out


class Cells(nn.Module):  # type: ignore[misc]
    """The body for one CPU core: .43 M parameters, a cell every 16 pixels."""

    width = 128

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.Conv2d(Contrast.channels, 24, 3, 2, 1), nn.ReLU(inplace=True),
            Residual(24, 48), Residual(48, 96), Residual(96, 128),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Float (n, 3, s, s) -> (n, 128, s/16, s/16)."""
        out: Tensor = self.stages(x)
        return out


class Grader(Classifier):
    """Grey frames in, a logit a class out.

    Args:
        network: one of ``images.networks.NETWORKS``; those of torchvision without their pooling.
        classes: logits.
    """

    def __init__(self, network: str, classes: int) -> None:
        super().__init__(network, classes)
        if network == "small":
            self.body, self.width = Cells(), Cells.width
        else:
            self.body.avgpool = nn.Identity()
            self.body.dropout = nn.Identity()
        self.head = AttentionHead(self.width, classes)

    def features(self, grey: Tensor) -> Tensor:
        """Float (n, s, s) in 0..255 -> (n, width, h, h)."""
        out = super().features(grey)
        if out.ndim == 2:  # torchvision's end with a flattening
            side = round((out.shape[1] / self.width) ** 0.5)
            out = out.reshape(len(out), self.width, side, side)
        return out

    def forward(self, grey: Tensor) -> Tensor:
        """Float (n, s, s) in 0..255 -> logits (n, classes)."""
        out: Tensor = self.head(self.features(grey))
        return out
