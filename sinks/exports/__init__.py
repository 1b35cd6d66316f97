"""Datasets in the layouts that other tools read: boxes for detectors, label maps for nnU-Net, runs as DICOM."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lesionforge.sinks.card import counted
from lesionforge.sinks.exports import coco, dicom, nnunet, yolo
from lesionforge.sinks.exports.about import about
from lesionforge.sinks.exports.frames import SEVERITIES, Frames, Lesions
from lesionforge.sinks.exports.runs import Runs
from lesionforge.sinks.exports.volumes import Volumes
from lesionforge.sinks.store import Store

#: What writes a format, and how boxes are said in it.
FORMATS: Mapping[str, tuple[Callable[[Frames, Path], None], str]] = {
    "coco": (coco.write, coco.FORM),
    "yolo": (yolo.write, yolo.FORM),
}

UNFINISHED = "unfinished"  # what an export has written so far, in its folder


def export(
    place: str | Path | Store,
    to: str | Path,
    format: str,
    classes: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    image: str | None = None,
    lesions: Lesions = "classes",
) -> dict[str, Any]:
    """Write a dataset's pictures and lesion boxes into a local folder: stills, runs by frame, angiograms beside CT.

    Args:
        place: where the dataset lies.
        to: an empty or new folder.
        format: ``yolo`` (Ultralytics) or ``coco`` (as ARCADE is laid out).
        classes: the severities that become classes, in this order; None takes all three.
        splits: only of these; None takes all there are. YOLO needs train and val: where one is missing, it is made of
            a fifth of the other's subjects.
        image: only this member. ``source.png`` gives the frames before anything was drawn under the same boxes: the
            placebo of a study. None takes the sample's pictures.
        lesions: what becomes of lesions that are of none of the classes (real ones that nobody graded): ``classes``, a
            class ``stenosis`` after them; ``ignore``, regions to ignore, which COCO alone has; ``one``: all lesions,
            graded or not, are of one class ``stenosis``. None becomes background.

    Returns:
        Images, subjects and boxes by split and class; how many lesions became ``stenosis``, are ignored, left out, or
        clipped at the border; and notices, a sentence each. The folder's ``README.md`` says the same.

    Raises:
        ValueError: for an unknown format, a folder that is not empty, samples without lesions or picture, lesions to
            ignore in YOLO, or a YOLO folder of a single subject.
    """
    if format not in FORMATS:
        raise ValueError(f"no export format {format!r}; there are {', '.join(sorted(FORMATS))}")
    if format == "yolo" and lesions == "ignore":
        raise ValueError(
            "YOLO has no region to ignore, and a lesion without a box is background to it: use lesions classes or one, "
            "or the format coco"
        )
    with _filled(to) as part:
        frames = Frames(place, lesions, classes or SEVERITIES, splits, image, deal=format == "yolo")
        write, form = FORMATS[format]
        write(frames, part)
        told = {"format": format, "to": str(to), **frames.summary()}
        told["notices"] = [
            f"{name} is made of {counted(one.subjects, 'subject')} of {one.split}, and no subject is in two splits"
            for name, one in frames.parts.items()
            if one.chosen is not None
        ]
        (part / "README.md").write_text(about(told, form), encoding="utf-8")
    return told


def export_volumes(
    place: str | Path | Store,
    to: str | Path,
    classes: Mapping[str, Sequence[str]],
    splits: Sequence[str] | None = None,
    image: str = "ct",
    more: Sequence[str | Path | Store] = (),
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
        more: where other datasets lie, as synthetic ones. Their split train is added to the training cases; no fold
            validates on it, nor learns from what it has of the subjects that the fold validates on. Those are known by
            their scans' voxels, and by name where the datasets are of the same sources and one seed.

    Returns:
        Images by split; volumes that hold each class; labels that became background, and in how many volumes; notices,
        a sentence each.

    Raises:
        ValueError: for a folder that is not empty, labels that are in no legend or in two classes, or samples without
            volumes or their place.
    """
    with _filled(to) as part:
        volumes = Volumes(place, classes, splits, image, more)
        notices = nnunet.write(volumes, part)
    return {"format": "nnunet", "to": str(to), **volumes.summary(), "notices": notices}


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
    with _filled(to) as part:
        runs = Runs(place, splits)
        dicom.write(runs, part)
    return {"format": "dicom", "to": str(to), **runs.summary()}


@contextmanager
def _filled(to: str | Path) -> Iterator[Path]:
    """Where to write what an empty or new folder is to hold; it gets all of it in the end, or nothing.

    The place lies in the folder itself and is made by one export alone: a second one finds the folder not empty.
    """
    folder = Path(to)
    new, part = not folder.exists(), folder / UNFINISHED
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if any(folder.iterdir()):
            raise FileExistsError
        part.mkdir()
    except FileExistsError:
        raise ValueError(f"{folder} is not empty: files of two exports would mix; give a new folder") from None
    try:
        yield part
        for one in sorted(part.iterdir(), key=Path.is_file):  # what tells of the whole comes last
            one.rename(folder / one.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if new:
            with suppress(OSError):  # it is not empty where all went well
                folder.rmdir()
