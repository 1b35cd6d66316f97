"""Class activation: where in an image its disease is seen, as a map and as boxes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from lesionforge.jobs.tasks.severity.network import Grader

LEVEL = 0.75  # of the map's maximum, CORE320's


class Seen(NamedTuple):
    """What a network says of n images.

    ``logits`` (n, classes); ``where`` (n, h, w): how much each cell speaks for the disease, 0 or more.
    """

    logits: Tensor
    where: Tensor


def seen(net: Grader, grey: Tensor, classes: int) -> Seen:
    """Logits of images and where they come from.

    The disease's logit, log-sum of the classes from 1 on less class 0, has a gradient by the pooled features; a cell's
    part of these times that gradient is what the cell adds to the logit, to first order (HiResCAM, Draelos and Carin
    2020; CAM itself where a single dense layer follows). What speaks against the disease is 0.

    Args:
        net: does not learn at the moment.
        grey: float (n, s, s) in 0..255.
        classes: of severity; logits beyond them are the redundancy's.
    """
    with torch.no_grad():
        parts = net.head.parts(net.features(grey)).float()
    pooled = parts.sum((2, 3)).requires_grad_()
    with torch.enable_grad():
        logits = net.head.dense(pooled).float()
        disease = logits[:, 1:classes].logsumexp(1) - logits[:, 0]
        (slope,) = torch.autograd.grad(disease.sum(), pooled)
    return Seen(logits.detach(), torch.einsum("nchw,nc->nhw", parts, slope).relu())


def boxes(activation: NDArray[np.floating], level: float = LEVEL) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes round connected parts of the map above a share of its maximum, the most active first.

    A Gaussian blob of standard deviation sigma gives a box of half side sigma sqrt(2 ln(1 / level)): .759 sigma at .75.

    Args:
        activation: float (rows, cols), 0 or more; a map of zeros has no box.
        level: share of the maximum from which a pixel is active; parts touch by edge or corner.

    Returns:
        float32 (n, 4) x0, y0, x1, y1 in pixels of the map, as COCO's; float32 (n,), the highest activation in each.
    """
    top = float(activation.max(initial=0))
    active = (activation >= level * top) & (top > 0)
    parts, count = ndimage.label(active, np.ones((3, 3)))
    found = [(cols.start, rows.start, cols.stop, rows.stop) for rows, cols in ndimage.find_objects(parts)]
    highest = np.array(ndimage.maximum(activation, parts, range(1, count + 1)), np.float32).reshape(-1)
    order = np.argsort(-highest, kind="stable")
    return np.array(found, np.float32).reshape(-1, 4)[order], highest[order]
