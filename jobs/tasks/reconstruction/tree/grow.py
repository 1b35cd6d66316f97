"""From likelihoods to one tree: cheapest paths from the ostium, branches, centrelines and radii by the silhouettes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter
from scipy.spatial import cKDTree

from lesionforge.generators.types import Branch, UserError
from lesionforge.jobs.tasks.reconstruction.pairs import Pair
from lesionforge.jobs.tasks.reconstruction.tree.branches import Chain, chains, names
from lesionforge.jobs.tasks.reconstruction.tree.line import WIDER, along, calibre, centred
from lesionforge.jobs.tasks.reconstruction.tree.narrow import Shown, assessed, healthy_diameter
from lesionforge.jobs.tasks.reconstruction.tree.paths import NEAR, WIDTH, Cells, Ways
from lesionforge.jobs.tasks.reconstruction.tree.tree import Tree
from lesionforge.jobs.tasks.reconstruction.tree.walls import merged, radii_about, room

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PROXIMAL_MM = 14.0  # of an end, whose calibre tells the ostium
OSTIUM_MM = 15.0  # from the tree, that a place given for the ostium may lie: it is read off a picture
HIGHER = 0.5  # times the calibre, that the highest end counts more than the lowest
IN_FORK = 1.5  # of the parent's radius: a branch's first part, of which silhouettes do not tell
HIDDEN = 0.5  # of a branch: beyond, radii are those of merged silhouettes
MOST_MM = 4.0  # radius that no coronary artery has
BLUR_PX = 2.0  # about a branch's image, that it explains
MOST_UNEXPLAINED = 0.1  # of a silhouette: beyond, what hides a vessel in it is not known
SMOOTH_CELLS = 9  # along a branch, over which the expected radius is a median


def grow(volume: NDArray[np.float32], pair: Pair, threshold: float = 0.5, ostium_mm: ArrayLike | None = None) -> Tree:
    """One tree of a volume of likelihoods.

    Args:
        volume: (n, n, n) of the pair's grid, 0 to 1.
        pair: the silhouettes that the volume was made of.
        threshold: from which on a cell counts as the tree's.
        ostium_mm: where the tree begins, LPS mm from the isocentre; else at its widest end.

    Raises:
        UserError: where no cell is likely enough, or none of them is near the ostium.
    """
    allowed = pair.hull | (volume >= threshold)
    if not (volume >= threshold).any():
        raise UserError(
            f"no cell is as likely as {threshold:g} to be the tree's: is the geometry that of the silhouettes?"
        )
    cells = np.argwhere(allowed)
    points = pair.grid.centres(cells)
    mm = np.minimum.reduce([radii_about(v, s, points) for v, s in zip(pair.views, pair.shadows, strict=True)])
    ways = Ways.over(volume, allowed, mm / pair.grid.spacing_mm, _rays(pair, points))
    if ostium_mm is None:
        root = _ostium(ways, threshold, round(PROXIMAL_MM / pair.grid.spacing_mm))
    else:
        far = np.linalg.norm(points - np.asarray(ostium_mm, np.float64), axis=1)
        root = int(np.argmin(np.where(ways.likely >= threshold, far, np.inf)))
        if not far[root] <= OSTIUM_MM:
            raise UserError(
                f"the ostium is given {far[root]:.0f} mm from the tree: give LPS mm from the isocentre, as in tree.swc"
            )
    paths = ways.paths(root, threshold)
    if not paths:
        raise UserError("the likely cells are a single spot: is the geometry that of the silhouettes?")
    made = chains(paths, cells, ways.radii)
    branches, sure, by_view = _branches(made, points, mm, pair)
    inside = [0.0 if one.parent < 0 else IN_FORK * _radius_at(branches[one.parent], one.points[0]) for one in branches]
    healthy = tuple(healthy_diameter(*one) for one in zip(branches, inside, sure, strict=True))
    strange = _unexplained(branches, pair)
    share = tuple(float(left.sum() / max(1, shadow.sum())) for left, shadow in zip(strange, pair.shadows, strict=True))
    shown = _shown(branches, by_view, pair, strange)
    each = zip(branches, healthy, inside, shown, strict=True)
    told = [assessed(*one, alone=max(share) <= MOST_UNEXPLAINED) for one in each]
    worst = tuple(sorted((n for found, _ in told for n in found), key=lambda one: -one.percent_ds))
    doubts = tuple(n for _, doubt in told for n in doubt)
    return Tree(pair.side, branches, healthy, worst, doubts, _lost(ways, paths, threshold), share)


def _radius_at(branch: Branch, point: Floats) -> float:
    return float(branch.radii[int(np.argmin(((branch.points - point) ** 2).sum(1)))])


def _lost(ways: Ways, paths: list[Cells], threshold: float) -> float:
    """Share of the likely cells that lie beyond the radius, and two cells more, of every path."""
    likely = np.flatnonzero(ways.likely >= threshold)
    on = np.concatenate(paths)
    far, nearest = cKDTree(ways.cells[on]).query(ways.cells[likely])
    return float(np.mean(far > NEAR + ways.radii[on][nearest]))


def _unexplained(branches: Sequence[Branch], pair: Pair) -> list[Bools]:
    """Of each silhouette the pixels that lie more than ``BLUR_PX`` outside of every branch's image."""
    points, radii = (np.concatenate([getattr(one, name) for one in branches]) for name in ("points", "radii"))
    out = []
    for view, shadow in zip(pair.views, pair.shadows, strict=True):
        lit = np.argwhere(shadow)
        far, nearest = cKDTree(view.project(points)).query(lit)
        left = np.zeros(shadow.shape, np.bool_)
        left[tuple(lit.T)] = far > (radii / view.pixel_mm_at(points))[nearest] + BLUR_PX
        out.append(left)
    return out


def _far(pixels: Floats, mask: Bools) -> Floats:
    """Of each pixel how far the nearest of a mask is (n,), px."""
    there = np.argwhere(mask)
    far: Floats = cKDTree(there).query(pixels)[0] if len(there) else np.full(len(pixels), np.inf)
    return far


def _rays(pair: Pair, points: Floats) -> NDArray[np.int64]:
    """The part of each view, as large as a cell's image at the isocentre, that points fall on (views, n)."""
    parts = []
    for view in pair.views:
        edge = pair.grid.spacing_mm * view.magnification / view.pixel_mm[0]
        row, col = np.floor(np.maximum(view.project(points), 0) / edge).astype(np.int64).T + 1
        parts.append(row * WIDTH + col)
    return np.stack(parts)


def _ostium(ways: Ways, threshold: float, count: int) -> int:
    """The end of the tree's branches that is the widest and, where calibres are alike, the highest: the heart's base.

    ``count``: cells of an end whose calibre counts.
    """
    strong = np.where(ways.likely >= threshold, ways.radii, 0)
    paths = ways.paths(int(np.argmax(strong)), threshold)
    ends = [path[::-1] for path in paths] + paths[:1]
    if not ends:
        return int(np.argmax(strong))
    heights = np.array([ways.cells[end[0], 2] for end in ends], np.float64)
    wide = np.array([np.mean(ways.radii[end[:count]]) for end in ends])
    height = (heights - heights.min()) / max(float(np.ptp(heights)), 1.0)
    return int(ends[int(np.argmax(wide * (1 + HIGHER * height)))][0])


def _branches(
    made: list[Chain], points: Floats, mm: Floats, pair: Pair
) -> tuple[tuple[Branch, ...], list[Bools], list[Floats]]:
    """The branches, where the radii of each are sure, and the radius that each view shows (views, n)."""
    called = names([chain.parent for chain in made])
    places = [points[chain.cells] for chain in made]
    expected = [median_filter(mm[chain.cells], SMOOTH_CELLS, mode="nearest") for chain in made]
    lines = centred(places, expected, pair.views, pair.shadows, pair.grid.spacing_mm)
    parents = [chain.parent for chain in made]
    first = _calibres(lines, parents)
    points = np.concatenate([line for line, _ in lines])
    size = [len(line) for line, _ in lines]
    alike = np.concatenate([one[0] for one in first]), np.repeat(np.arange(len(size)), size)
    free = np.concatenate([one[2] for one in first])
    hidden = np.stack([merged(view, points, *alike, free) for view in pair.views])
    parts = np.split(hidden, np.cumsum(size)[:-1], axis=1)
    shown = []
    for (line, by_view), part in zip(lines, parts, strict=True):
        enough = part.all(0).mean() < HIDDEN  # else what little is seen would stand for all of it
        shown.append((line, np.where(part, np.nan, by_view) if enough else by_view))
    out: list[Branch] = []
    sure: list[Bools] = []
    for parent, name, (line, _), (radii, tells, _) in zip(
        parents, called, lines, _calibres(shown, parents), strict=True
    ):
        joined = _joined(line, out[parent]) if parent >= 0 else line
        out.append(Branch(name, joined, radii, ("",) * len(line), parent))
        sure.append(tells)
    return tuple(out), sure, [by_view for _, by_view in lines]


def _shown(branches: Sequence[Branch], by_view: Sequence[Floats], pair: Pair, strange: Sequence[Bools]) -> list[Shown]:
    """Of each branch what the views show along it; ``by_view``: see ``line.centred``, ``strange``: ``_unexplained``."""
    points, radii = (np.concatenate([getattr(one, name) for one in branches]) for name in ("points", "radii"))
    size = [len(one.points) for one in branches]
    s = np.concatenate([along(one.points) for one in branches])
    branch = np.repeat(np.arange(len(size)), size)
    pixels = [view.pixel_mm_at(points) for view in pair.views]
    free = [
        np.minimum(room(view, points, radii, branch, s), mm * _far(view.project(points), left))
        for view, left, mm in zip(pair.views, strange, pixels, strict=True)
    ]
    parts = [np.split(np.stack(rows), np.cumsum(size)[:-1], axis=1) for rows in (free, pixels)]
    return [Shown(*one) for one in zip(by_view, *parts, strict=True)]


def _calibres(lines: list[tuple[Floats, Floats]], parents: list[int]) -> list[tuple[Floats, Bools, Bools]]:
    """Of each branch its radii, where they are sure, and where it has left its parent's lumen; see ``calibre``."""
    out: list[tuple[Floats, Bools, Bools]] = []
    for (line, by_view), parent in zip(lines, parents, strict=True):
        most, inside, s = MOST_MM, 0.0, along(line)
        if parent >= 0:
            at = int(np.argmin(((lines[parent][0] - line[0]) ** 2).sum(1)))
            fork = float(out[parent][0][at])
            most, inside = WIDER * fork, IN_FORK * fork
        left = s >= min(inside, s[-1] / 2)
        out.append((*calibre(by_view, most, left), left))
    return out


def _joined(line: Floats, parent: Branch) -> Floats:
    """A branch that begins at its parent's nearest point."""
    far = ((parent.points - line[0]) ** 2).sum(1)
    start = parent.points[int(np.argmin(far))]
    s = along(line)
    reach = 2 * float(np.sqrt(far.min())) + 1e-6  # the shift fades out
    moved: Floats = line + np.clip(1 - s / reach, 0, 1)[:, None] * (start - line[0])
    return moved
