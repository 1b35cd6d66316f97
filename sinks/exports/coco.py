"""COCO detection files as ARCADE lays them out: ``SPLIT/images``, ``SPLIT/annotations/SPLIT.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lesionforge.sinks.exports.frames import Box, Frames

FORM = "`bbox` is [x, y, width, height] in pixels; the left edge of the first column is 0"
#: Of a lesion, beside COCO's own fields.
KEPT = (
    *("synthetic", "severity_class", "requested_ds", "measured_ds", "percent_ds", "true_ds", "class"),
    *("foreshortening", "overlap", "visible", "stenosis"),
)


def write(frames: Frames, folder: Path) -> None:
    """Write the pictures as they are stored, and one annotation file a split, with ids from 1.

    ``bbox`` is [x, y, width, height] with the left edge of the first column at 0. ``segmentation`` is the box, so that
    tools that draw polygons have one. What a lesion is beyond its class stands in its annotation, see ``KEPT``, and
    whose a picture is in its image. Masks lie in ``SPLIT/masks``. A run's frames are images with ``video_id`` and
    ``frame_id``, their lesions have the run's ``instance_id`` (COCO-VID).

    A lesion of none of the classes is a region to ignore (``iscrowd`` 1) in every category: trainers leave it out of
    their losses or drop it, and COCOeval counts what is found there neither as hit nor as false alarm.
    """
    categories = [{"id": n, "name": name, "supercategory": "stenosis"} for n, name in enumerate(frames.classes, 1)]
    for split in frames.splits:
        pictures, texts = folder / split / "images", folder / split / "annotations"
        pictures.mkdir(parents=True)
        texts.mkdir(parents=True)
        images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
        videos, instances = dict[str, int](), dict[tuple[str, int], int]()
        for number, frame in enumerate(frames.read(split), 1):
            (pictures / f"{frame.key}.png").write_bytes(frame.png)
            image = {"id": number, "width": frame.width, "height": frame.height, "file_name": f"{frame.key}.png"}
            image |= {"subject": frame.subject, "sample": frame.sample}
            run = frame.sample if frame.picture.told else None
            if run is not None:
                image |= {"video_id": videos.setdefault(run, len(videos) + 1), "frame_id": frame.picture.number}
                image |= dict(frame.picture.told)
            if frame.mask is not None:
                (folder / split / "masks").mkdir(exist_ok=True)
                (folder / split / "masks" / f"{frame.key}.png").write_bytes(frame.mask)
            images.append(image)
            for box in frame.boxes:
                for label in range(len(categories)) if box.label is None else (box.label,):
                    made = _annotation(box, label, len(annotations) + 1, number)
                    if run is not None:
                        which = run, box.record["stenosis"]
                        made |= {
                            "video_id": videos[run],
                            "instance_id": instances.setdefault(which, len(instances) + 1),
                        }
                    annotations.append(made)
        body = {"images": images, "categories": categories, "annotations": annotations}
        if videos:
            body["videos"] = [{"id": n, "name": name} for name, n in videos.items()]
        (texts / f"{split}.json").write_text(json.dumps(body, allow_nan=False), encoding="utf-8")


def _annotation(box: Box, label: int, number: int, image: int) -> dict[str, Any]:
    x0, y0, x1, y1 = box.corners
    out: dict[str, Any] = {"id": number, "image_id": image, "category_id": label + 1}
    out |= {"iscrowd": int(box.label is None)}
    out |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
    out |= {"segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]}
    return out | {name: box.record[name] for name in KEPT if name in box.record}
