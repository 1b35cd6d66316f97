"""Lesions graded one by one: crops, the learner, its measures."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lesionforge.jobs.errors import UsageError  # noqa: E402
from lesionforge.jobs.studies.runs import scores  # noqa: E402
from lesionforge.jobs.tasks.runs import HeldFilm, Run  # noqa: E402
from lesionforge.jobs.tasks.severity import crop  # noqa: E402
from lesionforge.jobs.tasks.severity.grades import UNKNOWN  # noqa: E402
from lesionforge.jobs.tasks.severity.images import Choice, images  # noqa: E402
from lesionforge.jobs.tasks.severity.lesions import LesionGrader, shares  # noqa: E402
from lesionforge.jobs.tasks.severity.settings import CropSettings  # noqa: E402
from lesionforge.jobs.tasks.severity.task import Severity  # noqa: E402

CHOICE = Choice((50.0, 70.0), 1, 0)
QUICK = CropSettings(steps=30, batch=12, rate=3e-3, warmup=2, average=0.7, scale="geometric")


def vessel(percents, seed=0, side=512, told=None):
    """A still of upright vessels 16 pixels wide, each narrowed by its %DS half way down, with a box there."""
    rng = np.random.default_rng(seed)
    frame = rng.normal(170, 4, (side, side))
    rows, labels = np.arange(side), []
    for n, percent in enumerate(percents):
        x, y = 100 + 150 * n, 200 + int(rng.integers(0, 100))
        half = 8 * (1 - percent / 100 * np.exp(-((rows - y) ** 2) / 1000))
        frame[np.abs(np.arange(side)[None] + 0.5 - x) < half[:, None]] = 70
        labels.append({"stenosis": n, "box": [x - 15.0, y - 15.0, x + 15.0, y + 15.0], "visible": True})
    told = [{"percent_ds": p} for p in percents] if told is None else told
    film = HeldFilm([frame.clip(1, 255).astype(np.uint8)])
    return Run(f"p{seed}", f"i{seed}", film, frames=({"boxes": labels},), stenoses=told)


def stills(count, first=0):
    """Each shows a severe and a moderate lesion, or a mild one beside them."""
    rng = np.random.default_rng(first)
    draw = [(rng.uniform(80, 95), rng.uniform(52, 62), rng.uniform(5, 30))[n % 2 :] for n in range(count)]
    return [images(vessel(percents, first + n), CHOICE) for n, percents in enumerate(draw)]


@pytest.fixture(scope="module")
def taught():
    learner = LesionGrader(QUICK, CHOICE)
    learner.fit([], stills(16), 0.5, 0)
    return learner


def test_crops_are_centred_and_repeat_the_border():
    frame = np.zeros((512, 512), np.uint8)
    frame[100:104, 50:54] = 255
    boxes = np.array([[40, 90, 64, 114], [-30, -30, 10, 10]], float)
    crops = crop.cuts(frame, boxes)
    assert crops.shape == (2, 128, 128)
    assert torch.nonzero(crops[0]).float().mean(0).tolist() == [63.5, 63.5]
    assert not crops[1][:, :64].any()
    assert torch.nonzero(crop.middle(crops)[0]).float().mean(0).tolist() == [35.5, 35.5]
    large = crop.cuts(np.repeat(np.repeat(frame, 2, 0), 2, 1), boxes[:1])  # boxes are told in pixels of 512
    assert large[0].sum() == pytest.approx(int(crops[0].sum()), rel=0.02)
    assert torch.nonzero(large[0]).float().mean(0).tolist() == [63.5, 63.5]


def test_a_changed_crop_keeps_its_lesion_within_the_shift():
    crops = torch.full((64, 128, 128), 200.0)
    crops[:, 62:66, 62:66] = 0
    seen = crop.changed(crops, 8.0, torch.Generator().manual_seed(1))
    dark = [torch.nonzero(one < one.mean() - 3 * one.std()).float().mean(0) for one in seen]
    off = torch.stack(dark) - 35.5
    assert 6 < float(off.abs().max()) < 8 * 1.25 * 2**0.5
    still = crop.changed(crops, 0.0, torch.Generator().manual_seed(1))
    off = torch.stack([torch.nonzero(one < one.mean() - 3 * one.std()).float().mean(0) for one in still]) - 35.5
    assert float(off.abs().max()) < 1.5


def test_what_is_seen_goes_before_what_is_there():
    """The generator's apparent %DS is learnt; the class that counts is the lesion's own."""
    run = vessel([80.0], told=[{"percent_ds": 80.0}])
    (label,) = run.frames[0]["boxes"]
    seen = replace(run, frames=({"boxes": [{**label, "percent_ds": 40.0}]},))
    (one,) = images(seen, CHOICE).lesions[0]
    assert (one.seen, one.grade) == ((40.0, 40.0), 2)
    (one,) = images(vessel([80.0], told=[{"severity_class": "moderate", "percent_ds": None}]), CHOICE).lesions[0]
    assert (one.seen, one.grade, one.open(CHOICE.cuts)) == ((50.0, 69.0), 1, False)
    (one,) = images(vessel([80.0], told=[{"severity_class": None}]), CHOICE).lesions[0]
    assert (one.grade, one.open(CHOICE.cuts)) == (UNKNOWN, True)


def test_a_measured_lesion_is_learnt_on_the_scale_of_experts():
    """What a meter reads as 40 and 56 % they call 60 and 80; their own classes are theirs already."""
    grader = LesionGrader(CropSettings(), CHOICE)
    assert [grader._scaled(p, p) for p in (0.0, 40.0, 56.0)] == [(0.0, 0.0), (60.0, 60.0), (80.0, 80.0)]
    assert grader._scaled(50.0, 69.0) == (50.0, 69.0)
    assert LesionGrader(QUICK, CHOICE)._scaled(56.0, 56.0) == (56.0, 56.0)
    mild = [images(vessel([30.0, 45.0]), CHOICE)]  # 45 and 66 by eye: two classes
    with pytest.raises(UsageError, match="of one class"):
        LesionGrader(replace(QUICK, steps=1), CHOICE).fit([], mild, 0.5, 0)
    LesionGrader(replace(QUICK, steps=1, scale="visual"), CHOICE).fit([], mild, 0.5, 0)
    with pytest.raises(UsageError, match="scale is 'eye': give visual or geometric"):
        CropSettings(scale="eye")


def test_what_is_not_known_costs_nothing():
    class Says(torch.nn.Module):
        def forward(self, grey):
            return torch.tensor([[2.0, 5.0, 0.60]]).expand(len(grey), -1)

    loss = crop._Learning(Says())
    batch = {"grey": torch.zeros(1, 72, 72), "ends": torch.tensor([[0.50, 0.69]])}
    reach = {"reached": torch.tensor([[True, False]]), "known": torch.tensor([[True, False]])}
    by_hand = float(torch.nn.functional.softplus(torch.tensor(-2.0))) / 2
    assert float(loss({**batch, **reach})) == pytest.approx(by_hand)
    above = {"ends": torch.tensor([[0.70, 1.00]])}
    assert float(loss({**batch, **reach, **above})) == pytest.approx(by_hand + 4 * (0.1 - 0.05))


def test_it_tells_severe_from_moderate_and_keeps_it_in_a_file(taught, tmp_path):
    test = stills(12, 100)
    task = Severity("50/70")
    got = scores(task, taught, test)["scores"]
    assert got["lesion/auc_worst"] > 0.9
    assert got["image/auc_worst"] > 0.8
    assert "cam20/recall" not in got  # the boxes were given
    assert len(task.doubts(taught, test)) == 1
    taught.save(tmp_path / "model.safetensors")
    again_task, again = Severity().load(tmp_path / "model.safetensors", "cpu")
    assert again_task.cut == "50/70"
    assert again.settings == taught.settings
    told = taught.predict(test[0])
    assert np.array_equal(again.predict(test[0]).probabilities, told.probabilities)
    assert np.allclose(told.lesions[0].sum(1), 1)
    # Turned and mirrored by quarters a crop is the same one.
    frame, box = test[0].run.film[0], np.array([test[0].lesions[0][0].box])
    turned = box[:, [1, 0, 3, 2]]
    assert np.allclose(taught.graded(frame, box), taught.graded(frame.T.copy(), turned), atol=0.02)


def test_a_detector_s_boxes_are_graded_by_how_sure_it_is(taught):
    (item,) = stills(1, 100)
    severe, moderate, _ = item.lesions[0]

    def found(scale, *boxes):
        said = SimpleNamespace(boxes=np.array(boxes, np.float32).reshape(-1, 4), scores=np.full((len(boxes), 2), scale))
        return LesionGrader(QUICK, CHOICE, detector=SimpleNamespace(predict=lambda frames: [said]))

    def told(learner):
        learner._net = taught._net
        return learner.predict(item)

    given = taught.graded(item.run.film[0], np.array([severe.box]))[0]
    sure, half = told(found(0.5, severe.box)), told(found(0.25, severe.box))
    assert sure.probabilities[0] == pytest.approx(given)
    assert half.probabilities[0, 1:] == pytest.approx(given[1:] / 2)
    assert not sure.given
    assert np.isfinite(sure.lesions[0]).all(1).tolist() == [True, False, False]  # what no box finds is not graded
    assert told(found(0.5)).probabilities.tolist() == [[1, 0, 0]]
    got = told(found(0.5, moderate.box))
    assert np.isfinite(got.lesions[0]).all(1).tolist() == [False, True, False]


def test_a_training_goes_on_where_it_was(tmp_path):
    quick, items = replace(QUICK, steps=4, batch=4), stills(4)
    whole = LesionGrader(quick, CHOICE)
    whole.fit(items, [], 0.5, 0)

    def stop(step, of, loss):
        if step == 2:
            raise KeyboardInterrupt

    part = LesionGrader(quick, CHOICE)
    with pytest.raises(KeyboardInterrupt):
        part.fit(items, [], 0.5, 0, tmp_path, stop)
    part.fit(items, [], 0.5, 0, tmp_path)
    probe = stills(1, 50)[0]
    assert np.array_equal(whole.predict(probe).probabilities, part.predict(probe).probabilities)
    with pytest.raises(UsageError, match=r"was begun with images \(hash\)"):
        part.fit(items[:3], [], 0.5, 0, tmp_path)


def test_shares_add_up():
    assert shares(np.array([[0.9, 0.3]]))[0] == pytest.approx([0.1, 0.6, 0.3])


@pytest.mark.parametrize(
    ("options", "named"),
    [({"steps": 0}, "steps is 0"), ({"average": 1}, "average is 1"), ({"shift_px": 40}, "shift_px is 40")],
)
def test_settings_that_will_not_do_are_refused(options, named):
    with pytest.raises(UsageError, match=named):
        Severity().changed("crops", options)


def test_a_detector_is_for_scoring_crops(tmp_path):
    with pytest.raises(UsageError, match="give it to score"):
        Severity(detector="found.safetensors").settings("crops")
    with pytest.raises(UsageError, match="of one class as they are seen"):
        LesionGrader(QUICK, CHOICE).fit([images(vessel([80.0]), CHOICE)], [], 0.5, 0)
    with pytest.raises(UsageError, match="is no file that lesionforge train severity"):
        LesionGrader.load(tmp_path)


def test_who_reaches_a_cut_reaches_those_below():
    """A network may say otherwise; the classes' probabilities are none below zero all the same."""
    said, net = LesionGrader(QUICK, CHOICE), crop.CropNet(2)
    said._net = net.eval()
    with torch.no_grad():
        net.head[-1].weight.zero_()
        net.head[-1].bias.copy_(torch.tensor([-1.0, 1.0, 0.0]))
    p = said.graded(np.full((512, 512), 90, np.uint8), np.array([[100.0, 100, 130, 130]]))
    assert p == pytest.approx(np.array([[0.731, 0.0, 0.269]]), abs=1e-3)
