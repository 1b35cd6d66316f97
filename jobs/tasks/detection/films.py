"""Frames of a run, or a still, that detection learns from and is scored on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lesionforge.jobs.tasks.detection.frames import Frame, Kind, labelled
from lesionforge.jobs.tasks.runs import Run

SIGNIFICANT = 50.0  # %DS from which on a narrowing is a lesion, as in DiGDA's labels


def frames_of(run: Run, most: int, squares: bool) -> list[Frame]:
    """Some frames of full contrast and of none, spread over the run.

    Of a run without a significant lesion, those of full contrast are ``healthy``.

    Args:
        run: labelled; one that nobody labelled gives nothing.
        most: frames of full contrast, and frames without.
        squares: see ``frame_of``.
    """
    if not run.frames:
        return []
    bare = [n for n, frame in enumerate(run.frames) if frame.get("phase") == "before"]
    full = [frame_of(run, n, squares) for n in _spread(run.full, most)]
    # Where all lesions are hidden there is nothing to learn.
    shown = [frame for frame in full if frame.kind == "healthy" or len(frame.boxes)]
    return [*shown, *(frame_of(run, n, squares) for n in _spread(bare, most))]


def frame_of(run: Run, n: int, squares: bool) -> Frame:
    """A frame with its lesions of 50 %DS or more.

    Those that it does not show as such (foreshortened, under another vessel, a silhouette narrowed by less) are regions
    to ignore, and so are milder ones that look as severe: nobody could tell who marks or misses them that he is wrong.

    Args:
        run: labelled.
        n: number of the frame.
        squares: boxes as DiGDA's annotators drew them in place of the lesions' own bounds, see ``_square``.
    """
    kind: Kind = "healthy" if healthy(run.stenoses) else "full"
    if run.frames[n].get("phase") == "before":
        kind = "bare"
    lesions, hidden = [], []
    for own in run.frames[n].get("boxes", ()) if kind != "bare" else ():
        stenosis = run.stenoses[own["stenosis"]]
        grade, seen = _grade(stenosis), own.get("percent_ds")
        ill = [grade != "mild", grade != "mild" if seen is None else seen >= SIGNIFICANT]
        box = _square(own["box"], stenosis, run, max(run.film[n].shape)) if squares else own["box"]
        if all(ill) and own["visible"]:
            lesions.append({"box": box, "severity_class": grade, "synthetic": bool(run.sample_id)})
        elif any(ill):
            hidden.append(box)
    return labelled(
        run.film[n],
        lesions,
        subject=run.subject,
        source_id=run.source_id,
        sample_id=run.sample_id,
        ignore=np.array(hidden, np.float32).reshape(-1, 4),
        kind=kind,
    )


def healthy(stenoses: Sequence[Mapping[str, Any]]) -> bool:
    """Whether none is significant."""
    return not any(_grade(one) != "mild" for one in stenoses)


def _spread(numbers: Sequence[int], most: int) -> list[int]:
    if len(numbers) <= most:
        return list(numbers)
    return [numbers[at] for at in ((np.arange(most) + 0.5) * len(numbers) / most).astype(int)]


def _square(box: Sequence[float], stenosis: Mapping[str, Any], run: Run, side: int) -> list[float]:
    """About the same middle, of 21 px and 2.6 reference diameters on a frame of 512 pixels.

    DiGDA's boxes grow with the vessel, whatever the lesion's length or grade: on 45 lesions of ARCADE's training part
    where the vessel is outlined, 20 px and 2.6 outlined widths (rank correlation .62; side over width: median 4.6,
    quartiles 4.0 and 5.1).
    """
    if run.pixel_mm is None or "reference_mm" not in stenosis:
        return list(box)
    half = (21 * side / 512 + 2.6 * stenosis["reference_mm"] / run.pixel_mm[0]) / 2
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return [x - half, y - half, x + half, y + half]


def _grade(stenosis: Mapping[str, Any]) -> str | None:
    """Severity class by %DS where that is known; an occlusion is severe."""
    percent: float | None = stenosis.get("percent_ds")
    if percent is None:
        told: str | None = stenosis["severity_class"]
        return told
    return "mild" if percent < SIGNIFICANT else "moderate" if percent < 70 else "severe"
