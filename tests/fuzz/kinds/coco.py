"""ARCADE folders: COCO annotations of every wrong type, in both layouts, pictures missing or spoiled, path tricks."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.fuzz.kinds import pictures, source
from tests.fuzz.mutate import Rng, number, plain, some_bytes, value, word

told = source.told
NAMES = ("1", "5", "6", "16a", "stenosis")
CATEGORIES = [{"id": i, "name": name, "supercategory": name} for i, name in enumerate(NAMES, 1)]
LONG = [float(i % 97) for i in range(60_000)]


def coco(rng: Rng, task: str) -> dict[str, Any]:
    """Sound annotations of two pictures."""
    edge = rng.choice((96, 0, -48, 1e400, None, "48")) if rng.chance(0.1) else 48
    images = [{"id": n, "file_name": f"{n}.png", "width": edge, "height": 48} for n in (1, 2)]
    square = [[10.5, 10, 30, 10, 30, 40, 10, 40]]
    category = 5 if task == "stenosis" else 1
    annotations = [
        {"id": n, "image_id": n, "category_id": category, "segmentation": square, "bbox": [10, 10, 20, 30], "area": 600}
        for n in (1, 2, 2)
    ]
    return {"images": images, "categories": [dict(c) for c in CATEGORIES], "annotations": annotations}


def polygon(rng: Rng) -> Any:
    """What may stand where a polygon should."""
    match rng.randrange(9):
        case 0:
            return [1.0, 2.0, 3.0]
        case 1:
            return [number(rng, 5.0) for _ in range(8)]
        case 2:
            return []
        case 3:
            return LONG
        case 4:
            return [0, 0, 1e5, 1e5, -1e5, 1e5, 0, -1e5]
        case 5:
            return {"counts": "abc", "size": [48, 48]}
        case 6:
            return [[1, 2], [3, 4], [5, 6]]
        case 7:
            return [10**400, 1, 2, 3, 4, 5]
        case _:
            return [0, 0, 0, 47.5, 47.5, 47.5, 47.5, 0] * rng.choice((1, 400))


def spoil(rng: Rng, data: dict[str, Any]) -> Any:
    """One to three faults; where an earlier one left nothing to spoil further, that is enough."""
    with contextlib.suppress(TypeError, KeyError, AttributeError, IndexError):
        for _ in range(rng.choice((1, 1, 2, 3))):
            one_fault(rng, data)
    return data


def one_fault(rng: Rng, data: dict[str, Any]) -> None:
    """A fault with a mind, or any."""
    image, annotation = rng.choice(data["images"]), rng.choice(data["annotations"])
    match rng.choice((0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 5, 6, 7, 8)):
        case 0:
            annotation["segmentation"] = rng.choice(([polygon(rng)], [polygon(rng), polygon(rng)], polygon(rng)))
        case 1:
            annotation["bbox"] = [number(rng, 10) for _ in range(rng.choice((4, 4, 3, 5)))]
        case 2:
            image["file_name"] = rng.choice((word(rng), "../1.png", "/etc/1.png", "../../2.png", "2.png", "3.png"))
        case 3:
            image["id"] = rng.choice((value(rng), 2, "1", 1.0))
        case 4:
            annotation["image_id"] = rng.choice((value(rng), 99))
        case 5:
            annotation["category_id"] = rng.choice((value(rng), 1, 5, 99, True))
        case 6:
            rng.choice(data["categories"])[rng.choice(("id", "name"))] = value(rng)
        case 7:
            data["images"] = data["images"] * rng.choice((2, 50))
        case _:
            plain(rng, data)


def text(rng: Rng, data: Any) -> bytes:
    """As JSON, which may be spoiled in turn."""
    out = json.dumps(data).encode()
    if rng.chance(0.1):
        return rng.choice(
            (
                some_bytes(rng, out),
                b"[" * 100_000,
                b'{"a":' * 50_000,
                b"\xff\xfe" + out,
                out.replace(b"1", b"9" * 5000, 1),
                out.replace(b"10", b"1e999"),
                out + out,
                b"\xef\xbb\xbf" + out,
                b"",
                b"null",
            )
        )
    return out


def build(rng: Rng, folder: Path) -> None:
    """One layout or the other, its pictures beside the annotations."""
    flat = rng.chance(0.3)
    for seed, task in enumerate(("stenosis", "syntax")):
        if task == "syntax" and rng.chance(0.2):
            continue
        data: Any = coco(rng, task)
        if flat:
            for image in data["images"]:
                image["file_name"] = f"{task}_train_{image['id']}.png"
        images = folder / "images" if flat else folder / task / "train" / "images"
        images.mkdir(parents=True, exist_ok=True)
        for image in data["images"]:
            if rng.chance(0.1):
                continue
            png = blobs(10 * seed + int(image["id"]))
            path = images / Path(image["file_name"]).name
            path.write_bytes(pictures.spoil(rng, png, "png") if rng.chance(0.1) else png)
            source.odd_files(rng, images, path.name)
        if rng.chance(0.6):
            data = spoil(rng, data)
        place = folder / f"{task}_coco.json" if flat else folder / task / "train" / "annotations" / "train.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text(rng, data))
        source.odd_files(rng, place.parent, place.name)


def blobs(seed: int) -> bytes:
    """A picture unlike those of other seeds."""
    coarse = np.random.default_rng(seed).integers(40, 210, (6, 6), np.uint8)
    out = io.BytesIO()
    Image.fromarray(np.kron(coarse, np.ones((8, 8), np.uint8))).save(out, format="PNG")
    return out.getvalue()


def run(rng: Rng, folder: Path) -> list[str]:
    """Read the part that is there, or whatever the option asks for."""
    require = rng.pick("any", "any", "any", "segments", "lesions", "both")
    labels = {"labels": "digda"} if rng.chance(0.03) else {}
    return source.read(rng, folder, f"arcade:{folder}", require=require, **labels)
