"""A run on one page: its best frame plain and marked, frames along its time, the course of contrast, the findings."""

from __future__ import annotations

from PIL import Image, ImageDraw

from lesionforge.jobs.reading.drawing import Window, course, font, heated, marks
from lesionforge.jobs.reading.reading import INTENT, Reading
from lesionforge.sinks.card import counted
from lesionforge.sinks.pictures.sheet import FAINT, INK, PAPER

EDGE, THUMBS = 512, 6  # pixels of a frame, and small ones in a row
TOLD = 4  # stenoses in words
GAP, LINE, HEAD, COURSE = 10, 19, 30, 64


def picture(reading: Reading) -> Image.Image:
    """The page, in RGB."""
    window, run = Window(reading), reading.opened.run
    rows, cols = run.film[0].shape
    unit = EDGE / max(rows, cols)
    wide, high = round(cols * unit), round(rows * unit)
    width = 2 * wide + 3 * GAP
    small = (width - (THUMBS + 1) * GAP) // THUMBS, round((width - (THUMBS + 1) * GAP) // THUMBS * rows / cols)
    lines = findings(reading)
    height = HEAD + high + small[1] + COURSE + 4 * GAP + LINE * (len(lines) + 3)
    page = Image.new("RGB", (width, height), PAPER)
    draw, text = ImageDraw.Draw(page), font(14)
    draw.text((GAP, 6), title(reading), INK, font(16))
    best = reading.contrast.best
    marked = _legend(reading)
    second = reading.shown if marked else reading.contrast.full[-1]
    late = "end of full contrast" if reading.contrast.ends else "the last one"
    for n, (number, words) in enumerate(((best, "most contrast"), (second, marked or late))):
        corner = GAP + n * (wide + GAP), HEAD
        frame = Image.fromarray(window(run.film[number]))
        if n and reading.grade.heat is not None:
            frame = heated(frame, reading.grade.heat)
        page.paste(frame.resize((wide, high), Image.Resampling.BICUBIC), corner)
        draw.text((corner[0], HEAD + high + 1), f"frame {number + 1}: {words}", FAINT, text)
    marks(draw, reading.boxes, second, unit, corner)
    top = HEAD + high + LINE + GAP
    for n, number in enumerate(moments(reading)):
        left = GAP + n * (small[0] + GAP)
        thumb = Image.fromarray(window(run.film[number])).resize(small, Image.Resampling.BOX)
        page.paste(thumb, (left, top))
        draw.text((left, top + small[1] + 1), f"frame {number + 1}", FAINT, text)
    top += small[1] + LINE + GAP
    course(draw, reading, (GAP, top, width - GAP, top + COURSE))
    top += COURSE + 4
    for line in lines:
        draw.text((GAP, top), line.replace("≥", ">="), INK, text)  # which the font lacks
        top += LINE
    draw.text((GAP, top), INTENT, FAINT, text)
    return page


def title(reading: Reading) -> str:
    """Side, view, frames and pace."""
    run, fps = reading.opened.run, reading.opened.fps
    side = f"{reading.side.side} coronary artery" if reading.side.side else "side not known"
    pace = f", {fps:g} a second" if fps else ""
    return f"{side} · {reading.side.view or 'view not known'} · {len(run.film)} frames{pace}"


def moments(reading: Reading) -> list[int]:
    """Frames that tell the run's story: first, around the begin of full contrast, within, its end, last."""
    count, ends = len(reading.opened.run.film), reading.contrast.ends
    if ends is None:
        return [round(part * (count - 1) / (THUMBS - 1)) for part in range(THUMBS)]
    begin, end = ends
    return [0, begin // 2, begin, (begin + end) // 2, end, count - 1]


def findings(reading: Reading) -> list[str]:
    """What is said, a line each, with who said it."""
    contrast, side, boxes, grade = reading.contrast, reading.side, reading.boxes, reading.grade
    ends = contrast.ends
    when = f"frames {ends[0] + 1} to {ends[1] + 1}" if ends else contrast.why
    out = [f"full contrast: {when} ({contrast.by})"]
    sure = "" if side.sure is None else f" {side.sure:.2f}"
    out.append(f"side: {side.side or 'not known'}{sure} ({side.by or 'nobody told'}); view: {side.view or 'not known'}")
    if not boxes.by:
        out.append(f"stenoses: {boxes.why}")
    lesions = boxes.lesions()
    told = sorted(boxes.firm)[:TOLD]
    for number, seen in ((number, lesions[number]) for number in told):
        top = max(seen.values(), key=lambda one: one.sure)
        kinds = f" (moderate {top.scores[0]:.2f}, severe {top.scores[1]:.2f})" if boxes.graded else ""
        often = f"in {len(seen)} of {len(boxes.frames)} frames"
        out.append(f"stenosis {number}: {often}, {top.sure:.2f}{kinds} at most ({boxes.by})")
    if told and len(lesions) > len(told):
        most = len(lesions[told[-1] + 1])
        out.append(f"and {len(lesions) - len(told)} more, each in {counted(most, 'frame')} at most")
    elif boxes.by and lesions and not told:
        out.append(f"stenoses: none in more than one frame; {counted(len(lesions), 'place')} in one alone ({boxes.by})")
    elif boxes.by and not lesions:
        out.append(f"stenoses: none found in {len(boxes.frames)} frames ({boxes.by})")
    if grade.shares:
        unit = ", %DS" if grade.by.startswith("severity model") else ""
        shares = ", ".join(f"{name} {p:.2f}" for name, p in zip(grade.names, grade.shares, strict=True))
        out.append(f"worst stenosis{unit}: {shares} ({grade.by})")
    else:
        out.append(f"grade: {grade.why}")
    return out


def _legend(reading: Reading) -> str:
    parts = ["stenoses" if reading.boxes.by else ""]
    parts.append("blue: where the severity model sees disease" if reading.grade.heat is not None else "")
    return ", ".join(filter(None, parts))
