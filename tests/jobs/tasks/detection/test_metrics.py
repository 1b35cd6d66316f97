"""Scores against pycocotools, torchmetrics, brute force and cases reckoned by hand."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lesionforge.jobs.studies.summary import draws, estimate
from lesionforge.jobs.tasks.detection import metrics
from lesionforge.jobs.tasks.detection.metrics import Scores, at_false_positives, average_precision, best_f1, match
from tests.jobs.tasks.detection.worlds import found, frame, random_world

RULES = [0.2, 0.3, 0.5, 0.75]


def coco_ap(frames, detections, rule, kind):
    """COCOeval on the same boxes, regions to ignore as crowds."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    gts, dts = [], []
    for i, (f, d) in enumerate(zip(frames, detections, strict=True), 1):
        for box, k in zip(f.boxes, f.classes, strict=True):
            if kind is None or k == kind:
                gts.append((i, box, 0))
        gts += [(i, box, 1) for box in f.ignore]
        scores = d.scores.sum(1) if kind is None else d.scores[:, kind]
        dts += [(i, box, float(s)) for box, s in zip(d.boxes, scores, strict=True)]

    def row(n, i, box):
        x0, y0, x1, y1 = map(float, box)
        w, h = x1 - x0, y1 - y0
        return {"id": n, "image_id": i, "category_id": 1, "bbox": [x0, y0, w, h], "area": w * h}

    with contextlib.redirect_stdout(io.StringIO()):
        truth, guess = COCO(), COCO()
        images = [{"id": i} for i in range(1, len(frames) + 1)]
        for side, rows in (
            (truth, [row(n, i, b) | {"iscrowd": c} for n, (i, b, c) in enumerate(gts, 1)]),
            (guess, [row(n, i, b) | {"score": s, "iscrowd": 0} for n, (i, b, s) in enumerate(dts, 1)]),
        ):
            side.dataset = {"images": images, "categories": [{"id": 1}], "annotations": rows}
            side.createIndex()
        judge = COCOeval(truth, guess, "bbox")
        judge.params.iouThrs = np.array([rule])
        judge.evaluate()
        judge.accumulate()
    return float(judge.eval["precision"][0, :, 0, 0, -1].mean())


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("kind", [None, 0, 1])
def test_ap_is_pycocotools_ap(kind, ignored):
    frames, detections = random_world(np.random.default_rng(3), ignored=ignored)
    for rule in RULES:
        ours = average_precision(match(frames, detections, rule, kind))
        assert 0.02 < ours < 1
        assert ours == pytest.approx(coco_ap(frames, detections, rule, kind), abs=1e-9)


def test_map50_is_torchmetrics_map50():
    torch = pytest.importorskip("torch")
    detection = pytest.importorskip("torchmetrics.detection")
    frames, detections = random_world(np.random.default_rng(4))
    judge = detection.MeanAveragePrecision(iou_thresholds=[0.5], class_metrics=True)
    guesses = [
        {
            "boxes": torch.tensor(np.concatenate([d.boxes, d.boxes])),
            "scores": torch.tensor(d.scores.T.ravel()),
            "labels": torch.arange(2).repeat_interleave(len(d.boxes)),
        }
        for d in detections
    ]
    truths = [{"boxes": torch.tensor(f.boxes), "labels": torch.tensor(f.classes)} for f in frames]
    judge.update(guesses, truths)
    theirs = judge.compute()
    ours = Scores(frames, detections).values()
    assert ours["map50"] == pytest.approx(float(theirs["map_50"]), abs=1e-6)
    per_class = [ours["ap50_moderate"], ours["ap50_severe"]]
    assert per_class == pytest.approx(theirs["map_per_class"].tolist(), abs=1e-6)


def test_centre_rule_counts_centres_within_24_pixels_whatever_the_box():
    frames = [frame([[100, 100, 150, 150], [300, 300, 340, 340]], [0, 1])]
    near = [[129, 105, 169, 145], [300, 300, 400, 400]]  # centres 24 and 42 px away
    detections = [found(near, [[0.9, 0], [0.8, 0]])]
    m = match(frames, detections, "centre")
    assert m.grade.tolist() == [0, metrics.FALSE]
    assert average_precision(m) == pytest.approx(51 / 101)  # recall 0 ... .5 at precision 1


def test_best_f1_is_the_best_of_all_confidences():
    frames, detections = random_world(np.random.default_rng(5), frames=12)
    per_class = [match(frames, detections, 0.5, k) for k in (0, 1)]
    best = -1.0
    for level in np.unique(np.concatenate([d.scores.ravel() for d in detections])):
        cut = [found(d.boxes, np.where(d.scores >= level, d.scores, 0)) for d in detections]
        f1 = []
        for k in (0, 1):
            m = match(frames, cut, 0.5, k)
            tp, said = ((m.grade >= 0) & (m.scores > 0)).sum(), (m.scores > 0).sum()
            f1.append(2 * tp / (said + m.total.sum()))
        best = max(best, np.mean(f1))
    assert best_f1(per_class).mean() == pytest.approx(best)


def test_recall_at_one_false_positive_a_frame():
    frames = [frame([[0, 0, 50, 50], [100, 0, 150, 50]], [0, 1], subject="a"), frame(subject="b")]
    detections = [
        found([[0, 0, 50, 50], [300, 300, 350, 350], [100, 0, 150, 50]], [[0.9, 0], [0.8, 0], [0.5, 0]]),
        found([[0, 0, 50, 50], [200, 0, 250, 50]], [[0.7, 0], [0.6, 0]]),
    ]
    point = at_false_positives(match(frames, detections, 0.2), 1.0)
    # Two false positives are allowed on two frames: the third, at .6, ends it before the second lesion.
    assert point == {"recall": 0.5, "recall_moderate": 1.0, "recall_severe": 0.0, "negative": 1.0}


def test_frames_without_lesions_cost_precision():
    hit = found([[0, 0, 50, 50]], [[0.5, 0.0]])
    sick, well = frame([[0, 0, 50, 50]], [0], subject="a"), frame(subject="b")
    loud = found([[0, 0, 50, 50]], [[0.9, 0.0]])
    assert Scores([sick], [hit]).values()["ap50"] == 1.0
    assert Scores([sick, well], [hit, loud]).values()["ap50"] == pytest.approx(0.5)


def test_an_ungraded_lesion_counts_as_a_lesion_but_for_no_class():
    frames = [frame([[0, 0, 50, 50], [100, 100, 150, 150]], [-1, 0])]
    detections = [found([[0, 0, 50, 50], [100, 100, 150, 150]], [[0.9, 0.0], [0.8, 0.0]])]
    values = Scores(frames, detections).values()
    assert values["ap50"] == values["ap50_moderate"] == 1.0
    assert np.isnan(values["ap50_severe"])


def test_weights_count_a_frame_as_often_as_copies_of_it():
    frames, detections = random_world(np.random.default_rng(6), frames=12)
    times = np.random.default_rng(7).integers(0, 4, 12)
    index = np.repeat(np.arange(12), times)
    copies = Scores([frames[i] for i in index], [detections[i] for i in index]).values()
    alone = [replace(f, subject=f"{i:02d}") for i, f in enumerate(frames)]
    weighted = Scores(alone, detections).values(times.astype(float))
    assert weighted == pytest.approx(copies, nan_ok=True)


def test_bootstrap_resamples_whole_subjects():
    """A subject's frames come together: a detector right on one and wrong on the other stays half right."""
    box = [[0, 0, 50, 50]]
    frames = [frame(box, [0], subject=str(i // 2)) for i in range(20)]
    detections = [found(box if i % 2 else [[200, 200, 250, 250]], [[0.5, 0.0]]) for i in range(20)]
    assert np.ptp(draws(Scores(frames, detections), 10)["recall_1fp"]) == 0
    loose = [frame(box, [0], subject=str(i)) for i in range(20)]
    assert np.ptp(draws(Scores(loose, detections), 20)["recall_1fp"]) > 0


def test_recall_s_interval_is_the_binomial_one(monkeypatch):
    monkeypatch.setattr("lesionforge.jobs.studies.summary.DRAWS", 500)
    """Recall of lone lesions is a binomial share, whose standard error is known."""
    box, rng = [[0, 0, 50, 50]], np.random.default_rng(8)
    frames = [frame(box, [0], subject=str(i)) for i in range(200)]
    right = rng.random(200) < 0.6
    scores = Scores(frames, [found(box, [[0.5, 0.0]]) if hit else found() for hit in right])
    got = estimate([right.mean()], [draws(scores, 200)["recall_1fp"]], scores.held["recall_1fp"])
    reach = stats.t.ppf(0.975, 199) * np.sqrt(right.mean() * (1 - right.mean()) / 199)
    assert (got.low, got.high) == pytest.approx((right.mean() - reach, right.mean() + reach), abs=0.01)


def test_a_score_rests_on_the_subjects_that_hold_what_it_asks_for():
    box = [0, 0, 50, 50]
    frames = [frame([box], [0], subject="a"), frame([box, box], [0, 1], subject="b")]
    frames += [frame(subject="b"), frame(subject="c")]
    held = Scores(frames, [found()] * 4).held
    assert held.keys() == Scores(frames, [found()] * 4).values().keys()
    assert (held["ap50"], held["recall_1fp"], held["fp_negative"]) == (2, 2, 2)
    assert (held["ap50_moderate"], held["recall_1fp_severe"], held["map50"], held["f1"]) == (2, 1, 1, 1)
