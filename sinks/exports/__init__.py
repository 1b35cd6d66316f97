"""Datasets in the layouts that other tools read: boxes for detectors, label maps for nnU-Net, runs as DICOM."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lesionforge.sinks.exports import coco, dicom, nnunet, yolo
from lesionforge.sinks.exports.frames import SEVERITIES, Frames
from lesionforge.sinks.exports.runs import Runs
from lesionforge.sinks.exports.volumes import Volumes
from lesionforge.sinks.store import Store

FORMATS: Mapping[str, Callable[[Frames, Path], None]] = {"coco": coco.write, "yolo": yolo.write}


def export(
    place: str | Path | Store,
    to: str | Path,
    format: str,
    classes: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    image: str = "image.png",
) -> dict[str, Any]:
    """Write a dataset's frames and lesion boxes into a local folder.

    Args:
        place: where the dataset lies.
        to: an empty or new folder.
        format: ``yolo`` (Ultralytics) or ``coco`` (as ARCADE is laid out).
        classes: the severity classes that become classes of boxes, in this order; None takes all three. A single name
            that is no severity takes every lesion, e.g. ``["stenosis"]``. Lesions of another severity or of none are
            counted; COCO has them as regions to ignore, YOLO cannot.
        splits: only of these; None takes all there are.
        image: the member that holds the picture. ``source.png`` gives the frames before anything was drawn under the
            same boxes: the placebo of a study.

    Returns:
        Images and boxes by split and class; how many lesions were ignored, left out, or clipped at the frame's
        border; and notices, a sentence each.

    Raises:
        ValueError: for an unknown format, a folder that is not empty, samples without lesions or picture, or, for YOLO
            without ``classes``, lesions without a severity: they would be background, and a detector would learn so.
    """
    if format not in FORMATS:
        raise ValueError(f"no export format {format!r}; there are {', '.join(sorted(FORMATS))}")
    folder = _empty(to)
    frames = Frames(place, classes or SEVERITIES, splits, image)
    if format == "yolo" and not classes and (count := frames.ungraded()):
        raise ValueError(
            f"{count} lesions have no severity and would be background in YOLO, which has no region to ignore: export "
            "one class with all lesions (--class stenosis), use coco, or name the severities to leave them out"
        )
    FORMATS[format](frames, folder)
    notices = yolo.notices(frames.splits) if format == "yolo" else []
    return {"format": format, "to": str(folder), **frames.summary(), "notices": notices}


def export_volumes(
    place: str | Path | Store,
    to: str | Path,
    classes: Mapping[str, Sequence[str]],
    splits: Sequence[str] | None = None,
    image: str = "ct",
) -> dict[str, Any]:
    """Write a dataset's CT volumes and label maps into a local folder in nnU-Net's raw format.

    Args:
        place: where the dataset lies.
        to: an empty or new folder; nnU-Net wants it named ``DatasetNNN_NAME``.
        classes: each class of the written label maps, in their order from 1, and the labels of the samples that
            belong to it, e.g. ``{"liver": ["liver"], "tumour": ["liver_early", "liver_late"]}``.
        splits: only of these; None takes all there are.
        image: the member that holds the HU, without its ending. ``source_ct`` gives the volumes before anything was
            drawn under the same labels: the placebo of a study.

    Returns:
        Images by split; volumes that hold each class; labels that became background, and in how many volumes.

    Raises:
        ValueError: for a folder that is not empty, labels that are in no legend or in two classes, or samples without
            volumes or their place.
    """
    folder = _empty(to)
    volumes = Volumes(place, classes, splits, image)
    nnunet.write(volumes, folder)
    return {"format": "nnunet", "to": str(folder), **volumes.summary()}


def export_runs(place: str | Path | Store, to: str | Path, splits: Sequence[str] | None = None) -> dict[str, Any]:
    """Write a dataset's angiographic runs into a local folder as multi-frame XA DICOM, each sample's json beside it.

    Args:
        place: where the dataset lies, made by the cine generator.
        to: an empty or new folder; the source ``dicom:TO/SPLIT`` reads it.
        splits: only of these; None takes all there are.

    Returns:
        Runs and frames by split.

    Raises:
        ValueError: for a folder that is not empty, or samples without frames or the C-arm's geometry.
    """
    folder = _empty(to)
    runs = Runs(place, splits)
    dicom.write(runs, folder)
    return {"format": "dicom", "to": str(folder), **runs.summary()}


def _empty(to: str | Path) -> Path:
    folder = Path(to)
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: files of two exports would mix; give a new folder")
    return folder
