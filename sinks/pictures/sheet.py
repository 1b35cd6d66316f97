"""Pictures of samples: layers scaled, tinted and blended, and contact sheets of many samples."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lesionforge.generators.types import Panel
from lesionforge.sinks.text import one_line

# Overlays in order: orange, blue, green, pink, yellow, violet; each legible on black and on mid grey.
TINTS: Sequence[tuple[int, int, int]] = (
    *((255, 149, 0), (0, 190, 255), (150, 215, 60)),
    *((255, 110, 170), (250, 220, 70), (180, 150, 255)),
)
#: What means the same in every panel has one colour in all of them; other names take the colours in order.
TINT_OF = {"lesions": TINTS[0], "walls": TINTS[0], "lumen": TINTS[1], "vessel": TINTS[1], "organ": TINTS[2]}
TINT_OF |= {"box": TINTS[4], "boxes": TINTS[4], "drawn boxes": TINTS[4], "real boxes": TINTS[3]}
TILE = 224  # pixels an edge of one picture on a sheet
GAP = 8
LINE = 15
ROW_TILES = 12  # pictures beside each other
SAMPLE_TILES = 6  # pictures of one sample; the gallery has them all
TITLE_LINES = 2  # under a picture, at most
CAPTION_LINES = 4  # of measured values under a sample, at most
LINE_PX = 5  # of an overlay: what is thinner is a line, drawn in full colour
LEVEL = 4  # of PNG: the size of the highest for line drawings and photographs alike, in a fourth of the time
PAPER, INK, FAINT, RULE = (17, 19, 23), (232, 234, 237), (157, 163, 173), (44, 48, 56)
BEFORE = "before"  # the layer of this name is the picture before an edit, and "before X" its overlay X
PLAIN = str.maketrans("²³", "23")  # signs that the sheets' font lacks

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Shown:
    """A sample as people see it; its caption as `names.caption` writes it."""

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
        if own not in tints:
            free = [tint for tint in TINTS if tint not in tints.values()] or TINTS
            tints[own] = TINT_OF.get(own, free[0])
        out.append(Overlay(own, layer, tints[own], side))
    return out


def tiles(panel: Panel) -> list[Panel]:
    """A panel as the pictures that stand for it on paper.

    A close-up before and after an edit is three: before, after, and after with its overlays, so that nothing is drawn
    over what is to be judged. A large picture is one, with its overlays; so is a panel without a picture before.
    """
    was = picture_before(panel)
    first, now = next(iter(panel.layers.items()))
    if was is None:
        return [panel]
    over = {o.name: o.layer for o in overlays(panel) if o.side in (None, "after")}
    marked = Panel(panel.title, {first: now, **over})
    if max(now.shape) > 1.5 * TILE:
        return [marked]
    plain = [Panel(BEFORE, {BEFORE: was}), Panel(panel.title, {first: now})]
    return [*plain, Panel(", ".join(over), marked.layers)] if over else plain


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
    """The first layer in grey, at ``size``; overlays tint it, strongly where it is dark, a breath where bright.

    Outlines and boxes are drawn in full: there is little of them.
    """
    grey = fit(next(iter(panel.layers.values())), size).astype(np.float32)[:, :, None]
    rgb: NDArray[np.floating[Any]] = np.repeat(grey, 3, axis=2)
    for over in overlays(panel):
        strength = 0.9 if _is_outline(over.layer) else 0.62 - 0.4 * grey / 255
        share = fit(over.layer, size).astype(np.float32)[:, :, None] / 255 * strength
        rgb = rgb * (1 - share) + np.array(over.tint, np.float32) * share
    return Image.fromarray(rgb.astype(np.uint8))


def _is_outline(layer: NDArray[np.uint8]) -> bool:
    """Whether next to nothing of a layer is thicker than a line."""
    core = np.pad(layer, LINE_PX // 2, mode="edge")
    for _ in range(
        2
    ):  # the least of a square is that of its columns' least: Pillow's filter takes thirty times as long
        core = np.minimum.reduce([core[k : len(core) - LINE_PX + 1 + k] for k in range(LINE_PX)]).T
    return int(core.sum(dtype=np.int64)) <= 0.05 * int(layer.sum(dtype=np.int64))


def layer_png(layer: NDArray[np.uint8], tint: tuple[int, int, int] | None = None) -> bytes:
    """One layer as a PNG of its own: grey, or with a tint whose opacity is the layer."""
    mask = two_valued(layer)
    out = io.BytesIO()
    if tint is None:
        image = Image.fromarray(layer)
        (image.point(lambda v: v and 255).convert("1") if mask else image).save(out, format="PNG", compress_level=LEVEL)
    elif mask:
        image = Image.fromarray((layer > 0).astype(np.uint8))
        image.putpalette(bytes(tint) * 2)  # makes it a palette image
        image.save(out, format="PNG", bits=1, transparency=b"\x00\xff", compress_level=LEVEL)
    else:
        image = Image.fromarray(layer)
        image.putpalette(bytes(tint) * 256)
        image.save(out, format="PNG", transparency=bytes(range(256)), compress_level=LEVEL)
    return out.getvalue()


def patch_png(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> bytes:
    """The picture before an edit where it differs from the one after, transparent elsewhere."""
    differs = before != after
    out = io.BytesIO()
    both = np.dstack([before * differs, differs * np.uint8(255)])
    Image.fromarray(both).save(out, format="PNG", compress_level=LEVEL)
    return out.getvalue()


def contact_sheet(title: str, shown: Sequence[Shown]) -> bytes:
    """A PNG with every sample's panels side by side: its name above, the panels' names and its values below.

    Each sample is as wide as it needs, in the first row that has room for it. A value that is the same in all of them
    is not shown.
    """
    large, small = ImageFont.load_default(20), ImageFont.load_default(12)
    captions = [sample.caption.split("  ") for sample in shown]
    common = set[str]().union(*captions).intersection(*captions) if len(shown) > 1 else set[str]()
    cells = [
        _Cell(sample, [part for part in parts if part not in common], small)
        for sample, parts in zip(shown, captions, strict=True)
    ]
    rows: list[list[_Cell]] = []
    for cell in cells:
        fitting = (row for row in rows if sum(len(c.panels) for c in row) + len(cell.panels) <= ROW_TILES)
        if (row := next(fitting, None)) is None:
            rows.append(row := [])
        row.append(cell)
    legend = _legend([panel for cell in cells for panel in cell.panels])
    width = max(sum(cell.width + 3 * GAP for cell in row) for row in rows) + GAP
    needed = large.getlength(title) + sum(small.getlength(name) + 34 for name, _ in legend)
    top = 3 * GAP + 24 + (LINE + GAP if needed > width - 6 * GAP else 0)  # the legend has a line of its own there
    sheet = Image.new("RGB", (width, top + sum(max(c.height for c in row) + 3 * GAP for row in rows)), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((2 * GAP, 2 * GAP - 4), title, INK, large)
    left = width - GAP - round(sum(small.getlength(name) + 34 for name, _ in legend))
    for name, tint in legend:
        x, upper = max(2 * GAP, left), top - GAP - LINE - 4
        draw.rectangle((x, upper + 2, x + 11, upper + 13), tint)
        draw.text((x + 18, upper), name, INK, small)
        left = x + 34 + round(small.getlength(name))
    y = top + GAP
    for row in rows:
        x = 2 * GAP
        for cell in row:
            cell.draw(sheet, draw, x, y)
            x += cell.width + 3 * GAP
        y += max(cell.height for cell in row) + 3 * GAP
    out = io.BytesIO()
    sheet.save(out, format="PNG", compress_level=LEVEL)
    return out.getvalue()


class _Cell:
    """One sample of a sheet: its pictures, and all texts wrapped to their width."""

    def __init__(self, sample: Shown, values: Sequence[str], font: _Font) -> None:
        self.panels = [tile for panel in sample.panels for tile in tiles(panel)][:SAMPLE_TILES]
        self.width = max(1, len(self.panels)) * (TILE + GAP) - GAP
        self._font, self._name = font, _cut(_legible(sample.title), font, self.width)
        self._titles = [_wrap(_legible(panel.title).split(" "), " ", font, TILE, TITLE_LINES) for panel in self.panels]
        self._values = _wrap([_legible(value) for value in values], "   ", font, self.width, CAPTION_LINES)
        self._under = LINE + 4 + TILE + 4 + LINE * max(map(len, self._titles), default=0)
        self.height = self._under + LINE * len(self._values)

    def draw(self, sheet: Image.Image, draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
        """Draw it with its upper left corner at a point."""
        draw.line((x, y - GAP, x + self.width, y - GAP), RULE)
        draw.text((x, y), self._name, INK, self._font)
        for p, (panel, lines) in enumerate(zip(self.panels, self._titles, strict=True)):
            left, upper = x + p * (TILE + GAP), y + LINE + 4
            picture = blend(panel, TILE)
            draw.rectangle((left, upper, left + TILE - 1, upper + TILE - 1), (0, 0, 0))
            sheet.paste(picture, (left + (TILE - picture.width) // 2, upper + (TILE - picture.height) // 2))
            for k, line in enumerate(lines):
                draw.text((left, upper + TILE + 4 + LINE * k), line, INK, self._font)
        for k, line in enumerate(self._values):
            draw.text((x, y + self._under + LINE * k), line, FAINT, self._font)


def _legend(panels: Sequence[Panel]) -> list[tuple[str, tuple[int, int, int]]]:
    names: dict[str, tuple[int, int, int]] = {}
    for panel in panels:
        for over in overlays(panel):
            names.setdefault(_legible(over.name), over.tint)
    return list(names.items())


def _legible(text: str) -> str:
    return one_line(text).translate(PLAIN)


def _wrap(parts: Sequence[str], space: str, font: _Font, width: int, most: int) -> list[str]:
    """Lines of whole parts; what does not fit into ``most`` lines is told by an ellipsis."""
    lines: list[str] = []
    for part in parts:
        joined = f"{lines[-1]}{space}{part}" if lines else part
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
        elif len(lines) < most:
            lines.append(_cut(part, font, width))
        else:
            lines[-1] = _cut(f"{lines[-1]}{space}…", font, width)
            break
    return lines


def _cut(text: str, font: _Font, width: int) -> str:
    while text and font.getlength(text) > width:
        text = text[:-2].rstrip("… ") + "…"
    return text
