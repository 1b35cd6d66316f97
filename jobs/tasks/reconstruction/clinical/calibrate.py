"""Views brought onto each other's epipolar lines: what moved between two runs, as far as silhouettes tell.

A plane through both sources cuts both pictures along a line each, and what is on one line is on the other. So how much
vessel each line holds is compared, as a profile over the planes, while the second picture is scaled (rows and columns
each) and shifted across its lines. A shift along them moves the tree towards the first view's source or away from it
and changes no profile, nor is a network surer of the true one (measured): by convention the box about the picture's
vessels lies in its middle along the lines, as operators place a heart. The scale along them is told by slanted lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter1d, maximum_filter
from scipy.optimize import minimize

from lesionforge.generators.carm.view import View

Floats = NDArray[np.float64]
Shadow = NDArray[np.uint8]

SCALES = np.exp(np.linspace(-0.23, 0.2, 18))  # the paper's motion (0.8 to 1.2) and a little more
UNEVEN = (-0.25, 0.0, 0.25)  # log of the columns' scale over the rows', where the search begins
REACH, STEPS = 0.047, 17  # of a picture's edge: 24 of 512 pixels, each way
MOST = 0.25  # log of a scale that motion has, either way
EVEN = 0.01  # how much a log ratio of the two scales costs, squared: it decides what the lines do not
COARSE, FINE = 5.0, 1.2  # width of a profile's bin, in pixels
FEW = 1.5  # pixels of vessel on a line that count as little
DETAIL = 20.0  # bins of a profile: what is smoother, any two trees can be made to share
STARTS = 4
INCONSISTENT = 0.75  # agreement below which a warning is due: 3 of 40 true pairs of phantoms are, 27 of 40 mirrored


@dataclass(frozen=True)
class Alignment:
    """Where a view's picture lies against what its geometry says: scaled about its middle, then shifted.

    ``agreement``: correlation of what is fine in the two profiles, 1 for views of one tree. ``covered``: least share of
    a picture's vessel that lies on lines on which the other picture shows vessel, too. ``across``: unit vector (row,
    column) across the lines: only along it is the shift measured.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    shift_px: tuple[float, float] = (0.0, 0.0)
    agreement: float = 1.0
    covered: float = 1.0
    across: tuple[float, float] = (1.0, 0.0)

    @property
    def consistent(self) -> bool:
        """Whether the views may be of one tree."""
        return self.agreement >= INCONSISTENT

    def undone(self, shadow: Shadow) -> Shadow:
        """The picture as it would be in the view's own geometry, nearest pixel; nothing comes in over its border."""
        scale, middle = np.array(self.scale), (np.array(shadow.shape) - 1) / 2
        offset = middle + np.array(self.shift_px) - scale * middle
        out: Shadow = affine_transform(shadow, scale, offset, order=0, mode="constant")
        return out

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return asdict(self) | {"consistent": self.consistent}


def aligned(views: Sequence[View], shadows: Sequence[Shadow]) -> tuple[tuple[Shadow, ...], tuple[Alignment, ...]]:
    """The pictures of all views as the first one's geometry wants them, and how each lay; the first stays as it is.

    Args:
        views: two or more of one tree.
        shadows: uint8 (rows, cols) of each, 1 where a vessel is; each holds one.
    """
    found = [Alignment()]
    for view, shadow in zip(views[1:], shadows[1:], strict=True):
        found.append(alignment(views[0], view, shadows[0], shadow))
    return tuple(one.undone(shadow) for one, shadow in zip(found, shadows, strict=True)), tuple(found)


def alignment(first: View, second: View, fixed: Shadow, moved: Shadow) -> Alignment:
    """How the second view's picture lies against the first one's; see ``aligned``."""
    one, other = _heights(first, second)
    still, points = _lit(fixed), _lit(moved)
    across = other.across
    coarse, fine = _Profiles(one(still), COARSE, second, first), _Profiles(one(still), FINE, second, first)
    few, reach = points[::8], REACH * max(moved.shape)

    def heights(of: Floats, scale: Floats, shift: float) -> Floats:
        return other((of - shift * across) / scale)

    shifts = np.linspace(-reach, reach, STEPS)
    grid = [(logs, t) for u in UNEVEN for logs in np.add.outer(np.log(SCALES), np.array([-u, u]) / 2) for t in shifts]
    begin = np.array([coarse.likeness(heights(few, np.exp(logs), t), 8) for logs, t in grid])
    cube = begin.reshape(len(UNEVEN), len(SCALES), STEPS)
    peaks = np.flatnonzero(begin == maximum_filter(cube, (1, 3, 3)).reshape(-1))
    peaks = peaks[np.argsort(-begin[peaks], kind="stable")][:STARTS]
    unit = reach / 2

    def loss(z: Floats) -> float:
        uneven = EVEN * float(z[0] - z[1]) ** 2
        return uneven - fine.likeness(heights(points[::2], np.exp(z[:2]), z[2] * unit), 2)

    ends = [_descended(loss, np.array([*grid[peak][0], grid[peak][1] / unit])) for peak in peaks]
    best = min(ends, key=loss)
    scale, shift = np.exp(best[:2]), across * best[2] * unit
    at, undone = heights(points, scale, best[2] * unit), (points - shift) / scale
    along = np.array([-across[1], across[0]])
    shift += scale * along * (along @ (undone.min(0) + undone.max(0)) / 2)
    found = (float(scale[0]), float(scale[1])), (float(shift[0]), float(shift[1]))
    return Alignment(*found, fine.agreement(at), coarse.covered(at), (float(across[0]), float(across[1])))


def _descended(loss: Callable[[Floats], float], start: Floats) -> Floats:
    """Where a loss of the scales' logs and a shift is least, near a start."""
    start = np.clip(start, [-MOST, -MOST, -3], [MOST - 0.03, MOST - 0.03, 3])
    simplex = start + np.array([[0, 0, 0], [0.03, 0, 0], [0, 0.03, 0], [0, 0, 0.12]])
    bounds = [(-MOST, MOST), (-MOST, MOST), (-4, 4)]
    options = {"initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-5, "maxfev": 100}
    end: Floats = minimize(loss, start, method="Nelder-Mead", bounds=bounds, options=options).x
    return end


class _Height:
    """Which plane through both sources a pixel lies on: how far from the isocentre it passes, in mm.

    Args:
        view: of the pixels.
        planes: unit vectors (2, 3) from the line of both sources to the isocentre and across, and that distance in mm.
    """

    def __init__(self, view: View, planes: tuple[NDArray[np.float64], float]) -> None:
        u, v, d = view.axes
        steps = np.stack([v * view.pixel_mm[0], u * view.pixel_mm[1], d * view.sid_mm])
        self._towards, self._up = steps @ planes[0][0], steps @ planes[0][1]
        self._far = planes[1]
        slope = self._up[:2] - self._towards[:2] * self._up[2] / self._towards[2]
        self.across: Floats = slope / np.linalg.norm(slope)

    def __call__(self, pixels: Floats) -> Floats:
        """Of pixels (n, 2), from the picture's middle."""
        up, towards = pixels @ self._up[:2] + self._up[2], pixels @ self._towards[:2] + self._towards[2]
        out: Floats = self._far * up / towards
        return out


def _heights(first: View, second: View) -> tuple[_Height, _Height]:
    line = second.source_mm - first.source_mm
    line /= np.linalg.norm(line)
    towards = -(first.source_mm - line * (line @ first.source_mm))
    far = float(np.linalg.norm(towards))
    towards /= far
    planes = np.stack([towards, np.cross(line, towards)]), far
    return _Height(first, planes), _Height(second, planes)


class _Profiles:
    """Pixels of vessel on each line of the first view, to hold the second's against.

    Args:
        heights: (n,) of the first view's lit pixels, mm.
        pixels: width of a bin.
        views: whose pixels at the isocentre count; the larger one's.
    """

    def __init__(self, heights: Floats, pixels: float, *views: View) -> None:
        self._width = pixels * max(view.pixel_mm[0] / view.magnification for view in views)
        reach = max(view.pixel_mm[0] / view.magnification * np.hypot(view.rows, view.cols) for view in views)
        self._bins = 2 * int(0.65 * reach / self._width) + 3
        self._mine = self._profile(heights)
        self._normal = _normal(np.log1p(self._mine / FEW))

    def likeness(self, heights: Floats, every: int = 1) -> float:
        """Correlation of both profiles' logarithms; ``every``: how many pixels each of these stands for."""
        return float(self._normal @ _normal(np.log1p(every * self._profile(heights) / FEW)))

    def agreement(self, heights: Floats) -> float:
        """See ``Alignment``: over the lines on which both show vessel; 0 where there are next to none."""
        its = self._profile(heights)
        common = (self._mine > 0.5) & (its > 0.5)
        if common.sum() < DETAIL:
            return 0.0
        logs = (np.log1p(profile / FEW) for profile in (self._mine, its))
        mine, other = (_normal((log - gaussian_filter1d(log, DETAIL))[common]) for log in logs)
        return float(mine @ other)

    def covered(self, heights: Floats) -> float:
        """See ``Alignment``."""
        its = self._profile(heights)
        return float(min((a * (b > 0.5)).sum() / a.sum() for a, b in ((self._mine, its), (its, self._mine))))

    def _profile(self, heights: Floats) -> Floats:
        at = np.clip(heights / self._width + self._bins / 2, 0, self._bins - 1.001)
        low = at.astype(np.int64)
        share = at - low
        counts = np.bincount(low, 1 - share, self._bins) + np.bincount(low + 1, share, self._bins)
        out: Floats = gaussian_filter1d(counts, 1.5, mode="constant")
        return out


def _normal(values: Floats) -> Floats:
    about = values - values.mean()
    out: Floats = about / max(float(np.sqrt(about @ about)), 1e-12)
    return out


def _lit(shadow: Shadow) -> Floats:
    out: Floats = np.argwhere(shadow > 0) - (np.array(shadow.shape) - 1) / 2
    return out
