"""Ultralytics' folder: ``images/SPLIT``, ``labels/SPLIT``, ``data.yaml``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from lesionforge.sinks.exports.frames import Frame, Frames


def write(frames: Frames, folder: Path) -> None:
    """Write the pictures as they are stored, a text file of boxes for each, and ``data.yaml`` last.

    A line is ``class cx cy w h``, centre and size as fractions of the frame, in full precision. A frame without
    lesions has an empty file. ``data.yaml`` names no path of its own, so the folder may be moved.

    Ultralytics refuses a ``data.yaml`` without ``train`` or ``val``: a split that the dataset lacks is another one's
    pictures there, and a comment says so.
    """
    for split in frames.splits:
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for frame in frames.read(split):
            (images / f"{frame.key}.png").write_bytes(frame.png)
            (labels / f"{frame.key}.txt").write_text("".join(lines(frame)), encoding="ascii")
    used = {split: split for split in frames.splits} | borrowed(frames.splits)
    body = {split: f"images/{source}" for split, source in used.items()} | {"names": dict(enumerate(frames.classes))}
    notes = "".join(f"# {note}\n" for note in notices(frames.splits))
    (folder / "data.yaml").write_text(notes + yaml.safe_dump(body, sort_keys=False), encoding="utf-8")


def borrowed(splits: Sequence[str]) -> dict[str, str]:
    """Splits that Ultralytics needs and the dataset lacks, with the one whose pictures stand in."""
    stand_in = {"train": ("val", "test"), "val": ("test", "train")}
    return {
        split: next(other for other in others if other in splits)
        for split, others in stand_in.items()
        if split not in splits
    }


def notices(splits: Sequence[str]) -> list[str]:
    """What must be known of ``data.yaml``, a sentence each."""
    return [
        f"the dataset has no split {split}: {split} names the pictures of {other}; figures on them are no test"
        for split, other in borrowed(splits).items()
    ]


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
