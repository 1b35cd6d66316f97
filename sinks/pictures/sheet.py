"""Pictures of samples: layers scaled, tinted and blended, and contact sheets of many samples."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lesionforge.generators.types import Panel

# Overlays in order: orange, blue, green, pink, yellow, violet; each legible on black and on mid grey.
TINTS = ((255, 149, 0), (0, 190, 255), (150, 215, 60), (255, 110, 170), (250, 220, 70), (180, 150, 255))
TILE = 200  # pixels an edge of one picture on a sheet
GAP = 8
LINE = 15
SHEET_PANELS = 15  # of a row of a sheet, at most
CAPTION_LINES = 3  # of measured values under a sample, at most
PAPER, INK, FAINT, RULE = (17, 19, 23), (232, 234, 237), (157, 163, 173), (44, 48, 56)
UNITS = {"mm": "mm", "mm2": "mm²", "mm3": "mm³", "deg": "°", "px": "px", "hu": "HU", "ml": "ml", "s": "s", "ms": "ms"}
TERMS = {term.lower(): term for term in ("CNR", "DS", "HU", "ID", "MLD", "QCA", "SID", "SOD")}
BEFORE = "before"  # the layer of this name is the picture before an edit, and "before X" its overlay X
PLAIN = str.maketrans("²³", "23")  # signs that the sheets' font lacks

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Shown:
    """A sample as people see it. Two spaces part the caption's values; lines break only there."""

    title: str
    caption: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Overlay:
    """A layer over a panel's picture; ``side`` tells which of the two pictures it is drawn on, None for both."""

    name: str
    layer: NDArray[np.uint8]
    tint: tuple[int, int, int]
    side: Literal["before", "after"] | None


def picture_before(panel: Panel) -> NDArray[np.uint8] | None:
    """The picture before the edit, where a panel shows both, of one size."""
    now, *rest = panel.layers.items()
    was = dict(rest).get(BEFORE)
    return was if was is not None and was.shape == now[1].shape else None


def overlays(panel: Panel) -> list[Overlay]:
    """A panel's overlays; the two versions of one that belong to either picture share name and tint."""
    two, out = picture_before(panel) is not None, list[Overlay]()
    tints: dict[str, tuple[int, int, int]] = {}
    for name, layer in list(panel.layers.items())[1:]:
        if two and name == BEFORE:
            continue
        own = name.removeprefix(f"{BEFORE} ") if two else name
        side: Literal["before", "after"] | None = None
        if two and f"{BEFORE} {own}" in panel.layers:
            side = "after" if own == name else "before"
        out.append(Overlay(own, layer, tints.setdefault(own, TINTS[len(tints) % len(TINTS)]), side))
    return out


def sides(panel: Panel) -> list[Panel]:
    """A panel with a picture before and after as two, for paper; any other as it is."""
    was = picture_before(panel)
    if was is None:
        return [panel]
    first, now = next(iter(panel.layers.items()))
    over = {side: {o.name: o.layer for o in overlays(panel) if o.side in (None, side)} for side in ("before", "after")}
    return [
        Panel(f"before: {panel.title}", {BEFORE: was, **over["before"]}),
        Panel(panel.title, {first: now, **over["after"]}),
    ]


def readable(key: str) -> tuple[str, str]:
    """A key as people read it, and its unit: ``spacing_mm`` is ("spacing", "mm"), ``percent_ds`` ("DS", "%")."""
    words = key.split("_")
    unit = ""
    if len(words) > 1 and words[-1] in UNITS:
        unit = UNITS[words.pop()]
    elif len(words) > 1 and words[0] == "percent":
        unit = "%"
        words = words[1:]
    elif len(words) > 1 and words[-1] == "ds":
        unit = "%"
    return " ".join(TERMS.get(word, word) for word in words), unit


def number(value: float) -> str:
    """Four digits, or a whole number with its thousands apart; never an exponent that nobody needs."""
    if abs(value) >= 1000 and abs(value) < 1e15:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.4g}"


def caption(target: str | None, measured: Mapping[str, float]) -> str:
    """Class and measured values, as ``Shown`` takes them."""
    values = []
    for key, value in sorted(measured.items()):
        name, unit = readable(key)
        values.append(f"{name} {number(value)}{'' if unit in ('', '°', '%') else ' '}{unit}")
    return "  ".join([*([target] if target else []), *values])


def two_valued(layer: NDArray[np.uint8]) -> bool:
    """Whether a layer is a mask: nothing between 0 and its largest value."""
    return bool(((layer == 0) | (layer == layer.max(initial=0))).all())


def fit(layer: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A layer scaled until its longer edge is ``size`` pixels, aspect kept.

    Shrinking averages; in a mask the square root of the average, or a vessel one pixel wide would fade to nothing.
    """
    scale = size / max(layer.shape)
    new = (max(1, round(layer.shape[1] * scale)), max(1, round(layer.shape[0] * scale)))
    image = Image.fromarray(layer)
    if scale > 1:  # whole steps first, so that all pixels come out alike
        whole = -(-size // max(layer.shape))
        image = image.resize((image.width * whole, image.height * whole), Image.Resampling.NEAREST)
    out = np.asarray(image.resize(new, Image.Resampling.BOX), np.uint8)
    if scale < 1 and two_valued(layer):
        out = np.sqrt(out.astype(np.float32) * 255).astype(np.uint8)
    return out


def blend(panel: Panel, size: int) -> Image.Image:
    """The first layer in grey, at ``size``; overlays tint it, strongly where it is dark, a breath where bright."""
    grey = fit(next(iter(panel.layers.values())), size).astype(np.float32)[:, :, None]
    rgb: NDArray[np.floating[Any]] = np.repeat(grey, 3, axis=2)
    for over in overlays(panel):
        share = fit(over.layer, size).astype(np.float32)[:, :, None] / 255 * (0.62 - 0.4 * grey / 255)
        rgb = rgb * (1 - share) + np.array(over.tint, np.float32) * share
    return Image.fromarray(rgb.astype(np.uint8))


def layer_png(layer: NDArray[np.uint8], tint: tuple[int, int, int] | None = None) -> bytes:
    """One layer as a PNG of its own: grey, or with a tint whose opacity is the layer."""
    mask = two_valued(layer)
    out = io.BytesIO()
    if tint is None:
        image = Image.fromarray(layer)
        (image.point(lambda v: v and 255).convert("1") if mask else image).save(out, format="PNG", optimize=True)
    elif mask:
        image = Image.fromarray((layer > 0).astype(np.uint8))
        image.putpalette(bytes(tint) * 2)  # makes it a palette image
        image.save(out, format="PNG", bits=1, transparency=b"\x00\xff", optimize=True)
    else:
        image = Image.fromarray(layer)
        image.putpalette(bytes(tint) * 256)
        image.save(out, format="PNG", transparency=bytes(range(256)), optimize=True)
    return out.getvalue()


def patch_png(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> bytes:
    """The picture before an edit where it differs from the one after, transparent elsewhere."""
    differs = before != after
    out = io.BytesIO()
    both = np.dstack([before * differs, differs * np.uint8(255)])
    Image.fromarray(both).save(out, format="PNG", optimize=True)
    return out.getvalue()


def contact_sheet(title: str, shown: Sequence[Shown], columns: int = 3) -> bytes:
    """A PNG with every sample's panels side by side: its name above, the panels' names and its values below."""
    large, small = ImageFont.load_default(20), ImageFont.load_default(12)
    shown = [replace(s, panels=[side for panel in s.panels for side in sides(panel)]) for s in shown]
    wide = max(len(s.panels) for s in shown)
    cell_w = wide * TILE + (wide - 1) * GAP
    captions = [_wrap(s.caption.translate(PLAIN).split("  "), small, cell_w) for s in shown]
    cell_h = LINE + 4 + TILE + 4 + LINE * (1 + max(len(lines) for lines in captions))
    columns = max(1, min(columns, SHEET_PANELS // wide, len(shown)))
    rows = -(-len(shown) // columns)
    top = 3 * GAP + 24
    pitch_x, pitch_y = cell_w + 3 * GAP, cell_h + 3 * GAP
    sheet = Image.new("RGB", (columns * pitch_x + GAP, top + rows * pitch_y), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((2 * GAP, 2 * GAP - 4), title, INK, large)
    _legend(draw, shown, sheet.width - 2 * GAP, 2 * GAP, small)
    for n, (sample, lines) in enumerate(zip(shown, captions, strict=True)):
        x, y = 2 * GAP + n % columns * pitch_x, top + GAP + n // columns * pitch_y
        draw.line((x, y - GAP, x + cell_w, y - GAP), RULE)
        draw.text((x, y), sample.title, INK, small)
        for p, panel in enumerate(sample.panels):
            left, upper = x + p * (TILE + GAP), y + LINE + 4
            picture = blend(panel, TILE)
            draw.rectangle((left, upper, left + TILE - 1, upper + TILE - 1), (0, 0, 0))
            sheet.paste(picture, (left + (TILE - picture.width) // 2, upper + (TILE - picture.height) // 2))
            draw.text((left, upper + TILE + 4), _cut(panel.title, small, TILE), INK, small)
        for k, line in enumerate(lines, 1):
            draw.text((x, y + LINE + TILE + 8 + LINE * k), line, FAINT, small)
    out = io.BytesIO()
    sheet.save(out, format="PNG", optimize=True)
    return out.getvalue()


def _legend(draw: ImageDraw.ImageDraw, shown: Sequence[Shown], right: int, y: int, font: _Font) -> None:
    names: dict[str, tuple[int, int, int]] = {}
    for panel in (panel for sample in shown for panel in sample.panels):
        for over in overlays(panel):
            names.setdefault(over.name, over.tint)
    for name, tint in reversed(names.items()):
        right -= round(font.getlength(name))
        draw.text((right, y), name, INK, font)
        draw.rectangle((right - 18, y + 2, right - 7, y + 13), tint)
        right -= 34


def _wrap(values: Sequence[str], font: _Font, width: int) -> list[str]:
    """Lines of whole values; what does not fit into ``CAPTION_LINES`` is told by an ellipsis."""
    lines: list[str] = []
    for value in values:
        joined = f"{lines[-1]}   {value}" if lines else value
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
        elif len(lines) < CAPTION_LINES:
            lines.append(_cut(value, font, width))
        else:
            lines[-1] = _cut(f"{lines[-1]}   …", font, width)
            break
    return lines


def _cut(text: str, font: _Font, width: int) -> str:
    while text and font.getlength(text) > width:
        text = text[:-2].rstrip("… ") + "…"
    return text
