"""What gives a drawn lesion away: remains of the old walls, noise of another level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve, gaussian_filter1d

from lesionforge.generators.stenosis.editor import FrameNarrowing
from lesionforge.generators.stenosis.pixels import locate
from lesionforge.generators.vessel.profile import attenuation, straighten

Grey = NDArray[np.uint8]
LAPLACE = np.array([[0, -0.25, 0], [-0.25, 1, -0.25], [0, -0.25, 0]])


def residue(lesion: FrameNarrowing, before: Grey, after: Grey) -> tuple[float, float, float]:
    """What is left in the emptied zone, of the vessel's contrast: level and lines along the old walls; noise ratio.

    Args:
        lesion: as it was drawn.
        before, after: the frame without and with it.

    Level: attenuation above the line through both flanks, between the new wall and 1 px outside the old one: |mean
    along the wall|, mean of both walls.
    Line: the old wall's stripe of 1.6 px against the stripes beside it. Noise: sd of a Laplacian in the emptied zone
    over that of the ring beside the vessel, by pixels, 2.5 % of each tail left out.
    """
    radius = float(np.median(lesion.diameter)) / 2
    rows = np.flatnonzero(lesion.keep < 1 - 0.5 * (1 - lesion.keep.min()))
    field, t = straighten(attenuation(after), lesion.points, lesion.normals, radius + 12, 0.5)
    old, _ = straighten(attenuation(before), lesion.points, lesion.normals, radius + 12, 0.5)
    over, under = (gaussian_filter1d(_above(f.astype(np.float64), t, radius), 2, axis=0) for f in (field, old))
    contrast = float(np.median(under[:, np.abs(t) < radius / 2]))
    found: list[list[float]] = []
    lines = []
    for side in (-1, 1):
        x = side * t
        levels = []
        for i in rows:
            wall = side * lesion.shift[i] + lesion.keep[i] * radius
            if radius - wall >= 2.5:
                levels.append(float(over[i, (x > wall + 1.8) & (x < radius + 1)].mean()))
            if radius - wall >= 4.5:
                beside = over[i, (x > radius + 1.5) & (x < radius + 3)], over[i, (x > radius - 3) & (x < radius - 1.5)]
                stripe = over[i, np.abs(x - radius) < 0.8]
                lines.append(abs(float(stripe.mean() - (beside[0].mean() + beside[1].mean()) / 2)))
        if levels:
            found.append(levels)
    return (
        float(np.mean([abs(np.mean(v)) for v in found])) / contrast if found else np.nan,
        float(np.mean(lines)) / contrast if lines else np.nan,
        _noise_ratio(after, lesion),
    )


def _above(field: NDArray[np.float64], t: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """The field less the line through both flanks, row by row."""
    flank = (np.abs(t) > radius + 3) & (np.abs(t) < radius + 8)
    smooth = gaussian_filter1d(field, 3, axis=0)
    lines = np.polynomial.polynomial.polyfit(t[flank], smooth[:, flank].T, 1)
    return np.asarray(field - lines[0][:, None] - lines[1][:, None] * t)


def _noise_ratio(image: Grey, lesion: FrameNarrowing) -> float:
    x0, y0, x1, y1 = lesion.edit_box
    row, across = locate(lesion.points, lesion.normals, 40.0, *lesion.edit_box)
    place = np.arange(len(lesion.keep))
    keep, shift, radius = (np.interp(row, place, v) for v in (lesion.keep, lesion.shift, lesion.diameter / 2))
    rough = convolve(image.astype(float), LAPLACE)[y0:y1, x0:x1]
    here = (row >= 0) & (keep < 0.8)
    zone = here & (np.abs(across) < radius) & (np.abs(across - shift) > keep * radius + 2)
    ring = here & (np.abs(across) > radius + 3)
    if zone.sum() < 25 or ring.sum() < 25:
        return np.nan
    return _spread(rough[zone]) / max(_spread(rough[ring]), 1e-6)


def _spread(values: NDArray[np.float64]) -> float:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(values[(values >= low) & (values <= high)].std())
