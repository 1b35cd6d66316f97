"""What pictures and film of a run share: its grey levels, its boxes, its words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lesionforge.jobs.reading.reading import Reading
from lesionforge.jobs.reading.said import Boxes, Found
from lesionforge.sinks.pictures.sheet import FAINT, INK

SEVERE, MODERATE, ACTIVE, FULL = (255, 92, 80), (255, 190, 60), (0, 190, 255), (110, 200, 120)
CLIPPED = (0.5, 99.5)  # percentiles of the frames of full contrast that become black and white
FAINTEST = 0.2  # of the map's maximum: less is not shown
RIM = 0.06  # of each edge, which does not count in them: the collimator's shadow


class Window:
    """Grey levels of one run for the eye: the same for all its frames."""

    def __init__(self, reading: Reading) -> None:
        film, full = reading.opened.run.film, reading.contrast.full
        rows, cols = (int(RIM * n) for n in film[0].shape)
        inner = [film[n][rows : len(film[n]) - rows, cols : -cols or None] for n in full[:: len(full) // 5 or 1]]
        low, high = np.percentile(inner, CLIPPED)
        self._low, self._gain = float(low), 255 / max(float(high - low), 1.0)

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 (rows, cols) as it is shown."""
        shown: NDArray[np.uint8] = np.clip((frame - self._low) * self._gain, 0, 255).astype(np.uint8)
        return shown


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own, the same on every machine."""
    return ImageFont.load_default(size)


def heated(frame: Image.Image, heat: NDArray[np.float32]) -> Image.Image:
    """A grey frame in RGB, tinted where ``heat`` (rows, cols, 0..1) is high; the vessels stay dark."""
    share = (0.7 * np.clip(heat - FAINTEST, 0, None) / (1 - FAINTEST))[:, :, None]
    grey = np.asarray(frame, np.float32)[:, :, None]
    tint = grey / 255 * np.array(ACTIVE, np.float32)
    return Image.fromarray((grey * (1 - share) + tint * share).clip(0, 255).astype(np.uint8))


def marks(
    draw: ImageDraw.ImageDraw, boxes: Boxes, number: int, unit: float, corner: tuple[float, float] = (0, 0)
) -> None:
    """The stenoses of a frame; one that no other frame shows is a thin line without words.

    Args:
        draw: onto the picture.
        boxes: of the run.
        number: of the frame.
        unit: pixels of the picture for one of the frame.
        corner: of the frame in the picture.
    """
    firm = boxes.firm
    for one in boxes.frames.get(number, ()):
        if one.lesion in firm:
            _mark(draw, one, unit, corner)
        else:
            draw.rectangle([corner[n % 2] + unit * v for n, v in enumerate(one.box)], outline=FAINT)


def _mark(draw: ImageDraw.ImageDraw, one: Found, unit: float, corner: tuple[float, float]) -> None:
    """A box with its number, class and confidence."""
    moderate, severe = one.scores
    colour = SEVERE if severe > moderate else MODERATE
    kind = "" if severe == moderate else "severe " if severe > moderate else "moderate "
    x0, y0, x1, y1 = (corner[n % 2] + unit * v for n, v in enumerate(one.box))
    draw.rectangle((x0, y0, x1, y1), outline=colour, width=2)
    words = f"{one.lesion}: {kind}{one.sure:.2f}"
    own = font(13)
    top = y0 - 17 if y0 - corner[1] > 17 else y1 + 1
    draw.rectangle((x0, top, x0 + own.getlength(words) + 6, top + 16), fill=(0, 0, 0))
    draw.text((x0 + 3, top), words, colour, own)


def course(
    draw: ImageDraw.ImageDraw, reading: Reading, frame: tuple[int, int, int, int], now: int | None = None
) -> None:
    """The amount of contrast along the run inside ``frame`` (x0, y0, x1, y1), full frames shaded, ``now`` marked."""
    x0, y0, x1, y1 = frame
    amount, ends = reading.contrast.amount, reading.contrast.ends
    at = x0 + (np.arange(len(amount)) + 0.5) * (x1 - x0) / len(amount)
    step = (x1 - x0) / len(amount)
    draw.rectangle(frame, fill=(26, 29, 35))
    if ends is not None:
        draw.rectangle((at[ends[0]] - step / 2, y0, at[ends[1]] + step / 2, y1), fill=(32, 62, 40))
    low, high = float(amount.min()) if ends else 0.0, float(amount.max())
    heights = y1 - 2 - (amount - low) / max(high - low, 1e-9) * (y1 - y0 - 4)
    if len(amount) > 1:
        draw.line([*zip(at.tolist(), heights.tolist(), strict=True)], fill=INK, width=2)
    best = reading.contrast.best
    draw.ellipse((at[best] - 4, heights[best] - 4, at[best] + 4, heights[best] + 4), outline=FULL, width=2)
    if now is not None:
        draw.line((at[now], y0, at[now], y1), fill=MODERATE, width=2)


def state(reading: Reading, number: int) -> str:
    """What a frame shows, in words."""
    ends = reading.contrast.ends
    if ends is None:
        return "contrast not told apart"
    when = "before " if number < ends[0] else "after " if number > ends[1] else ""
    return f"{when}full contrast"
