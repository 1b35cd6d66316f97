"""How near a reconstructed tree is to the true one: the paper's measures (eq. 7 to 10) and what they leave out.

Pinned: every table, baseline and command reads these. Points are centres of occupied cells.

O(t): the paper's text says d < t, by which O(1) of cells would be their Dice, as no two lie nearer than 1. Its own
tables have O(1) at twice the Dice, so it counts d <= t, and so do we.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

Mask = NDArray[np.bool_]
_TOUCH = np.ones((3, 3, 3), np.uint8)


def volume_scores(truth: Mask, found: Mask, spacing_mm: float) -> dict[str, float]:
    """Scores of a volume.

    ``dsc``; ``chamfer``: mean distance to the other's nearest point, in cells, both directions summed (eq. 8);
    ``chamfer_half``: their mean, as the paper's code has it; ``chamfer_mm``, ``chamfer_half_mm``: the same in mm. Where
    one is empty, every distance is the grid's diagonal. ``o1``, ``o2``: Dice of points that have one of the other's
    within 1 or 2 cells (eq. 9). ``cldice``: of centrelines (Shit 2021). ``pieces``: 26-connected ones (Betti 0);
    ``loops``: independent ones (Betti 1), ``loops_off`` how many more or fewer than the truth's.

    Args:
        truth, found: (n, n, n), of which the first holds something.
        spacing_mm: edge of a cell.
    """
    there, back = _distances(np.argwhere(found), np.argwhere(truth), math.dist(truth.shape, (0, 0, 0)))
    chamfer = float(there.mean() + back.mean())
    out = {"dsc": dice(truth, found), "chamfer": chamfer, "chamfer_half": chamfer / 2}
    out |= {"chamfer_mm": chamfer * spacing_mm, "chamfer_half_mm": chamfer / 2 * spacing_mm}
    out |= {f"o{reach}": _overlap(there, back, reach) for reach in (1, 2)}
    (pieces, loops), (_, true) = topology(found), topology(truth)
    out |= {"cldice": _centreline_dice(truth, found), "pieces": float(pieces), "loops": float(loops)}
    return out | {"loops_off": float(abs(loops - true))}


def image_chamfer(truth: Mask, found: Mask) -> float:
    """Mean distance to the other's nearest pixel, both directions summed; twice the diagonal where one is empty."""
    if not truth.any() or not found.any():
        return 2 * math.dist(truth.shape, (0, 0))
    to_truth, to_found = (ndimage.distance_transform_edt(~image) for image in (truth, found))
    return float(to_truth[found].mean() + to_found[truth].mean())


def dice(truth: Mask, found: Mask) -> float:
    """2 |A and B| / (|A| + |B|); 1 for two that are empty."""
    both, size = int((truth & found).sum()), int(truth.sum()) + int(found.sum())
    return 2 * both / size if size else 1.0


def psnr(truth: NDArray[np.floating], found: NDArray[np.floating]) -> float:
    """Peak signal to noise in dB (eq. 10): the peak is the estimate's."""
    mse = float(np.mean((np.asarray(truth, np.float64) - found) ** 2))
    peak = float(np.max(found))
    return 10 * math.log10(peak**2 / mse) if mse > 0 and peak > 0 else math.inf if mse == 0 else -math.inf


def topology(volume: Mask) -> tuple[int, int]:
    """26-connected pieces and independent loops, by the Euler number: pieces - loops + cavities."""
    from skimage.measure import euler_number

    pieces = int(ndimage.label(volume, _TOUCH)[1])
    cavities = int(ndimage.label(~np.pad(volume, 1))[1]) - 1
    return pieces, pieces + cavities - int(euler_number(volume, connectivity=3))


def _overlap(there: NDArray[np.float64], back: NDArray[np.float64], reach: int) -> float:
    return float(((there <= reach).sum() + (back <= reach).sum()) / (len(there) + len(back)))


def _centreline_dice(truth: Mask, found: Mask) -> float:
    if not found.any():
        return 0.0
    mine, its = skeletonize(found), skeletonize(truth)
    precision = float((mine & truth).sum() / max(1, mine.sum()))
    recall = float((its & found).sum() / max(1, its.sum()))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _distances(
    found: NDArray[np.int64], truth: NDArray[np.int64], far: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each point to the other's nearest one; ``far`` where one of both is empty."""
    if not len(found) or not len(truth):
        return np.full(max(1, len(found)), far), np.full(max(1, len(truth)), far)
    return cKDTree(truth).query(found)[0], cKDTree(found).query(truth)[0]
