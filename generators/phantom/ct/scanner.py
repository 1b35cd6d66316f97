"""From tissues to a reconstructed CT: the kernel's point spread function and the noise it lets through.

The noise power spectrum of filtered back-projection rises with frequency (the ramp) and falls with the kernel's
window: NPS(f) ~ f exp(-(f / cut)^2) in the plane, low-passed along the table by the slice's profile (Riederer,
Pelc and Chesler 1978; Solomon and Samei 2012 for the shapes of clinical kernels).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit
from lesionforge.generators.phantom.ct.canvas import Canvas, CtGrid

Floats = NDArray[np.float64]
SIGMA = 1.0 / 2.3548200450309493  # Gaussian standard deviation of a FWHM of 1
HU_RANGE = (-1024, 3071)  # what 12 bits hold


@dataclass(frozen=True)
class Kernel:
    """A reconstruction kernel.

    Attributes:
        plane_mm: FWHM of its point spread in the axial plane.
        slice_mm: FWHM of the slice profile.
        edge: share of an unsharp mask, 0 for none; sharp kernels overshoot at edges.
        noise_cut: cut-off frequency of the noise in 1/mm.
    """

    plane_mm: float
    slice_mm: float
    edge: float
    noise_cut: float


KERNELS = {
    "soft": Kernel(1.2, 1.0, 0.0, 0.26),
    "medium": Kernel(0.95, 0.8, 0.0, 0.36),
    "sharp": Kernel(0.75, 0.8, 0.35, 0.5),
}


def scan(rng: np.random.Generator, canvas: Canvas, kernel: Kernel, noise_hu: float) -> NDArray[np.int16]:
    """The canvas as a scanner shows it: blurred, noisy, whole HU. What was painted is used up.

    Args:
        rng: draws the noise.
        canvas: all of it, not a part.
        kernel: how it is reconstructed.
        noise_hu: standard deviation of the noise, whatever the voxels' size.
    """
    widths = (kernel.plane_mm, kernel.plane_mm, kernel.slice_mm)
    sigmas = [SIGMA * mm / edge for mm, edge in zip(widths, canvas.grid.spacing_mm, strict=True)]
    seen = canvas.hu
    blur(seen, sigmas)
    if kernel.edge:
        wide = seen.copy()
        blur(wide, [1.5 * s for s in sigmas])
        seen += kernel.edge * (seen - wide)
    out = np.empty(seen.shape, np.int16)
    for whole, sheet, grain in zip(out, seen, noise(rng, canvas.grid, kernel, noise_hu), strict=True):
        sheet += grain
        whole[:] = np.clip(np.rint(sheet, out=sheet), *HU_RANGE, out=sheet)
    return out


def noise(rng: np.random.Generator, grid: CtGrid, kernel: Kernel, sd_hu: float) -> Iterator[Floats]:
    """Noise with the kernel's texture, mean 0, standard deviation ``sd_hu``: sheets (j, k), one for every i."""
    a, b, c = grid.shape
    across = (
        scipy.fft.fftfreq(a, grid.spacing_mm[0])[:, None] ** 2 + scipy.fft.fftfreq(b, grid.spacing_mm[1])[None, :] ** 2
    )
    plane = across**0.25 * np.exp(-across / (2 * kernel.noise_cut**2))  # amplitude: the root of the power
    along = np.exp(-2 * (np.pi * SIGMA * kernel.slice_mm * scipy.fft.rfftfreq(c, grid.spacing_mm[2])) ** 2)
    plane[0, 0] = 0.3 * plane.max()  # the ramp's zero: no scanner's noise is that free of slow drifts
    spectrum = np.empty((a, b, c // 2 + 1), np.complex128)  # the only array as large as the volume
    for sheet in spectrum:
        sheet[:] = scipy.fft.rfft(rng.standard_normal((b, c)))
    spectrum = scipy.fft.fft2(spectrum, axes=(0, 1), overwrite_x=True)
    parts, twice = spectrum.view(np.float64), np.repeat(along, 2)  # real and imaginary parts: no complex product
    count = np.full(twice.size, 2.0)  # how often the whole spectrum holds each
    count[:2] = 1.0
    if c % 2 == 0:
        count[-2:] = 1.0
    power = 0.0
    for sheet, weights in zip(parts, plane, strict=True):
        sheet *= weights[:, None] * twice
        power += float(np.square(sheet).sum(axis=0) @ count)
    power -= float(parts[0, 0, 0]) ** 2
    scale = sd_hu * math.prod(grid.shape) / math.sqrt(power)
    for sheet in scipy.fft.ifft2(spectrum, axes=(0, 1), overwrite_x=True):
        seen: Floats = scipy.fft.irfft(sheet, c, overwrite_x=True)
        seen *= scale
        yield seen


def blur(volume: Floats, sigmas: Sequence[float]) -> None:
    """Gaussian blur in place, ``sigmas`` in voxels, cut at three of them; the border's voxels go on outside."""
    for axis, sigma in enumerate(sigmas):
        reach = np.arange(int(3.0 * sigma + 0.5) + 1)
        weights = np.exp(-0.5 / (sigma * sigma) * reach**2)
        weights /= 2 * weights.sum() - weights[0]
        count, wide = volume.shape[axis], math.prod(volume.shape[axis + 1 :])
        strip = min(wide, 256)
        padded, out = np.empty((count + 2 * (len(weights) - 1)) * strip), np.empty(count * strip)
        _blur(volume.reshape(-1), count, wide, strip, weights, padded, out)


@jit
def _blur(flat: Floats, count: int, wide: int, strip: int, weights: Floats, padded: Floats, out: Floats) -> None:
    """Along the axis of ``count`` voxels, ``wide`` apart; a strip of lines at a time, so that it stays in the cache."""
    reach = len(weights) - 1
    for block in range(0, len(flat), count * wide):
        for start in range(block, block + wide, strip):
            width = min(strip, block + wide - start)
            size = count * width
            middle = reach * width
            rows = count  # of voxels that follow one another
            row = width
            if width == wide:
                rows = 1
                row = size
            for n in range(rows):
                for k in range(row):
                    padded[middle + n * width + k] = flat[start + n * wide + k]
            for k in range(middle):
                padded[k] = padded[middle + k % width]
                padded[middle + size + k] = padded[middle + size - width + k % width]
            for k in range(size):
                out[k] = padded[middle + k] * weights[0]
            for far in range(reach, 0, -1):
                off = far * width
                weight = weights[far]
                for k in range(size):
                    out[k] += (padded[middle + k - off] + padded[middle + k + off]) * weight
            for n in range(rows):
                for k in range(row):
                    flat[start + n * wide + k] = out[n * width + k]
