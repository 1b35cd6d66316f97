"""Pictures that show the same frame, or nearly: found by their pixels, since the published sets do not say.

Measured on ARCADE's train and validation parts (2,400 pictures): 340 frames stand in both tasks under different
numbers and were processed apart, so they differ by 1.3 to 3.1 grey levels on average while their 32 x 32 thumbnails
correlate above .9994; the nearest other pairs (neighbours in one cine run) reach .9988 and differ by 4.7 or more.
Thumbnails that correlate above .98 are of one run of one patient (looked at: 20 pairs, 2 of them not); between .95
and .98 they are mostly other patients filmed in the same view.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lesionforge.engine.sources.cache import remembered
from lesionforge.engine.sources.files import File
from lesionforge.engine.sources.pictures.picture import decode
from lesionforge.generators.types import BadCase

EDGE = 32
SAME, SAME_LEVELS = 0.9992, 4.0  # thumbnail correlation of one and the same frame; mean difference in grey levels
NEAR = 0.98  # of frames of the same run


Thumbnails = NDArray[np.uint8]  # (n, EDGE * EDGE) grey levels


def thumbnails(files: Sequence[File]) -> Thumbnails:
    """The pictures averaged over cells; zeros where a file cannot be read. Remembered on this machine."""

    def make() -> dict[str, NDArray[np.uint8]]:
        return {"thumbnails": np.stack([_thumbnail(f) for f in files]) if files else np.zeros((0, EDGE**2), np.uint8)}

    found: Thumbnails = remembered("thumbnails\n" + _marks(files), ("thumbnails",), make)["thumbnails"]
    return found


def correlation(a: Thumbnails, b: Thumbnails) -> NDArray[np.float64]:
    """Pearson correlation (n, m) of thumbnails (n, k) and (m, k); 0 where one has no contrast.

    Sums of products of 8-bit numbers are exact in double precision, in whatever order a BLAS adds them up: every
    machine finds the same pairs.
    """
    x, y = a.astype(np.float64), b.astype(np.float64)
    k = a.shape[1]
    covariance = k * (x @ y.T) - x.sum(1)[:, None] * y.sum(1)
    spread_x = k * (x * x).sum(1) - x.sum(1) ** 2
    spread_y = k * (y * y).sum(1) - y.sum(1) ** 2
    scale = np.sqrt(spread_x)[:, None] * np.sqrt(spread_y)
    out: NDArray[np.float64] = np.zeros_like(covariance)
    np.divide(covariance, scale, out=out, where=scale > 0)
    return out


def same_frames(files: Sequence[File], thumbs: Thumbnails, a: Sequence[int], b: Sequence[int]) -> dict[int, int]:
    """For the files numbered ``a`` the one among those numbered ``b`` that shows the same frame, where there is one."""

    def make() -> dict[str, NDArray[np.int64]]:
        likeness = correlation(thumbs[list(a)], thumbs[list(b)])
        pairs = []
        for i, j in zip(*np.nonzero(likeness > SAME), strict=True):
            first, second = a[int(i)], b[int(j)]
            difference = _difference(files[first], files[second])
            if difference <= SAME_LEVELS:
                pairs.append((difference, first, second))
        twins = np.full(len(files), -1)
        for _, first, second in sorted(pairs, reverse=True):  # the best comes last
            twins[first] = second
        return {"twins": twins}

    mark = f"twins {SAME} {SAME_LEVELS} {list(a)} {list(b)}\n" + _marks(files)
    found = remembered(mark, ("twins",), make)["twins"]
    return {i: int(j) for i, j in enumerate(found) if j >= 0}


def near_duplicates(thumbs: Thumbnails) -> list[int]:
    """For each thumbnail the number of the first one that it nearly repeats: its own where it repeats none before."""
    near = correlation(thumbs, thumbs) > NEAR
    first = list(range(len(thumbs)))
    for i in range(len(thumbs)):
        earlier = (int(j) for j in np.flatnonzero(near[i, :i]) if first[j] == j)
        first[i] = next(earlier, i)
    return first


def _marks(files: Sequence[File]) -> str:
    return "\n".join(f"{f.path} {f.mark}" for f in files)


def _thumbnail(file: File) -> NDArray[np.uint8]:
    try:
        small = Image.fromarray(decode(file.read())).resize((EDGE, EDGE), Image.Resampling.BOX)
    except BadCase:  # said again, with its reason, when the case is read
        return np.zeros(EDGE**2, np.uint8)
    return np.asarray(small, np.uint8).ravel()


def _difference(a: File, b: File) -> float:
    first, second = decode(a.read()), decode(b.read())
    if first.shape != second.shape:
        return float("inf")
    return float(np.abs(first.astype(np.int16) - second).mean())
