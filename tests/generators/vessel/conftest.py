"""Tubes rendered once for all tests of the meters, and the real frames."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.generators.vessel.tubes import Case, Frame, arc, lesion, line, render

CONTRAST = 0.25  # attenuation of the healthy vessel at its middle: the real frames' median


@pytest.fixture(scope="session")
def tubes() -> list[Case]:
    """Noisy tubes, 8 to 20 px wide, 20 to 80 %DS: straight, curved and tapered in turn, at any angle."""
    return _draw(np.random.default_rng(2026), noise=True)


@pytest.fixture(scope="session")
def clean_tubes() -> list[Case]:
    """The like without noise."""
    return _draw(np.random.default_rng(7), noise=False, every=3)


def _draw(rng: np.random.Generator, noise: bool, every: int = 1) -> list[Case]:
    cases = []
    every_case = product((8, 10, 14, 20), (20, 30, 40, 50, 60, 70, 80), ("straight", "curved", "tapered"))
    for n, (width, percent_ds, shape) in enumerate(every_case):
        if n % every != n // every % every:  # all shapes come by
            continue
        half_length = width * rng.uniform(1.2, 2.2)
        angle, bend, off = rng.uniform(0, 360), rng.uniform(60, 120), rng.uniform(-0.5, 0.5, 2)
        centre = (arc(bend, angle) if shape == "curved" else line(angle)) + off
        diameter = lesion(width, percent_ds, half_length, taper=0.02 if shape == "tapered" else 0)
        tube = render(centre, diameter, rng if noise else None, CONTRAST / width)
        cases.append(Case(width, percent_ds, half_length, shape, tube))
    return cases


@pytest.fixture(scope="session")
def frames(data_dir: Path) -> list[Frame]:
    """Every ARCADE frame of the subset that has segment polygons, and every frame with a whole-vessel mask."""
    folder = data_dir / "arcade"
    segments = json.loads((folder / "syntax_coco.json").read_text())
    lesions = json.loads((folder / "stenosis_coco.json").read_text())
    ids = {image["id"]: image["file_name"] for image in lesions["images"]}
    boxes: dict[str, list[list[float]]] = {}
    for note in lesions["annotations"]:
        boxes.setdefault(ids[note["image_id"]], []).append(note["bbox"])
    out = []
    for image in segments["images"]:
        mask = Image.new("L", (image["width"], image["height"]))
        for note in segments["annotations"]:
            if note["image_id"] == image["id"]:
                for flat in note["segmentation"]:
                    points = np.array(flat).reshape(-1, 2) - 0.5
                    ImageDraw.Draw(mask).polygon([tuple(p) for p in points], fill=1)
        grey = np.asarray(Image.open(folder / image["file_name"]).convert("L"))
        out.append(Frame(image["file_name"], grey, np.asarray(mask) > 0, boxes.get(image["file_name"], [])))
    for truth in sorted((data_dir / "vessel_masks_300").glob("*_gt.png")):
        grey = np.asarray(Image.open(truth.with_name(truth.name.replace("_gt", ""))).convert("L"))
        out.append(Frame(truth.name, grey, np.asarray(Image.open(truth).convert("L")) > 127, []))
    return out
