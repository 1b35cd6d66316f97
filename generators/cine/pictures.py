"""Pictures of a run for people: a few of its frames with the boxes of its lesions, and what its pixels show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lesionforge.generators.cine.labels import CATHETER, DEVICE
from lesionforge.generators.marks import border, edge
from lesionforge.generators.types import Panel

SHOWN = 4  # frames of a run


def panels(fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
    """See ``Generator.panels``."""
    frames = meta["frames"]
    if "image.png" in fields:
        return [_panel(_title(meta, frames[0]), fields["image.png"], fields.get("mask.png"), frames[0])]
    full = [n for n, frame in enumerate(frames) if frame["phase"] == "full"]
    best = full[len(full) // 2] if full else max(range(len(frames)), key=lambda n: float(frames[n]["contrast"]))
    filling = max(range(best + 1), key=lambda n: -abs(float(frames[n]["contrast"]) - 0.5))
    chosen = sorted({0, filling, best, len(frames) - 1})[:SHOWN]
    chosen = [best, *(n for n in chosen if n != best)]
    return [
        _panel(
            f"{_title(meta, frames[n])}, frame {n}",
            fields[f"frame{n:03d}.png"],
            fields.get(f"mask{n:03d}.png"),
            frames[n],
        )
        for n in chosen
    ]


def _title(meta: Mapping[str, Any], frame: Mapping[str, Any]) -> str:
    worst = max(meta["arteries"].values(), default=0)
    return f"{meta['view']['name']}, {worst:.0f} %DS, {frame['phase']}"


def _panel(title: str, image: Any, mask: Any, frame: Mapping[str, Any]) -> Panel:
    picture = np.asarray(image, np.uint8)
    layers = {"frame": picture}
    for visible in (True, False):
        boxes = [box["box"] for box in frame["boxes"] if box["visible"] == visible]
        if boxes:
            layers["boxes" if visible else "boxes not visible"] = marks = np.zeros_like(picture)
            for box in boxes:
                border(marks, box)
    if mask is not None:
        values = np.asarray(mask)
        layers["vessel"] = edge((values > 0) & (values < DEVICE))
        layers["catheter"] = edge(values == CATHETER)
    return Panel(title, layers)
