"""The grain of a frame: its noise and the 8 x 8 blocks that JPEG left in it.

Many public angiograms are JPEG decoded to PNG. Their DCT coefficients still lie on multiples of the quantisation table,
so an edited block is told from the others at once unless it is quantised alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit

BLOCK = 8
PATCH = 16
# ITU-T T.81, table K.1: luminance quantisation at quality 50.
LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
PROBES = tuple((u, v) for u in range(5) for v in range(5) if 0 < u + v < 6)  # carry energy in any picture
QUALITIES = range(30, 93)  # above, steps are too near the rounding to grey levels to be seen
COHERENT = 0.6  # mean cosine of the coefficients' phase in the table: 1 on its multiples, 0 at random


@dataclass(frozen=True)
class Texture:
    """Grain of one frame.

    ``kernel`` float64 (16, 16): white noise of unit variance convolved with it has the frame's noise spectrum above
    1/8 cycles per px and unit variance. ``jpeg``: quality (IJG scale) of the JPEG the frame was, None if it shows none.
    """

    kernel: NDArray[np.float64]
    jpeg: int | None

    @classmethod
    def of(cls, image: NDArray[np.uint8]) -> Texture:
        """Texture of a frame, uint8 (rows, cols)."""
        return cls(_noise_kernel(image), jpeg_quality(image))

    def noise(self, rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
        """A fresh field (height, width) of unit variance with the frame's noise spectrum, periodic at its borders."""
        shape = (max(height, PATCH), max(width, PATCH))
        kernel = np.zeros(shape)
        kernel[:PATCH, :PATCH] = self.kernel
        field = scipy.fft.irfft2(scipy.fft.rfft2(rng.standard_normal(shape)) * scipy.fft.rfft2(kernel), s=shape)
        return np.asarray(field[:height, :width])


def quantisation(quality: int) -> NDArray[np.float64]:
    """Luminance table (8, 8) at a quality of 1 ... 100, scaled as the Independent JPEG Group's codec does."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.asarray(np.clip((LUMINANCE * scale + 50) // 100, 1, 255), np.float64)


def jpeg_quality(image: NDArray[np.uint8]) -> int | None:
    """Quality of the baseline JPEG whose grid starts at the frame's corner, or None where there is no trace of one."""
    rows, cols = (n // BLOCK for n in image.shape)
    whole = image[: rows * BLOCK, : cols * BLOCK].reshape(rows, BLOCK, cols, BLOCK)
    row, col = np.divmod(np.arange(0, rows * cols, max(1, rows * cols // 512)), max(cols, 1))
    spectra = scipy.fft.dctn(whole[row, :, col].astype(np.float64) - 128, axes=(1, 2), norm="ortho")
    scores = np.empty((len(QUALITIES), len(PROBES)))
    for n, (u, v) in enumerate(PROBES):
        steps, of = _steps(u, v)
        scores[:, n] = _coherence(spectra[:, u, v].copy(), steps)[of]
    told = np.isfinite(scores)
    count = told.sum(axis=1)
    means = np.where(count >= 3, np.where(told, scores, 0).sum(axis=1) / np.maximum(count, 1), 0)
    quality = QUALITIES[int(means.argmax())]
    if means.max() <= COHERENT:
        return None

    def misfit(q: int) -> float:
        scaled = spectra / quantisation(q)
        return float(((scaled - np.rint(scaled)) ** 2 * quantisation(q) ** 2).sum())

    return min(range(quality - 2, quality + 3), key=misfit)  # neighbours share most steps of their tables


@cache
def _steps(u: int, v: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Steps that coefficient (u, v) has in the tables of QUALITIES, and which of them each table has."""
    return np.unique([quantisation(q)[u, v] for q in QUALITIES], return_inverse=True)


@jit
def _coherence(values: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean cosine of the phase of ``values`` (n,) on each comb of ``steps`` (m,): (m,), NaN where too few say."""
    out = np.empty(steps.shape[0])
    for i in range(steps.shape[0]):
        total, count = 0.0, 0
        for value in values:
            place = value / steps[i]
            if abs(place) > 0.5:  # zeros lie on every comb
                total += np.cos(2 * np.pi * place)
                count += 1
        out[i] = total / count if count > 20 else np.nan
    return out


def requantise(
    patch: NDArray[np.uint8], changed: NDArray[np.bool_], corner: tuple[int, int], quality: int
) -> NDArray[np.uint8]:
    """Quantise the changed blocks of a patch as the frame's JPEG did.

    Args:
        patch: (h, w) grey levels.
        changed: (h, w) where the patch differs from the frame. Blocks cut by the patch's border stay as they are.
        corner: row and column of the patch in the frame.
        quality: of the frame's JPEG.
    """
    out = patch.copy()
    table = quantisation(quality)
    top, left = (-c % BLOCK for c in corner)
    rows, cols = ((n - o) // BLOCK for n, o in zip(patch.shape, (top, left), strict=True))
    if rows < 1 or cols < 1:
        return out
    inner = (slice(top, top + rows * BLOCK), slice(left, left + cols * BLOCK))

    def blocked(a: NDArray[np.generic]) -> NDArray[np.generic]:
        return a[inner].reshape(rows, BLOCK, cols, BLOCK).transpose(0, 2, 1, 3)

    touched = blocked(changed).any(axis=(2, 3))
    blocks = blocked(out)
    spectra = scipy.fft.dctn(blocks[touched].astype(np.float64) - 128, axes=(1, 2), norm="ortho")
    back = scipy.fft.idctn(np.rint(spectra / table) * table, axes=(1, 2), norm="ortho") + 128
    quantised = blocks.copy()
    quantised[touched] = np.clip(np.rint(back), 0, 255).astype(np.uint8)
    out[inner] = quantised.transpose(0, 2, 1, 3).reshape(rows * BLOCK, cols * BLOCK)
    return out


def _noise_kernel(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """From the mean power spectrum of the flattest third of 16 x 16 patches, quadratic surface removed."""
    rows, cols = (n // PATCH for n in image.shape)
    whole = image[: rows * PATCH, : cols * PATCH].reshape(rows, PATCH, cols, PATCH)
    patches = whole.transpose(0, 2, 1, 3).reshape(-1, PATCH * PATCH).astype(np.float64)
    surface = _surface()
    bent = patches @ surface
    # What is left beside the surface has no mean, and its square is that of the patch less the surface's.
    square = np.einsum("nk,nk->n", patches, patches) - np.einsum("nk,nk->n", bent, bent)
    level = np.sqrt(np.maximum(square, 0)) / PATCH
    lit = level > 0.3  # not the black border
    if lit.sum() < 10:
        return np.zeros((PATCH, PATCH))
    still = lit & (level <= np.quantile(level[lit], 0.33))
    calm = (patches[still] - bent[still] @ surface.T).reshape(-1, PATCH, PATCH)
    half = scipy.fft.rfft2(calm)
    half = (half.real**2 + half.imag**2).mean(axis=0)
    power = np.concatenate([half, np.roll(half[::-1], 1, axis=0)[:, -2:0:-1]], axis=1)  # of real patches: symmetric
    f = np.fft.fftfreq(PATCH)
    power[np.hypot(f[:, None], f[None]) < 1 / 8] = 0  # structure, not noise
    power *= PATCH**2 / max(power.sum(), 1e-12)
    return np.asarray(np.fft.fftshift(np.fft.ifft2(np.sqrt(power)).real))


@cache
def _surface() -> NDArray[np.float64]:
    """Orthonormal quadratic surfaces on a patch, (PATCH^2, 6)."""
    y, x = np.mgrid[-1 : 1 : PATCH * 1j, -1 : 1 : PATCH * 1j].reshape(2, -1)
    return np.linalg.qr(np.stack([np.ones_like(x), x, y, x * y, x**2, y**2], axis=1)).Q
