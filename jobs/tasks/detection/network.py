"""A small centre-point network (CenterNet, Zhou et al. 2019), its targets, its loss and its peaks.

Every cell of a 32 x 32 grid says whether a lesion's centre is in it, where exactly, how large the box is and how likely
it is severe.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CELL = 8  # input pixels to a cell's side
PRIOR = -4.0  # bias of the heat map: lesions are rare
NEAR = 0.3  # cells whose target is above it also learn box and severity
SIZE_WEIGHT, SEVERITY_WEIGHT = 0.5, 0.1  # of the losses beside the heat map's


def _conv(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):  # type: ignore[misc]
    """Two convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Float (n, width, h, w), same shape out."""
        return F.relu(x + self.second(self.first(x)))


class CentreNet(nn.Module):  # type: ignore[misc]
    """0.80 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.Sequential(nn.Conv2d(2, 16, 3, 2, 1), nn.ReLU(inplace=True))  # unnormalised: a sixth of a step saved
        self.stem = nn.Sequential(first, _conv(16, 32, 2), Residual(32))
        self.down8 = nn.Sequential(_conv(32, 64, 2), Residual(64))
        self.down16 = nn.Sequential(_conv(64, 96, 2), Residual(96))
        self.down32 = nn.Sequential(_conv(96, 128, 2), Residual(128))
        self.side = nn.ModuleList([nn.Conv2d(width, 48, 1) for width in (64, 96, 128)])
        self.neck = nn.Sequential(_conv(48, 48), _conv(48, 48), nn.Dropout2d(0.1))
        self.head = nn.Conv2d(48, 6, 1)
        nn.init.constant_(self.head.bias[:1], PRIOR)

    def forward(self, x: Tensor) -> Tensor:
        """Float (n, 2, h, w) -> (n, 6, h/8, w/8): heat logit, x and y offset, log width and height, severe logit.

        Offsets are in cells from the cell's middle, sizes in cells.
        """
        eighth = self.down8(self.stem(x))
        sixteenth = self.down16(eighth)
        top = self.side[2](self.down32(sixteenth))
        top = F.interpolate(top, scale_factor=2.0) + self.side[1](sixteenth)
        top = F.interpolate(top, scale_factor=2.0) + self.side[0](eighth)
        out: Tensor = self.head(self.neck(top))
        return out


@dataclass(frozen=True)
class Targets:
    """What the grid should say, for a batch of n pictures of h x w cells."""

    heat: Tensor  # float (n, h, w) in [0, 1]
    box: Tensor  # float (n, 4, h, w): offsets and log sizes, of the lesion nearest in heat
    severe: Tensor  # float (n, h, w): 0, 1, or -1 where nobody graded the lesion
    seen: Tensor  # float (n, h, w): 0 where the loss must not look
    lesions: int

    def to(self, device: torch.device) -> Targets:
        """The same on another device."""
        heat, box, severe, seen = (part.to(device) for part in (self.heat, self.box, self.severe, self.seen))
        return Targets(heat, box, severe, seen, self.lesions)


def targets(boxes: list[Tensor], classes: list[Tensor], ignore: list[Tensor], cells: int) -> Targets:
    """Gaussians of sigma = size / 6, at least half a cell, at the lesions' true centres.

    Args:
        boxes: per picture, float (k, 4) in input pixels.
        classes: per picture, (k,), -1 where ungraded.
        ignore: per picture, float (m, 4).
        cells: side of the grid.
    """
    n = len(boxes)
    heat, seen = torch.zeros(n, cells, cells), torch.ones(n, cells, cells)
    box, severe = torch.zeros(n, 4, cells, cells), torch.full((n, cells, cells), -1.0)
    middle = torch.arange(cells) + 0.5
    count = 0
    for i, (own, grades, blind) in enumerate(zip(boxes, classes, ignore, strict=True)):
        for x0, y0, x1, y1 in (blind / CELL).tolist():
            inside = ((middle > y0) & (middle < y1))[:, None] & ((middle > x0) & (middle < x1))[None]
            seen[i][inside] = 0
        for (x0, y0, x1, y1), grade in zip((own / CELL).tolist(), grades.tolist(), strict=True):
            dx, dy = (x0 + x1) / 2 - middle, (y0 + y1) / 2 - middle
            if dx[0] < -0.5 or dy[0] < -0.5 or dx[-1] > 0.5 or dy[-1] > 0.5:
                continue  # moved out of the picture
            sx, sy = max((x1 - x0) / 6, 0.5), max((y1 - y0) / 6, 0.5)
            gauss = torch.exp(-(dy**2) / (2 * sy**2))[:, None] * torch.exp(-(dx**2) / (2 * sx**2))[None]
            gauss = gauss / gauss.max()  # the cell of the centre is a full positive, wherever in it the centre lies
            more = gauss > heat[i]
            heat[i][more] = gauss[more]
            box[i, 0][more] = dx.expand(cells, cells)[more]
            box[i, 1][more] = dy[:, None].expand(cells, cells)[more]
            box[i, 2][more] = torch.tensor(x1 - x0).clamp(min=0.1).log()
            box[i, 3][more] = torch.tensor(y1 - y0).clamp(min=0.1).log()
            severe[i][more] = float(grade)
            seen[i][gauss > NEAR] = 1  # a labelled lesion inside a blind region is still learnt
            count += 1
    return Targets(heat, box, severe, seen, count)


def loss(out: Tensor, goal: Targets) -> Tensor:
    """CenterNet's focal loss (alpha 2, beta 4) on the heat, L1 on the box, cross-entropy on the severity."""
    logit = out[:, 0].float()
    p = logit.sigmoid()
    positive = goal.heat >= 1
    found = -F.logsigmoid(logit) * (1 - p) ** 2
    empty = -F.logsigmoid(-logit) * p**2 * (1 - goal.heat) ** 4
    focal = (torch.where(positive, found, empty) * goal.seen).sum()
    near = (goal.heat > NEAR) & (goal.seen > 0)
    share = near.sum().clamp(min=1)
    boxes = (out[:, 1:5].float() - goal.box).abs().sum(1)[near].sum() / share
    graded = near & (goal.severe >= 0)
    severity = F.binary_cross_entropy_with_logits(out[:, 5].float()[graded], goal.severe[graded], reduction="sum")
    return focal / max(goal.lesions, 1) + SIZE_WEIGHT * boxes + SEVERITY_WEIGHT * severity / share


def peaks(out: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Local maxima of the heat map, read as boxes.

    Args:
        out: the network's output for one picture, float (6, h, w).
        most: peaks to keep.

    Returns:
        boxes (k, 4) in input pixels, scores (k,) best first, probability of severe (k,).
    """
    heat = out[0].sigmoid()
    top = (heat == F.max_pool2d(heat[None], 3, 1, 1)[0]) * heat
    scores, at = top.flatten().topk(min(most, top.numel()))
    y, x = at // heat.shape[1], at % heat.shape[1]
    dx, dy, w, h, severe = out[1:, y, x]
    centre = torch.stack([x + 0.5 + dx, y + 0.5 + dy], 1)
    half = torch.stack([w, h], 1).clamp(-3, 3).exp() / 2
    return torch.cat([centre - half, centre + half], 1) * CELL, scores, severe.sigmoid()
