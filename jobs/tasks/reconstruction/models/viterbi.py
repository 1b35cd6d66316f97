"""Depth along the vessels without learning: of each view's centreline the cheapest depths (Viterbi's, on a tree).

A pixel of one view's centreline sees the points of a ray. A point costs what the other views say against it: how far
it falls from their centrelines, and how far their vessel's radius there is from this one's. Two neighbours on the
centreline cost the square of their difference in depth, up to a limit, as vessels cross and their shadows do not tell.
The best depths of a tree of pixels, the least spanning one, are found exactly, by passing the costs from its tips to
its root. Each view gives a tree of points with radii; a cell is the vessel's if it is near those of all views.

The constants (``ViterbiSettings``) are the best of two dozen sets by DSC on 24 trees of 12 phantom subjects (the
paper's target, .70 right and .56 left); the worst of them was .04 behind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

from lesionforge.generators.carm.view import View
from lesionforge.jobs.learning.checkpoint import write
from lesionforge.jobs.learning.loop import Progress
from lesionforge.jobs.tasks.reconstruction.measures import SIDES
from lesionforge.jobs.tasks.reconstruction.models.learner import best_threshold, held_subjects, sides_of, views_of
from lesionforge.jobs.tasks.reconstruction.pairs import Pair
from lesionforge.jobs.tasks.reconstruction.settings import ViterbiSettings

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_AROUND = ((0, 1), (1, 0), (1, 1), (1, -1))  # half of a pixel's neighbours: the other half are theirs


@dataclass(frozen=True)
class Traced:
    """Of a silhouette (rows, cols): the centreline; of each pixel its distance and the radius there (pixels)."""

    view: View
    line: NDArray[np.bool_]
    far: Floats
    radius: Floats


def traced(view: View, lit: NDArray[np.uint8]) -> Traced:
    """Of nonzero pixels."""
    inside = ndimage.distance_transform_edt(lit)
    line = skeletonize(lit > 0)
    far, nearest = ndimage.distance_transform_edt(~line, return_indices=True)
    return Traced(view, line, far, inside[tuple(nearest)])


def points(pair: Pair, settings: ViterbiSettings) -> list[tuple[Floats, Floats]]:
    """Of each view's centreline: where it lies (n, 3) LPS mm, and its radii (n,) mm.

    Where the hull is empty there is nothing.
    """
    centres = pair.grid.centres(np.argwhere(pair.hull))
    if not len(centres):
        return []
    shadows = [traced(view, lit) for view, lit in zip(pair.views, pair.shadows, strict=True)]
    return [_placed(shadows, n, centres, settings) for n in range(len(shadows))]


def _placed(shadows: Sequence[Traced], n: int, centres: Floats, s: ViterbiSettings) -> tuple[Floats, Floats]:
    own, view = shadows[n], shadows[n].view
    pixels = np.argwhere(own.line)
    order, parent = spanning_tree(own.line)
    u, v, d = view.axes
    focus_v, focus_u, mid_u, mid_v = (view.constants()[i] for i in (10, 9, 11, 12))
    rays = d + ((pixels[:, 1:] - mid_u) / focus_u) * u + ((pixels[:, :1] - mid_v) / focus_v) * v
    reach = view.sod_mm + centres @ d
    depths = np.arange(reach.min() - s.step_mm, reach.max() + 2 * s.step_mm, s.step_mm)
    at = view.source_mm + rays[:, None] * depths[:, None]  # (n, depths, 3)
    radii = own.radius[tuple(pixels.T)][:, None] * depths / focus_v
    cost = np.zeros(radii.shape)
    for m, other in enumerate(shadows):
        if m != n:
            cost += _against(other, at.reshape(-1, 3), radii.reshape(-1), s).reshape(cost.shape)
    apart = np.abs(depths[:, None] - depths)
    chosen = cheapest(cost, np.minimum(s.smooth * apart**2, s.jump), order, parent)
    each = np.arange(len(pixels))
    return _filled(at[each, chosen], radii[each, chosen], parent, s)


def _against(other: Traced, at: Floats, radii: Floats, s: ViterbiSettings) -> Floats:
    """What a view says against points (n, 3) of a vessel with these radii (mm)."""
    view = other.view
    pixels = np.rint(view.project(at)).astype(np.int64)
    most = np.array(other.line.shape) - 1
    inside = ((pixels >= 0) & (pixels <= most)).all(1)
    row, col = np.clip(pixels, 0, most).T
    mm = view.pixel_mm_at(at)
    far = np.minimum(other.far[row, col] * mm, s.far_mm)
    unlike = np.minimum(np.abs(np.log(radii / (other.radius[row, col] * mm))), s.unlike)
    cost: Floats = np.where(inside, far + unlike, s.far_mm + s.unlike)
    return cost


def spanning_tree(line: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """The least spanning trees of a line's pixels, neighbours by side or corner.

    Returns:
        Numbers of the pixels (in the order of ``argwhere``), parents first, and each one's parent, -1 of a root.
    """
    count = int(line.sum())
    number = np.full((line.shape[0] + 2, line.shape[1] + 2), -1)
    number[1:-1, 1:-1][line] = np.arange(count)
    row, col = np.argwhere(line).T + 1
    pairs, lengths = [], []
    for down, right in _AROUND:
        other = number[row + down, col + right]
        there = np.flatnonzero(other >= 0)
        pairs.append(np.stack([there, other[there]]))
        lengths.append(np.full(len(there), np.hypot(down, right)))
    graph = coo_matrix((np.concatenate(lengths), tuple(np.concatenate(pairs, 1))), (count, count)).tocsr()
    tree = minimum_spanning_tree(graph)
    pieces, piece = connected_components(tree, directed=False)
    parent = np.full(count, -1, np.int64)
    orders = []
    for root in (int(np.argmax(piece == n)) for n in range(pieces)):
        order, before = breadth_first_order(tree, root, directed=False)
        parent[order[1:]] = before[order[1:]]
        orders.append(order.astype(np.int64))
    return np.concatenate(orders), parent


def cheapest(cost: Floats, between: Floats, order: Ints, parent: Ints) -> Ints:
    """The labels (n,) of a forest's nodes with the least sum of costs (n, k) and, of a node's label and its parent's,
    ``between`` (k, k), which is symmetric: exact.
    """
    total = cost.astype(np.float32)
    edges = between.astype(np.float32)
    best = np.zeros(cost.shape, np.int32)  # a node's label for each of its parent's
    for node in order[::-1]:
        if parent[node] >= 0:
            sums = edges + total[node]
            best[node] = sums.argmin(1)
            total[parent[node]] += sums.min(1)
    chosen = np.zeros(len(cost), np.int64)
    for node in order:
        up = parent[node]
        chosen[node] = total[node].argmin() if up < 0 else best[node, chosen[up]]
    return chosen


def _filled(at: Floats, radii: Floats, parent: Ints, s: ViterbiSettings) -> tuple[Floats, Floats]:
    """With points between those of neighbours, where a vessel goes on in depth and none begins behind another."""
    node = np.flatnonzero(parent >= 0)
    up = parent[node]
    gap = np.linalg.norm(at[node] - at[up], axis=1)
    many = np.where(gap < s.gap_mm, (gap / s.step_mm).astype(np.int64), 0)
    first = np.repeat(np.cumsum(many) - many, many)
    share = ((np.arange(many.sum()) - first + 1) / (np.repeat(many, many) + 1))[:, None]
    node, up = np.repeat(node, many), np.repeat(up, many)
    between = at[node] * (1 - share) + at[up] * share
    return np.concatenate([at, between]), np.concatenate([radii, np.minimum(radii[node], radii[up])])


class ViterbiLearner:
    """See ``Learner``: it learns a threshold alone, of the subjects that ``NetLearner`` holds out for its own.

    ``views``, ``sides``: of the pairs that it is of.
    """

    def __init__(self, settings: ViterbiSettings, views: int = 2, device: str = "cpu") -> None:
        self.settings, self.views = settings, views
        self.options: Mapping[str, Any] = {}
        self.sides: tuple[str, ...] = SIDES
        self.threshold = 0.5

    def fit(
        self,
        real: Sequence[Pair],
        synthetic: Sequence[Pair],
        real_share: float,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """See ``Learner.fit``."""
        pairs = [*real, *synthetic]
        self.views, self.sides = views_of(pairs), sides_of(pairs)
        held = held_subjects(pairs, self.settings.held, seed)
        self.threshold = best_threshold([pair for pair in pairs if pair.subject in held], self.predict)

    def predict(self, pair: Pair) -> NDArray[np.float32]:
        """How near the hull's cells are to the vessels: 0.5 at ``margin`` cells from their walls; elsewhere 0."""
        out = np.zeros(pair.grid.shape, np.float32)
        found = points(pair, self.settings)
        if found:
            cells = np.argwhere(pair.hull)
            apart = np.zeros(len(cells))
            for at, radii in found:
                distance, nearest = cKDTree(at).query(pair.grid.centres(cells))
                apart += (distance - radii[nearest]) / pair.grid.spacing_mm / len(found)
            s = self.settings
            out[tuple(cells.T)] = 1 / (1 + np.exp(np.clip((apart - s.margin) / s.soft, -50, 50)))
        return out

    def save(self, path: Path) -> None:
        """A safetensors file without a tensor."""
        told = {"views": self.views, "threshold": self.threshold, "settings": asdict(self.settings)}
        told |= {"sides": self.sides, "options": dict(self.options)}
        write({}, path, {"reconstruction": json.dumps(told)})

    @classmethod
    def load(cls, told: Mapping[str, Any], weights: Mapping[str, Tensor], device: str = "cpu") -> Self:
        """See ``NetLearner.load``."""
        made = cls(ViterbiSettings(**told["settings"]), told["views"], device)
        made.threshold, made.options = float(told["threshold"]), told["options"]
        made.sides = tuple(told.get("sides", SIDES))
        return made
