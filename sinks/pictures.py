"""Pictures of samples: layers blended into one image, and contact sheets of many samples."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from generators.types import Panel

TINTS = ((255, 149, 0), (0, 190, 255), (160, 220, 60))  # overlays in order: orange, blue, green
TILE = 192  # pixels an edge of one picture on a sheet
GAP = 6
CAPTION = 30
PAPER, INK, FAINT = (17, 19, 23), (232, 234, 237), (140, 146, 156)


@dataclass(frozen=True)
class Shown:
    """A sample as people see it."""

    title: str
    caption: str
    panels: Sequence[Panel]


def blend(panel: Panel) -> Image.Image:
    """The first layer in grey; each overlay tints where it is set and the picture is not."""
    layers = list(panel.layers.values())
    rgb = np.repeat(layers[0][:, :, None], 3, axis=2).astype(np.float32)
    for layer, tint in zip(layers[1:], TINTS, strict=False):
        share = (layer.astype(np.float32) / 255 * 0.5)[:, :, None] * (layers[0] < 128)[:, :, None]
        rgb = rgb * (1 - share) + np.array(tint, np.float32) * share
    return Image.fromarray(rgb.astype(np.uint8))


def png(image: Image.Image | NDArray[np.uint8]) -> bytes:
    """PNG bytes."""
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, format="PNG", optimize=True)
    return out.getvalue()


def fit(image: Image.Image, size: int) -> Image.Image:
    """Scaled into a square, aspect kept; thin vessels survive shrinking by averaging."""
    scale = size / max(image.size)
    new = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(new, Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST)


def contact_sheet(title: str, shown: Sequence[Shown], columns: int = 3) -> bytes:
    """A PNG with every sample's panels side by side under a caption."""
    wide = max(len(s.panels) for s in shown)
    cell_w, cell_h = wide * TILE + (wide + 1) * GAP, TILE + CAPTION + GAP
    columns = max(1, min(columns, len(shown)))
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * cell_w + GAP, rows * cell_h + 3 * GAP + 24), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((2 * GAP, 2 * GAP), title, INK, ImageFont.load_default(18))
    small = ImageFont.load_default(11)
    for n, sample in enumerate(shown):
        x, y = GAP + n % columns * cell_w, 3 * GAP + 24 + n // columns * cell_h
        draw.text((x + GAP, y), _cut(sample.title, small, cell_w - 2 * GAP), INK, small)
        draw.text((x + GAP, y + 13), _cut(sample.caption, small, cell_w - 2 * GAP), FAINT, small)
        for p, panel in enumerate(sample.panels):
            sheet.paste(fit(blend(panel), TILE), (x + GAP + p * (TILE + GAP), y + CAPTION))
    return png(sheet)


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    while text and font.getlength(text) > width:
        text = text[:-2].rstrip("…") + "…"
    return text
