"""What an ARCADE folder holds: pictures of two tasks with their COCO annotations, before any picture is opened.

Annotations are grouped by picture, never looked up by their ids: 560 ids of stenosis/train stand for two lesions on
two pictures each (a dictionary by id loses 34 % of the lesions).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.files import File
from lesionforge.engine.sources.folder import Folder, Nowhere
from lesionforge.engine.sources.pictures.names import of_kind
from lesionforge.generators.types import BadCase

Task = Literal["stenosis", "syntax"]
Part = Literal["train", "val", "test"]
TASKS: tuple[Task, ...] = ("stenosis", "syntax")
EDGE = 512  # rows and columns of every ARCADE picture


@dataclass(frozen=True)
class ArcadeLabels:
    """What one task says about one picture. ``annotations`` are COCO's, ``names`` the category names by id."""

    task: Task
    part: Part
    name: str  # the picture as ARCADE counts it, e.g. stenosis/train/650
    annotations: tuple[Mapping[str, Any], ...]
    names: Mapping[int, str]
    shape: tuple[int, int]  # rows and columns of the picture that the annotations were drawn on


@dataclass(frozen=True)
class ArcadePicture:
    """One picture file and the labels of one task or, where both name the same file, of both."""

    file: File
    labels: Mapping[Task, ArcadeLabels]


def pictures(folder: Folder, parts: tuple[Part, ...]) -> tuple[list[ArcadePicture], list[bytes], list[str]]:
    """The pictures of these parts, the annotation files as read, and the paths of pictures that none of them lists.

    Layouts: the published one (``{stenosis,syntax}/{train,val,test}/{images/N.png, annotations/PART.json}``) and a
    flat one (``stenosis_coco.json``, ``syntax_coco.json``, ``images/TASK_PART_N.png``).

    Raises:
        SourceError: for neither, or an annotation file that is no COCO.
    """
    flat = {task: folder.files().get(f"{task}_coco.json") for task in TASKS}
    found: dict[str, ArcadePicture] = {}
    texts: list[bytes] = []
    there: dict[str, File] = {}
    listed: set[str] = set()
    for task in TASKS:
        for part in parts:
            file = flat[task] or folder.files(f"{task}/{part}/annotations").get(f"{part}.json")
            if file is None:
                continue
            sub = "images" if flat[task] else f"{task}/{part}/images"
            images = folder.files(sub)
            text = _read(file)
            texts.append(text)
            there |= {file.path: file for file in of_kind(images.values())}
            for name, labels in _coco(text, file.name, task, part, bool(flat[task])).items():
                picture = images.get(name) or _missing(folder, f"{sub}/{name}")
                listed.add(picture.path)
                if labels.part != part:
                    continue
                known = found[picture.path].labels if picture.path in found else {}
                found[picture.path] = ArcadePicture(picture, {**known, task: labels})
    if not found:
        raise SourceError(
            f"holds no picture of ARCADE's part {' or '.join(parts)}; give the folder with stenosis/ "
            "and syntax/ (each with train/images and train/annotations/train.json), or with stenosis_coco.json and "
            "syntax_coco.json beside images/"
        )
    return list(found.values()), texts, [path for path in there if path not in listed]


def _coco(text: bytes, where: str, task: Task, part: Part, flat: bool) -> dict[str, ArcadeLabels]:
    """Labels by the picture's file name."""
    try:
        raw = json.loads(text)
        names = {int(c["id"]): str(c["name"]) for c in raw["categories"]}
        images = {image["id"]: str(image["file_name"]).rsplit("/", 1)[-1] for image in raw["images"]}
        shapes = {image["id"]: (_edge(image, "height"), _edge(image, "width")) for image in raw["images"]}
        grouped: dict[Any, list[Mapping[str, Any]]] = {i: [] for i in images}
        for annotation in raw["annotations"]:
            grouped[annotation["image_id"]].append(annotation)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise SourceError(f"{where} is no COCO annotation file ({type(error).__name__})") from None
    if len(images) < len(raw["images"]) or len(set(images.values())) < len(images):
        raise SourceError(f"{where} gives two pictures the same id or name, so their labels cannot be told apart")
    out = {}
    for i, name in images.items():
        match = re.fullmatch(r"(?:(stenosis|syntax)_(train|val|test)_)?([0-9]{1,6})\.png", name)
        if match is None:
            raise SourceError(f"{where} lists a picture that is not called N.png or TASK_PART_N.png as ARCADE's are")
        own = cast(Part, match[2]) if flat and match[2] else part
        labels = tuple(grouped[i])
        out[name] = ArcadeLabels(task, own, f"{match[1] or task}/{own}/{match[3]}", labels, names, shapes[i])
    return out


def _edge(image: Mapping[str, Any], key: str) -> int:
    """Rows or columns of a picture as COCO says them; those of ARCADE's own where it does not."""
    edge = image.get(key)
    if isinstance(edge, str) and edge.isdecimal():
        edge = float(edge)
    return EDGE if edge is None else int(edge) if isinstance(edge, int | float) else 0


def _read(file: File) -> bytes:
    try:
        return file.read()
    except BadCase as error:
        raise SourceError(f"{file.name}: {error}") from None


def _missing(folder: Folder, name: str) -> File:
    """Stands for a picture that an index names and that is not there: its case says so when it is read."""
    return File(name, f"{folder.path}/{name} (missing)", 0, "missing", Nowhere("the file is missing"))
