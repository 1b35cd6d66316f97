"""The run with what is said of it, as an animated WebP: small, and opened by every browser."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw

from lesionforge.jobs.reading.drawing import FULL, Window, course, font, marks, state
from lesionforge.jobs.reading.reading import Reading
from lesionforge.sinks.pictures.sheet import FAINT, INK, PAPER

EDGE = 640  # pixels of a frame's longer side at most
BAR, TIMELINE = 24, 34  # pixels above and below
QUALITY, EFFORT = 72, 2  # of WebP
HOLD_MS = 1500  # on the marked frame


def film(reading: Reading) -> bytes:
    """The bytes of a WebP file; one picture a frame, at the run's own pace, held on the marked one."""
    run, window = reading.opened.run, Window(reading)
    rows, cols = run.film[0].shape
    unit = min(1.0, EDGE / max(rows, cols))
    size = max(1, round(cols * unit)), max(1, round(rows * unit))
    pictures = [_picture(reading, window, n, size, unit) for n in range(len(run.film))]
    times = [round(1000 / run.fps)] * len(pictures)
    times[reading.shown] += HOLD_MS
    out = io.BytesIO()
    pictures[0].save(
        out, "WEBP", save_all=True, append_images=pictures[1:], duration=times, loop=0, quality=QUALITY, method=EFFORT
    )
    return out.getvalue()


def _picture(reading: Reading, window: Window, number: int, size: tuple[int, int], unit: float) -> Image.Image:
    picture = Image.new("RGB", (size[0], size[1] + BAR + TIMELINE), PAPER)
    frame = Image.fromarray(window(reading.opened.run.film[number]))
    picture.paste(frame if frame.size == size else frame.resize(size, Image.Resampling.BOX), (0, BAR))
    draw, words = ImageDraw.Draw(picture), font(14)
    told = state(reading, number)
    draw.text((6, 3), f"frame {number + 1} of {len(reading.opened.run.film)}", INK, words)
    draw.text((150, 3), told, FULL if told == "full contrast" else FAINT, words)
    head = " ".join(filter(None, (reading.side.side, reading.side.view)))
    draw.text((size[0] - 6 - words.getlength(head), 3), head, INK, words)
    marks(draw, reading.boxes, number, unit, (0, BAR))
    course(draw, reading, (0, size[1] + BAR + 2, size[0] - 1, size[1] + BAR + TIMELINE - 1), number)
    return picture
