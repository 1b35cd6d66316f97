"""How near a reconstructed tree is to the true one: the paper's measures (eq. 7 to 10) and what they leave out.

Pinned: every table, baseline and command reads these. Points are centres of occupied cells.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

Mask = NDArray[np.bool_]
FAR = math.nan  # of what is empty
_TOUCH = np.ones((3, 3, 3), np.uint8)


def volume_scores(truth: Mask, found: Mask, spacing_mm: float) -> dict[str, float]:
    """Scores of a volume.

    ``dsc``; ``chamfer``: mean distance to the other's nearest point, in cells, both directions summed (eq. 8; the
    paper's code gives half of it); ``chamfer_mm``: half of that sum in mm; ``o1``, ``o2``: Dice of points that have one
    of the other's nearer than 1 or 2 cells (eq. 9; at 1 and 2 themselves they count, as between neighbours they are);
    ``cldice``: of centrelines (Shit 2021); ``pieces``: 26-connected ones; ``betti1``: of loops, how many more or fewer.

    Args:
        truth, found: (n, n, n), of which the first holds something.
    """
    out = {"dsc": dice(truth, found), "cldice": _centreline_dice(truth, found)}
    there, back = _distances(np.argwhere(found), np.argwhere(truth))
    total = there.mean() + back.mean() if len(there) else FAR
    out |= {"chamfer": total, "chamfer_mm": total / 2 * spacing_mm}
    for reach in (1, 2):
        near = (there <= reach).sum() + (back <= reach).sum()
        out[f"o{reach}"] = float(near / max(1, len(there) + len(back)))
    pieces, loops = topology(found)
    out |= {"pieces": float(pieces), "loops_off": float(abs(loops - topology(truth)[1]))}
    return {name: float(value) for name, value in out.items()}


def image_scores(truth: Mask, found: Mask) -> dict[str, float]:
    """Scores of a re-projection: ``dsc``, ``chamfer`` in pixels (both directions summed).

    The hull of silhouettes covers them wholly: these cannot rank methods (no column without the hull's beside it).
    """
    there, back = _distances(np.argwhere(found), np.argwhere(truth))
    total = there.mean() + back.mean() if len(there) and len(back) else FAR
    return {"dsc": dice(truth, found), "chamfer": float(total)}


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


def _centreline_dice(truth: Mask, found: Mask) -> float:
    if not found.any():
        return 0.0
    mine, its = skeletonize(found), skeletonize(truth)
    precision = float((mine & truth).sum() / max(1, mine.sum()))
    recall = float((its & found).sum() / max(1, its.sum()))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _distances(found: NDArray[np.int64], truth: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each point to the other's nearest one; empty where one of both is."""
    if not len(found) or not len(truth):
        return np.zeros(0), np.full(len(truth), np.inf)
    return cKDTree(truth).query(found)[0], cKDTree(found).query(truth)[0]
