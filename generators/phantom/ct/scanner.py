"""From tissues to a reconstructed CT: the kernel's point spread function and the noise it lets through.

The noise power spectrum of filtered back-projection rises with frequency (the ramp) and falls with the kernel's
window: NPS(f) ~ f exp(-(f / cut)^2) in the plane, low-passed along the table by the slice's profile (Riederer,
Pelc and Chesler 1978; Solomon and Samei 2012 for the shapes of clinical kernels).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

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
    """The canvas as a scanner shows it: blurred, noisy, whole HU.

    Args:
        noise_hu: standard deviation of the noise, whatever the voxels' size.
    """
    widths = (kernel.plane_mm, kernel.plane_mm, kernel.slice_mm)
    sigmas = [SIGMA * mm / edge for mm, edge in zip(widths, canvas.grid.spacing_mm, strict=True)]
    seen = scipy.ndimage.gaussian_filter(canvas.hu, sigmas, mode="nearest", truncate=3.0)
    if kernel.edge:
        wide = scipy.ndimage.gaussian_filter(seen, [1.5 * s for s in sigmas], mode="nearest", truncate=3.0)
        seen += kernel.edge * (seen - wide)
    seen += noise(rng, canvas.grid, kernel, noise_hu)
    np.clip(np.rint(seen, out=seen), *HU_RANGE, out=seen)
    out: NDArray[np.int16] = seen.astype(np.int16)
    return out


def noise(rng: np.random.Generator, grid: CtGrid, kernel: Kernel, sd_hu: float) -> Floats:
    """Noise with the kernel's texture: mean 0, standard deviation ``sd_hu``."""
    a, b, c = grid.shape
    across = (
        scipy.fft.fftfreq(a, grid.spacing_mm[0])[:, None] ** 2 + scipy.fft.fftfreq(b, grid.spacing_mm[1])[None, :] ** 2
    )
    plane = across**0.25 * np.exp(-across / (2 * kernel.noise_cut**2))  # amplitude: the root of the power
    along = np.exp(-2 * (np.pi * SIGMA * kernel.slice_mm * scipy.fft.rfftfreq(c, grid.spacing_mm[2])) ** 2)
    plane[0, 0] = 0.3 * plane.max()  # the ramp's zero: no scanner's noise is that free of slow drifts
    seen: Floats = scipy.fft.irfftn(
        scipy.fft.rfftn(rng.standard_normal(grid.shape)) * (plane[:, :, None] * along), s=grid.shape, overwrite_x=True
    )
    seen *= sd_hu / seen.std()
    return seen
