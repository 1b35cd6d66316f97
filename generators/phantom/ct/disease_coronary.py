"""All plaques of one subject: drawn on its trees, painted into its CT, marked by an annotator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy

from lesionforge.generators.phantom.ct.canvas import Canvas, Floats
from lesionforge.generators.phantom.ct.disease import Annotator, mark
from lesionforge.generators.phantom.ct.disease_course import Bearers, Seat
from lesionforge.generators.phantom.ct.disease_plaque import Plaque
from lesionforge.generators.types import Branch

LEAST, MORE = (1, 0), (2.0, 0.9)  # plaques of a left and a right tree: so many, and as many again by Poisson's law
TRIES = 8  # of a place that is free
SIGHT_MM = 0.42  # sigma of what the annotator sees: the scanner's blur and the screen's
BIAS_MM, HAND_MM, STROKE_MM = 0.12, 0.15, 3.0
BLOOM_MM = 0.2  # calcium glares: its outline is drawn so much wider
SEEN_SOFT, SEEN_HARD = 12, 3  # voxels that a person bothers to mark
GROWS_INTO = ("coronary_left", "coronary_right", "coronary_wall", "epicardial_fat", "myocardium")


def paint_plaques(
    canvas: Canvas,
    trees: Sequence[Sequence[Branch]],
    outer: Callable[[Floats], Floats],
    lumen_hu: float,
    names: Mapping[str, int],
) -> list[dict[str, Any]]:
    """Draw a subject's plaques, lay those that the canvas shows, and label them ``calcified`` and ``non_calcified``.

    Args:
        canvas: all of it, with everything else painted.
        trees: healthy branches of the left and the right one.
        outer: radius of a healthy vessel's outer wall by that of its lumen, mm.
        lumen_hu: of the coronaries.
        names: label values.

    Returns:
        Of every plaque on the canvas, its kind, %DS, length, middle (LPS mm), and the voxels marked of either class.
    """
    spared = frozenset(value for name, value in names.items() if name not in GROWS_INTO)
    annotator = Annotator.draw(canvas.rng("disease annotator"), BIAS_MM, HAND_MM)
    told = []
    for n, branches in enumerate(trees):
        rng, bearers = canvas.rng(f"disease plaques {n}"), Bearers(branches)
        taken: list[tuple[Seat, float]] = []
        for _ in range(LEAST[n] + int(rng.poisson(MORE[n]))):
            drawn = _placed(rng, bearers, taken, lumen_hu)
            if drawn is None:
                continue
            seat, plaque = drawn
            taken.append((seat, plaque.half_mm))
            painted = plaque.paint(canvas, bearers.course(seat, plaque.half_mm), outer, spared)
            if painted is not None and painted[1].any():
                soft, hard = _mark(annotator, *painted, names)
                told.append(
                    {
                        "kind": plaque.kind,
                        "percent_ds": round(plaque.percent_ds, 1),
                        "length_mm": round(2 * plaque.half_mm, 1),
                        "centre_lps_mm": np.round(branches[seat.branch].points[seat.middle], 2).tolist(),
                        "voxels": {"calcified": hard, "non_calcified": soft},
                    }
                )
    return told


def _placed(
    rng: np.random.Generator, bearers: Bearers, taken: Sequence[tuple[Seat, float]], lumen_hu: float
) -> tuple[Seat, Plaque] | None:
    """One more plaque and its place; None where the tree is full."""
    for _ in range(TRIES):
        seat = bearers.seat(rng)
        if seat is None:
            return None
        plaque = Plaque.draw(rng, seat.angle, lumen_hu)
        if bearers.free(seat, plaque.half_mm, taken):
            return seat, plaque
    return None


def _mark(
    annotator: Annotator, part: Canvas, whole: Floats, calcium: Floats, names: Mapping[str, int]
) -> tuple[int, int]:
    """Label a plaque: what is above the half of the blurred picture, less or more by the annotator's error.

    An edge blurred by sigma s stands at Phi(-d / s) a distance d outside of it.
    """
    sigmas = [SIGHT_MM / mm for mm in part.grid.spacing_mm]
    off = annotator.off(part, STROKE_MM)
    seen, glare = (scipy.ndimage.gaussian_filter(share, sigmas, mode="nearest") for share in (whole, calcium))
    hard = glare > scipy.special.ndtr(-(off + BLOOM_MM) / SIGHT_MM)
    soft = (seen > scipy.special.ndtr(-off / SIGHT_MM)) & ~hard
    room = (part.labels == 0) | np.isin(part.labels, [names[name] for name in GROWS_INTO])
    count = mark(part, soft & room, names["non_calcified"], SEEN_SOFT)
    return count, mark(part, hard & room, names["calcified"], SEEN_HARD)
