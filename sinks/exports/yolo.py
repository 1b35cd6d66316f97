"""Ultralytics' folder: ``images/SPLIT``, ``labels/SPLIT``, ``data.yaml``."""

from __future__ import annotations

import csv
from pathlib import Path

import yaml

from lesionforge.sinks.exports.frames import Frame, Frames

FORM = "A line of a label file is `class cx cy w h`: centre and size as fractions of the picture's width and height"


def write(frames: Frames, folder: Path) -> None:
    """Write the pictures as they are stored, a text file of boxes for each, and ``data.yaml`` last.

    A line is ``class cx cy w h``, centre and size as fractions of the frame, in full precision. A frame without
    lesions has an empty file. ``data.yaml`` names no path of its own, so the folder may be moved. Masks, where there
    are any, lie in ``masks/SPLIT``, which Ultralytics does not look at, and ``subjects.csv`` says whose a picture is.
    """
    with_subjects = []
    for split in frames.splits:
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for frame in frames.read(split):
            (images / f"{frame.key}.png").write_bytes(frame.png)
            (labels / f"{frame.key}.txt").write_text("".join(lines(frame)), encoding="ascii")
            if frame.mask is not None:
                masks = folder / "masks" / split
                masks.mkdir(parents=True, exist_ok=True)
                (masks / f"{frame.key}.png").write_bytes(frame.mask)
            with_subjects.append((f"{split}/{frame.key}.png", split, frame.subject, frame.sample))
    with (folder / "subjects.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("picture", "split", "subject", "sample"), *with_subjects])
    body = {split: f"images/{split}" for split in frames.splits} | {"names": dict(enumerate(frames.classes))}
    (folder / "data.yaml").write_text(yaml.safe_dump(body, sort_keys=False), encoding="utf-8")


def lines(frame: Frame) -> list[str]:
    """One line a box."""
    out = []
    for box in frame.boxes:
        if box.label is None:  # YOLO has no region to ignore; the export has counted it
            continue
        x0, y0, x1, y1 = box.corners
        centre = (x0 + x1) / 2 / frame.width, (y0 + y1) / 2 / frame.height
        values = *centre, (x1 - x0) / frame.width, (y1 - y0) / frame.height
        out.append(f"{box.label} {' '.join(map(repr, values))}\n")
    return out
