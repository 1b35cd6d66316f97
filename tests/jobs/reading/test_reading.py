"""What is said of runs: pooled as it must be, linked along time, and drawn where it is."""

import io
import json
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lesionforge.jobs.reading import contrast
from lesionforge.jobs.reading.drawing import SEVERE
from lesionforge.jobs.reading.film import BAR, HOLD_MS, TIMELINE, film
from lesionforge.jobs.reading.links import linked
from lesionforge.jobs.reading.opened import Opened
from lesionforge.jobs.reading.parts import Files, Parts, _spread_out, phased, worst
from lesionforge.jobs.reading.picture import picture
from lesionforge.jobs.reading.reading import Reading, patient
from lesionforge.jobs.reading.said import Boxes, Found, Grade, angles_name
from lesionforge.jobs.tasks.detection.frames import Detections
from lesionforge.jobs.tasks.runs import HeldFilm, Run
from lesionforge.jobs.tasks.severity.lesions import LesionGrader
from lesionforge.jobs.tasks.severity.settings import CropSettings
from tests.jobs.tasks import cine

CLASSES = ("<25", "25-99", "100")


def run(i=0, angles=(-20.0, -20.0)):
    told = cine.meta(i)
    return Opened(Run(f"s{i}", f"id{i}", HeldFilm(cine.film(i)), fps=10.0, angles=angles), 10.0, {}), told


class Detector:
    """Says one box a frame, which moves down by 2 pixels a frame."""

    def predict(self, learner, items):
        assert learner == "weights"
        for n, _ in enumerate(items):
            box = np.array([[20, 10 + 2 * n, 30, 20 + 2 * n], [0, 0, 5, 5]], np.float32)
            yield Detections(box, np.array([[0.1, 0.6], [0.1, 0.1]], np.float32))


def parts(detector=True):
    made = Parts(Files(), "cpu")
    made._detector = (Detector(), "weights") if detector else None
    return made


def test_the_worst_of_several_is_of_each_class_or_worse_the_most_likely_one():
    rows = [(0.7, 0.2, 0.1), (0.5, 0.1, 0.4), (0.2, 0.7, 0.1)]
    assert worst(rows) == pytest.approx((0.2, 0.4, 0.4))  # >= 1: .8 of the third, >= 2: .4 of the second
    assert worst(rows[::-1]) == worst(rows)
    assert worst([rows[0]]) == pytest.approx(rows[0])
    assert worst([worst(rows[:2]), rows[2]]) == pytest.approx(worst(rows))  # images, then runs, then arteries


def test_a_trapezoid_of_contrast_is_found_and_no_change_is_not(tmp_path):
    level = 5 + np.interp(np.arange(30), [5, 12, 22, 28], [0, 10, 10, 0])
    assert contrast.full(level) == (11, 23)  # above 80 % of the rise: 10.4 and 23.2 without smoothing
    assert contrast.full(np.full(20, 5.0) + 0.05 * np.sin(np.arange(20))) is None
    found = parts(False).contrast(run(0)[0].run)
    told = cine.case(0)
    assert np.abs(np.subtract(found.ends, (told["begin"], told["end"]))).max() <= 1
    assert found.best in found.full
    still = parts(False).contrast(Run("s", "id", HeldFilm([cine.film(0)[0]] * 4)))
    assert (still.ends, list(still.full)) == (None, [0, 1, 2, 3])
    assert "hardly changes" in still.why


def test_a_lesion_is_followed_over_a_gap_and_two_are_kept_apart():
    def box(x, y):
        return Found((x - 5.0, y - 5.0, x + 5.0, y + 5.0), (0.5, 0.0))

    frames = {n: [box(100 + 10 * n, 50), box(300, 400 - 10 * n)][:: 1 if n % 2 else -1] for n in range(8)}
    frames[4] = []
    out = linked(frames, (512, 512))
    tracks = {}
    for number, found in out.items():
        for one in found:
            tracks.setdefault(one.lesion, []).append((number, one.box[0]))
    frames[9] = [box(100, 400)]
    assert [one.lesion for one in linked(dict(reversed(frames.items())), (512, 512))[9]] == [3]  # seen least often
    assert sorted(map(len, tracks.values())) == [7, 7]
    assert all(abs(a[1] - b[1]) <= 20 for track in tracks.values() for a, b in pairwise(track))
    far = linked({0: [box(50, 50)], 1: [box(95, 50)]}, (512, 512))  # 45 pixels in a frame: another one
    assert [found[0].lesion for found in far.values()] == [1, 2]


def test_frames_count_from_1_and_silence_has_a_reason():
    opened, told = run(0)
    one = Reading.of(opened, parts(False))
    body = json.loads(json.dumps(patient([one]), allow_nan=False))
    (said,) = body["runs"]
    assert abs(said["contrast"]["begin"] - told["begin"] - 1) <= 1
    assert [said["contrast"][key] - 1 for key in ("begin", "end", "best")] == [*one.contrast.ends, one.contrast.best]
    assert "baseline" in said["contrast"]["by"]
    assert (said["view"]["side"], said["view"]["view"], said["view"]["view_by"]) == (
        None,
        "RAO 20 CAU 20",
        "angles of the header",
    )
    assert "--side" in said["view"]["why"]
    assert said["stenoses"]["lesions"] is None
    assert "--detector" in said["stenoses"]["why"]
    assert said["grade"]["class"] is None
    assert "--severity" in said["grade"]["why"]
    assert body["patient"]["class"] is None
    assert body["patient"]["why"]
    assert [angles_name(a) for a in ((0.2, 0.0), (0, -30), (45.4, 0), None)] == ["AP", "AP CAU 30", "LAO 45", None]


def test_boxes_are_told_where_they_are_and_grade_artery_and_patient():
    readings = [Reading.of(run(0)[0], parts(), "left"), Reading.of(run(1)[0], parts(), "right")]
    body = patient(readings)
    said = body["runs"][0]["stenoses"]
    (lesion,) = said["lesions"]
    looked = [n + 1 for n in readings[0].contrast.full]
    assert said["looked_through"] == lesion["seen_in"] == looked
    assert lesion["frame"] in looked
    assert lesion["box"][1] == 10 + 2 * looked.index(lesion["frame"])
    assert len(said["boxes"]) == len(looked)  # the second box of each frame is not sure enough
    for name in ("LCA", "RCA"):
        assert body["arteries"][name]["class"] == "severe"
        assert body["arteries"][name]["probabilities"] == pytest.approx(
            {"none found": 0.3, "moderate": 0.1, "severe": 0.6}
        )
    assert [body["arteries"][name]["runs"] for name in ("LCA", "RCA")] == [[1], [2]]
    assert body["patient"]["class"] == "severe"


def test_a_worse_run_decides_for_the_artery_and_others_do_not():
    one, two, three = (
        Reading.of(run(i)[0], parts(False), side) for i, side in ((0, "left"), (2, "left"), (1, "right"))
    )
    shares = ((0.9, 0.1, 0.0), (0.1, 0.2, 0.7), (0.6, 0.4, 0.0))
    graded = [
        Reading(r.opened, r.contrast, r.side, r.boxes, Grade("severity model", CLASSES, p, {}, ""))
        for r, p in zip((one, two, three), shares, strict=True)
    ]
    body = patient(graded)
    assert [body["arteries"][a]["class"] for a in ("LCA", "RCA")] == ["100", "<25"]
    assert body["patient"]["probabilities"] == {"<25": 0.1, "25-99": 0.2, "100": 0.7}


def test_the_run_is_graded_as_it_was_found():
    opened, _ = run(0)
    found = parts(False).contrast(opened.run)
    seen = phased(opened.run, found)
    assert list(seen.full) == list(found.full)
    assert (seen.frames[0]["phase"], seen.frames[-1]["phase"]) == ("before", "washout")


def test_film_and_page_show_the_box_where_it_is(tmp_path):
    opened, _ = run(0)
    one = Reading.of(opened, parts(), "left")
    data = film(one)
    assert len(data) < 400_000
    moving = Image.open(io.BytesIO(data))
    assert (moving.format, moving.n_frames) == ("WEBP", len(opened.run.film))
    assert moving.size == (cine.SIDE, cine.SIDE + BAR + TIMELINE)
    durations = []
    for n in range(moving.n_frames):
        moving.seek(n)
        moving.load()
        durations.append(moving.info["duration"])
    assert durations[one.shown] == 100 + HOLD_MS
    assert sorted(durations)[-2] == 100

    def red(pixels, at):
        return np.abs(np.asarray(pixels)[at].astype(int) - SEVERE).max() < 80

    (box,) = one.boxes.frames[one.shown]
    x0, _, _, y1 = (round(v) for v in box.box)
    moving.seek(one.shown)
    assert red(moving.convert("RGB"), (y1 + BAR - 2, x0))
    moving.seek(0)
    assert not red(moving.convert("RGB"), (y1 + BAR - 2, x0))
    page = picture(one)
    unit = 512 / cine.SIDE
    edge = round(30 + box.box[1] * unit + 5 * unit), round(512 + 20 + box.box[0] * unit)  # middle of the left side
    assert red(page, edge)
    assert not red(page, (edge[0], edge[1] - 522))  # the frame beside it is plain
    bare = Reading(opened, one.contrast, one.side, Boxes("", {}, "no detector"), Grade("", (), None, {}, "none"))
    assert picture(bare).size[0] == page.size[0]


def test_a_detector_without_grades_gives_none():
    found = {3: [Found((0, 0, 9, 9), (0.3, 0.3), 1)], 4: [], 5: [Found((0, 0, 9, 9), (0.4, 0.4), 1)]}
    opened, _ = run(0)
    base = Reading.of(opened, parts(False), "left")
    made = parts(False)
    boxes = Boxes("detector", found, "")
    one = Reading(opened, base.contrast, base.side, boxes, made.grade(opened.run, base.contrast, base.side, boxes))
    said = one.body()
    assert said["grade"]["probabilities"] == {"none found": 0.2, "stenosis": 0.8}
    assert said["stenoses"]["lesions"] == [
        {"lesion": 1, "frame": 6, "box": [0, 0, 9, 9], "confidence": 0.8, "moderate": None, "severe": None,
         "seen_in": [4, 6]}
    ]  # fmt: skip
    nothing = made.grade(opened.run, base.contrast, base.side, Boxes("detector", {3: []}, ""))
    assert nothing.shares == (1.0, 0.0)


def test_what_the_severity_model_sees_is_tinted_there_and_nowhere_else():
    opened, _ = run(0)
    base = Reading.of(opened, parts(False), "left")
    small = np.zeros((16, 16), np.float32)
    small[4, 12] = 2.0
    heat = _spread_out(small, (cine.SIDE // 2, cine.SIDE))  # a frame half as high as wide: its map is square
    assert heat.shape == (cine.SIDE // 2, cine.SIDE)
    assert np.unravel_index(heat.argmax(), heat.shape) in [(r, c) for r in (17, 18) for c in (49, 50)]
    heat = _spread_out(small, (cine.SIDE, cine.SIDE))
    one = Reading(opened, base.contrast, base.side, base.boxes, Grade("m", CLASSES, (0.2, 0.8, 0.0), {}, "", heat))
    page = np.asarray(picture(one)).astype(int)
    unit = 512 // cine.SIDE
    marked = page[30 : 30 + 512, 532 : 532 + 512]
    blue = marked[..., 2] - marked[..., 0] > 20
    rows, cols = np.nonzero(blue)
    assert len(rows)
    assert abs(rows.mean() - 18 * unit) < 2 * unit
    assert abs(cols.mean() - 50 * unit) < 2 * unit
    assert not (page[30 : 30 + 512, 10 : 10 + 512, 2] - page[30 : 30 + 512, 10 : 10 + 512, 0]).any()


def test_what_one_frame_alone_shows_is_no_part_of_the_grade():
    firm = [Found((10, 10, 20, 20), (0.4, 0.1), 1)]
    once = Found((40, 40, 50, 50), (0.1, 0.8), 2)
    opened, _ = run(0)
    made = parts(False)
    contrast = made.contrast(opened.run)
    boxes = Boxes("detector", {5: firm, 6: [*firm, once], 7: []}, "")
    assert boxes.firm == {1}
    assert boxes.shown(contrast) in (5, 6)
    grade = made.grade(opened.run, contrast, made.side(opened.run, contrast, "left"), boxes)
    assert grade.shares == pytest.approx((0.5, 0.4, 0.1))
    assert Boxes("detector", {6: [once]}, "").firm == {2}  # a still has no second frame
    assert Boxes("detector", {5: [], 6: [once]}, "").shown(contrast) == contrast.best


def test_a_model_of_crops_grades_the_detector_s_boxes_of_firm_lesions():
    class Grader(LesionGrader):
        """Severe in the right half of a frame, in pixels of 512."""

        def graded(self, frame, boxes):
            return np.array([[0.1, 0.2, 0.7] if box[0] > 256 else [0.4, 0.6, 0.0] for box in boxes]).reshape(-1, 3)

    opened, _ = run(0)
    made = parts(False)
    choice = SimpleNamespace(cuts=(50.0, 70.0))
    made._severity = SimpleNamespace(choice=choice), Grader(CropSettings(), choice)
    firm = [Found((cine.SIDE - 12, 10, cine.SIDE - 2, 20), (0.4, 0.1), 1), Found((2, 2, 9, 9), (0.9, 0.1), 2)]
    once = Found((cine.SIDE - 12, 40, cine.SIDE - 2, 50), (0.1, 0.9), 3)
    contrast = made.contrast(opened.run)
    which = made.side(opened.run, contrast, "left")
    grade = made.grade(opened.run, contrast, which, Boxes("detector", {5: firm, 6: [*firm, once], 7: []}, ""))
    assert grade.shares == pytest.approx((0.4, 0.25, 0.35))  # 50 or more: .6 of the second; 70 or more: half of .7
    assert grade.each[7] == (1, 0, 0)
    assert "--detector" in made.grade(opened.run, contrast, which, Boxes("", {}, "none")).why
