"""RetinaNet (Lin et al. 2017) of torchvision's parts: its sizes, its anchors, its loss and its boxes.

The two-step paper's (Rodrigues et al. 2021) is a ResNet-50 with 12 anchors a cell: 65,472 on 512 x 512 (the paper says
"approximately 45 thousand", which no 12 of levels 3 to 7 give). CORE320's (Cong et al. 2023) is a pyramid on its
classifier's Inception-v3 with 9: 43,938.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import inception_v3, resnet  # type: ignore[import-untyped]
from torchvision.models.detection import RetinaNet  # type: ignore[import-untyped]
from torchvision.models.detection.anchor_utils import AnchorGenerator  # type: ignore[import-untyped]
from torchvision.models.detection.backbone_utils import BackboneWithFPN  # type: ignore[import-untyped]
from torchvision.models.detection.image_list import ImageList  # type: ignore[import-untyped]
from torchvision.models.detection.retinanet import RetinaNetHead  # type: ignore[import-untyped]
from torchvision.ops import box_iou, clip_boxes_to_image, nms, sigmoid_focal_loss  # type: ignore[import-untyped]
from torchvision.ops.feature_pyramid_network import LastLevelP6P7  # type: ignore[import-untyped]

from lesionforge.jobs.tasks.detection.drawing import half
from lesionforge.jobs.tasks.detection.network import CentreNet

LEVELS = 5  # 3 to 7, of strides 8 to 128
BASE = 32.0  # side of the smallest anchor at level 3 on 512 pixels; twice as much a level
NOWHERE = -1  # torchvision's Matcher: an anchor of the background; -2: between the two thresholds
TOP = 1000  # boxes of the highest scores that NMS looks at

Backbone = Literal["resnet50", "resnet18", "inception", "thin"]


@dataclass(frozen=True)
class Shape:
    """What a network is made of.

    Attributes:
        backbone: ResNet, Inception-v3, or ``thin``: the centre-point detector's trunk, .6 M parameters.
        width: channels of pyramid and heads.
        norm: groups of the heads' normalisation; 0: none, as published.
        size: side of the input.
        ratios, scales: height to width, and size to the level's, of a cell's anchors.
    """

    backbone: Backbone
    width: int
    norm: int
    size: int
    ratios: tuple[float, ...]
    scales: tuple[float, ...]

    @property
    def channels(self) -> int:
        """Of a picture: the centre-point detector's two, or a photograph's three."""
        return 2 if self.backbone == "thin" else 3


@dataclass(frozen=True)
class Cost:
    """``alpha``, ``gamma`` of the focal loss; ``sigma``: smooth L1 turns from square to straight at 1 / sigma²."""

    alpha: float
    gamma: float
    sigma: float


class Retina(nn.Module):  # type: ignore[misc]
    """Pictures in, loss (while it learns) or boxes out."""

    def __init__(self, shape: Shape, cost: Cost) -> None:
        super().__init__()
        self.shape, self.cost = shape, cost
        sizes = tuple(tuple(BASE * shape.size / 512 * 2**k * s for s in shape.scales) for k in range(LEVELS))
        anchors = AnchorGenerator(sizes, (shape.ratios,) * LEVELS)
        norm = partial(nn.GroupNorm, shape.norm) if shape.norm else None
        head = RetinaNetHead(shape.width, anchors.num_anchors_per_location()[0], 1, norm)
        self.net = RetinaNet(_pyramid(shape), 1, anchor_generator=anchors, head=head)

    def said(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Float (n, channels, size, size) -> logits (n, a, 1), moves (n, a, 4), anchors (a, 4) in pixels."""
        with half(x.device):
            x = x if x.shape[1] == self.shape.channels else x.expand(-1, self.shape.channels, -1, -1)
            levels = list(self.net.backbone(x).values())
            out = self.net.head(levels)
        anchors = self.net.anchor_generator(ImageList(x[:1], [(self.shape.size, self.shape.size)]), levels)[0]
        return out["cls_logits"].float(), out["bbox_regression"].float(), anchors

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """The loss of a batch; ``goal``: per picture the boxes (k, 4) and the regions to ignore (m, 4)."""
        return loss(self, *self.said(batch["x"]), batch["goal"])

    def boxes(self, x: Tensor, least: float, overlap: float, most: int) -> list[tuple[Tensor, Tensor]]:
        """Per picture, boxes (k, 4) in its pixels and scores (k,), best first, of ``least`` or more, after NMS."""
        logits, moves, anchors = self.said(x)
        found = []
        for logit, move in zip(logits[..., 0], moves, strict=True):
            scores, at = logit.sigmoid().topk(min(TOP, len(logit)))
            kept = scores >= least
            scores, at = scores[kept], at[kept]
            boxes = self.net.box_coder.decode_single(move[at], anchors[at])
            boxes = clip_boxes_to_image(boxes, (self.shape.size, self.shape.size))
            kept = nms(boxes, scores, overlap)[:most]
            found.append((boxes[kept], scores[kept]))
        return found


def loss(of: Retina, logits: Tensor, moves: Tensor, anchors: Tensor, goal: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Focal loss and smooth L1 over the batch, per anchor that is a lesion's (IoU .5 or more, or its best one).

    torchvision divides each picture by its own such anchors; one without a lesion would weigh as much as its hundred
    thousand anchors do. Anchors of IoU .4 to .5, and those with half of their area in a region to ignore, do not count.
    """
    cost, n = of.cost, 0
    focal, straight = logits.new_zeros(()), logits.new_zeros(())
    for logit, move, (boxes, blind) in zip(logits, moves, goal, strict=True):
        if len(boxes):
            matched = of.net.proposal_matcher(box_iou(boxes, anchors))
        else:
            matched = torch.full((len(anchors),), NOWHERE, device=logits.device)
        own = matched >= 0
        counted = own | ((matched == NOWHERE) & ~_inside(anchors, blind))
        focal = focal + sigmoid_focal_loss(
            logit[counted, 0], own[counted].float(), cost.alpha, cost.gamma, reduction="sum"
        )
        wanted = of.net.box_coder.encode_single(boxes[matched[own]], anchors[own]) if len(boxes) else move[:0]
        straight = straight + F.smooth_l1_loss(move[own], wanted, reduction="sum", beta=1 / cost.sigma**2)
        n += int(own.sum())
    return (focal + straight) / max(n, 1)


def _inside(anchors: Tensor, blind: Tensor) -> Tensor:
    low, high = (
        torch.maximum(anchors[:, None, :2], blind[None, :, :2]),
        torch.minimum(anchors[:, None, 2:], blind[None, :, 2:]),
    )
    shared = (high - low).clamp(min=0).prod(2)
    area = (anchors[:, 2:] - anchors[:, :2]).prod(1)
    inside: Tensor = (shared >= 0.5 * area[:, None]).any(1)
    return inside


def _pyramid(shape: Shape) -> BackboneWithFPN:
    """Three levels of a backbone, and two more below them."""
    if shape.backbone == "thin":
        body, widths = CentreNet(), {"down8": 64, "down16": 96, "down32": 128}
    elif shape.backbone == "inception":
        body = inception_v3(weights=None, aux_logits=False, transform_input=False, init_weights=True)
        widths = {"Mixed_5d": 288, "Mixed_6e": 768, "Mixed_7c": 2048}
    else:
        body = getattr(resnet, shape.backbone)(weights=None)
        top = body.fc.in_features
        widths = {"layer2": top // 4, "layer3": top // 2, "layer4": top}
    names = {name: str(k) for k, name in enumerate(widths)}
    below = LastLevelP6P7(shape.width, shape.width)
    return BackboneWithFPN(body, names, list(widths.values()), shape.width, below)
