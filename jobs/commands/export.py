"""``lesionforge export``: a dataset as a folder that other tools read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from lesionforge.generators.lesion.classes import LABELS, LEGEND, home
from lesionforge.jobs import console
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.segmentation.targets import CLASSES, target
from lesionforge.sinks.card import counted
from lesionforge.sinks.exports import FORMATS, export_runs, export_volumes
from lesionforge.sinks.exports import export as write
from lesionforge.sinks.exports.about import RULES, lines
from lesionforge.sinks.exports.frames import Lesions
from lesionforge.sinks.reader import Samples
from lesionforge.sinks.store import Store


def export(
    place: str | Store,
    layout: str,
    to: Path,
    classes: Sequence[str] = (),
    image: str | None = None,
    organs: bool = False,
    lesions: str | None = None,
    more: Sequence[str | Store] = (),
) -> dict[str, Any]:
    """Write the folder; what was written and left out, counted.

    Args:
        place: where the dataset lies, or a store.
        layout: ``yolo``, ``coco``, ``nnunet`` or ``dicom``.
        to: an empty or new folder.
        classes: of boxes, see `sinks.exports.export`; for ``nnunet`` labels, or several as ``NAME=LABEL,LABEL``. None
            gives all severities, or the classes that ``train segmentation`` learns.
        image: the member that holds the picture or the HU.
        lesions: of boxes, what those of no class become, see `sinks.exports.export`; None: ``classes``.
        more: for ``nnunet``: datasets whose training samples are added, see `sinks.exports.export_volumes`.
        organs: for ``nnunet`` without ``classes``: the labels that lesions lie in come before them.

    Raises:
        UsageError: for an unknown layout, a folder that is not empty or cannot be written, or a dataset without
            lesions or that picture.
    """
    if layout not in (known := sorted([*FORMATS, "dicom", "nnunet"])):
        raise UsageError(f"no export format {layout!r}; there are {', '.join(known)}")
    if organs and (layout != "nnunet" or classes):
        raise UsageError("--organs is for --format nnunet without --class; otherwise name organs as classes")
    if more and layout != "nnunet":
        raise UsageError("--add is for --format nnunet: other exports are of one dataset")
    if layout == "dicom" and (classes or image):
        raise UsageError("--class and --image are for boxes and volumes: DICOM takes runs as they are")
    if lesions and layout not in FORMATS:
        raise UsageError(f"--lesions is for boxes: {layout} has none")
    try:
        if layout == "dicom":
            return export_runs(place, to)
        if layout == "nnunet":
            named = _named(classes) if classes else _learnt(place, organs)
            return export_volumes(place, to, named, image=image or "ct", more=more)
        return write(place, to, layout, classes or None, image=image, lesions=cast(Lesions, lesions or "classes"))
    except ValueError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"cannot write {error.filename or to}: {error.strerror or error}") from None


def show(body: Mapping[str, Any]) -> None:
    """For people."""
    if body["format"] == "dicom":
        rows = [[split, count, body["frames"][split]] for split, count in body["images"].items()]
        console.table(f"dicom in {body['to']}", ["split", "runs", "frames"], rows)
        return
    counts = body["boxes"] if "boxes" in body else body["held"]
    rows = [
        [split, images, *(counts[split][name] for name in body["classes"])] for split, images in body["images"].items()
    ]
    title = f"{body['format']} in {body['to']}"
    if "boxes" not in body:
        console.table(f"{title}: volumes, and those that hold a class", ["split", "volumes", *body["classes"]], rows)
        if body["added"]:
            console.out.print(
                f"of those in train, {counted(body['added'], 'volume')} added, on which no fold validates"
            )
        for label, count in body["left_out"].items():
            console.out.print(f"as background: {label}, in {counted(count, 'volume')}", markup=False)
    else:
        console.table(title, ["split", "pictures", *body["classes"]], rows)
        console.out.print(RULES[body["lesions"]], markup=False)
        for line in lines(body):
            console.out.print(line, markup=False)
    for notice in body["notices"]:
        console.out.print(f"note: {notice}", markup=False)


def _named(classes: Sequence[str]) -> dict[str, list[str]]:
    """``["a", "b=c,d"]`` as ``{"a": ["a"], "b": ["c", "d"]}``."""
    out = {}
    for text in classes:
        name, _, labels = text.partition("=")
        out[name] = labels.split(",") if labels else [name]
    return out


def _learnt(place: str | Store, organs: bool) -> dict[str, list[str]]:
    """The classes of ``train segmentation`` of the domains whose lesions the dataset has, with their labels."""
    lesions = Samples(place, members=["json"]).column("labels.lesions")
    there = {
        str(one.get("class")) for some in lesions if isinstance(some, list) for one in some if isinstance(one, dict)
    }
    out: dict[str, list[str]] = {}
    for domain, names in CLASSES.items():
        of = target(np.arange(len(LABELS), dtype=np.uint8), LEGEND, domain)
        parts = {name: [LABELS[v] for v in np.flatnonzero(of == n)] for n, name in enumerate(names, 1)}
        if not there.isdisjoint(label for labels in parts.values() for label in labels):
            homes = dict.fromkeys(home(name) for name in names) if organs else {}
            out |= {name: [name] for name in homes} | parts
    if not out:
        raise UsageError("no sample has a plaque or tumour drawn in it: name the labels to write with --class")
    return out
