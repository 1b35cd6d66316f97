"""Datasets of lesions in the layouts that detectors' own tools read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sinks.exports import coco, yolo
from sinks.exports.frames import SEVERITIES, Frames
from sinks.store import Store

FORMATS: Mapping[str, Callable[[Frames, Path], None]] = {"coco": coco.write, "yolo": yolo.write}


def export(
    place: str | Path | Store,
    to: str | Path,
    format: str,
    classes: Sequence[str] = SEVERITIES,
    splits: Sequence[str] | None = None,
    image: str = "image.png",
) -> dict[str, Any]:
    """Write a dataset's frames and lesion boxes into a local folder.

    Args:
        place: where the dataset lies.
        to: an empty or new folder.
        format: ``yolo`` (Ultralytics) or ``coco`` (as ARCADE is laid out).
        classes: the severity classes that become classes of boxes, in this order; lesions of another or of none are
            left out and counted. A single name that is no severity takes every lesion, e.g. ``["stenosis"]``.
        splits: only of these; None takes all there are.
        image: the member that holds the picture. ``source.png`` gives the frames before anything was drawn under the
            same boxes: the placebo of a study.

    Returns:
        Images and boxes by split and class; how many lesions were left out or clipped at the frame's border.

    Raises:
        ValueError: for an unknown format, a folder that is not empty, or samples without lesions or picture.
    """
    if format not in FORMATS:
        raise ValueError(f"no export format {format!r}; there are {', '.join(sorted(FORMATS))}")
    folder = Path(to)
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: files of two exports would mix; give a new folder")
    frames = Frames(place, classes, splits, image)
    FORMATS[format](frames, folder)
    return {"format": format, "to": str(folder), **frames.summary()}
