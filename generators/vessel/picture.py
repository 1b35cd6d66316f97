"""A reading as a cardiologist expects it: contours on the frame, the reference, the MLD, the diameter curve beside."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lesionforge.generators.vessel.densitometry import Lumen
from lesionforge.generators.vessel.profile import around
from lesionforge.generators.vessel.qca import Reading
from lesionforge.generators.vessel.reference import reference_curve
from lesionforge.generators.vessel.walls import Walls

LUMEN, HEALTHY, NARROW = "#ffd84d", "#5ad1ff", "#ff5a4d"


def picture(image: NDArray[np.uint8], vessel: Lumen | Walls, reading: Reading) -> NDArray[np.uint8]:
    """The report of one lesion, uint8 (480, 1080, 3).

    Left the frame about the vessel: lumen contours, dashed the healthy contours the reference supposes, the minimal
    lumen diameter as a bar. Right the diameter along the vessel, the reference line and the narrowing between them.
    """
    figure = Figure(figsize=(10.8, 4.8), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    frame, plot = figure.subplots(1, 2, width_ratios=(1, 1.1))
    curve = reference_curve(vessel.diameter, vessel.valid, reading.gap, reading.reference)
    mm = 1.0 if reading.mld_mm is None or not reading.mld_px else reading.mld_mm / reading.mld_px
    unit = "px" if reading.mld_mm is None else "mm"
    _draw_frame(frame, image, vessel, reading, curve)
    _draw_curve(plot, vessel, reading, curve, mm, unit)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def contours(vessel: Lumen | Walls) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both walls as points (n, 2) x, y; of a lumen the circle's, half a diameter to either side."""
    if isinstance(vessel, Walls):
        return vessel.contours
    half = vessel.diameter[:, None] / 2 * vessel.normals
    return vessel.points - half, vessel.points + half


def _draw_frame(
    axes: Any, image: NDArray[np.uint8], vessel: Lumen | Walls, reading: Reading, curve: NDArray[np.float64]
) -> None:
    (rows, cols), _ = around(vessel.points, 25, image.shape)
    axes.imshow(image, cmap="gray", vmin=image[rows, cols].min(), vmax=image[rows, cols].max())
    left, right = contours(vessel)
    middle, half = (left + right) / 2, curve[:, None] / 2 * vessel.normals
    for wall, healthy in ((left, middle - half), (right, middle + half)):
        axes.plot(*wall.T, color=LUMEN, lw=1.2)
        axes.plot(*healthy.T, color=HEALTHY, lw=0.9, ls="--")
    at = slice(reading.at, reading.at + 1)
    axes.plot(*np.concatenate([left[at], right[at]]).T, color=NARROW, lw=2.5, solid_capstyle="butt")
    axes.plot(*np.concatenate([(middle - half)[at], (middle + half)[at]]).T, color=NARROW, lw=0.8)
    axes.set(xlim=(cols.start - 0.5, cols.stop - 0.5), ylim=(rows.stop - 0.5, rows.start - 0.5), xticks=[], yticks=[])
    axes.set_title(f"{reading.kind}: {reading.percent_ds:.0f} %DS, area {reading.area_stenosis:.0f} %", fontsize=11)


def _draw_curve(
    axes: Any, vessel: Lumen | Walls, reading: Reading, curve: NDArray[np.float64], mm: float, unit: str
) -> None:
    s, diameter, curve = vessel.s * mm, vessel.diameter * mm, curve * mm
    axes.plot(s, diameter, color="#333333", lw=1.3, label="lumen")
    axes.plot(s, curve, color="#1f8fc4", lw=1.2, ls="--", label=f"{reading.reference} reference")
    gap = np.zeros(len(s), bool)
    gap[reading.gap[0] : reading.gap[1] + 1] = True
    axes.fill_between(s, diameter, curve, where=gap & (diameter < curve), color=NARROW, alpha=0.25, lw=0)
    axes.vlines(s[reading.at], 0, curve[reading.at], color=NARROW, lw=1.2)
    late = s[reading.at] > 0.6 * s[-1]
    place, side = ((-6, -14), "right") if late else ((6, -14), "left")
    text = f"MLD {reading.mld_px * mm:.2f} {unit}"
    at = (s[reading.at], max(reading.mld_px * mm, 0.1 * curve[reading.at]))
    axes.annotate(text, at, place, textcoords="offset points", color=NARROW, ha=side)
    top = 1.15 * float(np.nanmax(np.append(diameter, curve)))
    axes.set(ylim=(0, top), xlabel=f"along the vessel, {unit}", ylabel=f"diameter, {unit}")
    axes.margins(x=0)
    note = f"reference {reading.d_ref_px * mm:.2f} {unit}, length {reading.length_px * mm:.1f} {unit}"
    axes.set_title(note + (f"\nnot valid: {reading.why}" if reading.why else ""), fontsize=10)
    axes.legend(loc="lower left", frameon=False, fontsize=9)
