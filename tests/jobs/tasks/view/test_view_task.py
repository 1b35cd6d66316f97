"""Side and view of toy runs and stills; the baseline by angles; what is said of them together."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lesionforge.generators.types import Angiogram  # noqa: E402
from lesionforge.jobs.errors import UsageError  # noqa: E402
from lesionforge.jobs.studies.runs import scores  # noqa: E402
from lesionforge.jobs.studies.summary import summarise  # noqa: E402
from lesionforge.jobs.studies.task import Scored  # noqa: E402
from lesionforge.jobs.tasks.runs import HeldFilm, Run, of_sample  # noqa: E402
from lesionforge.jobs.tasks.view.angles import Angles  # noqa: E402
from lesionforge.jobs.tasks.view.metrics import Answers  # noqa: E402
from lesionforge.jobs.tasks.view.net import ViewNet  # noqa: E402
from lesionforge.jobs.tasks.view.settings import AngleSettings, ViewSettings  # noqa: E402
from lesionforge.jobs.tasks.view.shots import shots  # noqa: E402
from lesionforge.jobs.tasks.view.task import ViewTask  # noqa: E402
from tests.jobs.tasks import cine  # noqa: E402

TINY = ViewSettings(size=32, steps=40, batch=16, warmup=5, frames=3)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """Of the bootstrap: what it is of is tested elsewhere."""
    monkeypatch.setattr("lesionforge.jobs.studies.summary.DRAWS", 40)


def toy(i: int) -> Run:
    frames = {f"frame{n:03d}.png": frame for n, frame in enumerate(cine.film(i))}
    return of_sample({**frames, "json": cine.meta(i)})


@pytest.fixture(scope="module")
def learnt():
    net = ViewNet(TINY, "side")
    net.fit([], [toy(i) for i in range(10)], 0.5, 0)
    return net


def test_it_learns_the_side_and_tells_that_of_runs_and_of_real_stills(learnt, tmp_path):
    task, test = ViewTask(), [toy(i) for i in range(20, 28)]
    result = scores(task, learnt, test)
    assert result["scores"]["accuracy"] > 0.85
    assert result["scores"]["f1"] > 0.85
    assert result["held"] == {"accuracy": 4, "f1": 4, "cross_entropy": 4}  # two runs a subject
    image = test[0].film[test[0].full[3]]
    still = task.item_of_case(Angiogram("s", "id", "none", image, side="left"))
    row = task.score(still, next(iter(task.predict(learnt, [still])))).row
    assert (row["truth"], row["found"]) == ("left", "left")
    learnt.save(tmp_path / "model.safetensors")
    loaded, again = ViewTask().load(tmp_path / "model.safetensors", "cpu")
    assert (loaded.what, again.classes) == ("side", ("left", "right"))
    assert np.array_equal(again.predict(still), learnt.predict(still))
    with pytest.raises(UsageError, match="--set what=view: the model learnt side"):
        ViewTask(what="view").load(tmp_path / "model.safetensors", "cpu")
    (table,) = task.tables(
        summarise([{"run": {"seed": 0, "model": "net", "size": None, "arm": "real"}} | result], task)
    )
    assert next(row[0] for row in table.rows) == "net, real, all"
    assert ["paper, ResNet-50 at 224 (views)", "0.97±0.01", "0.97±0.01", "0.08±0.31"] in list(map(list, table.rows))


def test_the_same_seed_gives_the_same_network_also_when_it_was_killed(tmp_path):
    few, data = replace(TINY, steps=8, batch=4), [toy(i) for i in range(4)]
    whole, cut = ViewNet(few, "side"), ViewNet(few, "side")
    whole.fit(data[:2], data[2:], 0.5, 1)

    def stop(step, of, loss):
        if step == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        cut.fit(data[:2], data[2:], 0.5, 1, tmp_path / "at", stop)
    steps = []
    cut.fit(data[:2], data[2:], 0.5, 1, tmp_path / "at", lambda step, of, loss: steps.append(step))
    assert steps == [5, 6, 7, 8]
    assert np.array_equal(cut.predict(data[0]), whole.predict(data[0]))


def test_angles_tell_views_without_a_look(tmp_path):
    task, train = ViewTask(what="view"), [replace(toy(i), film=HeldFilm([])) for i in range(12)]
    angles = task.learner(task.settings("angles"), "cpu")
    angles.fit(train[:6], train[6:], 0.5, 0)
    test = [replace(toy(i), film=HeldFilm([])) for i in range(30, 36)]
    assert scores(task, angles, test)["scores"]["accuracy"] == 1
    angles.save(tmp_path / "model.safetensors")
    again = Angles.load(tmp_path / "model.safetensors")
    assert again.predict(test[1]) == pytest.approx(angles.predict(test[1]), abs=0)
    assert again.predict(replace(test[0], angles=None)) == pytest.approx([0.5, 0.5])
    # Two classes at 0 and 10 degrees, both of sd 5: the odds at x are exp(-(x² - (x - 10)²) / 50).
    two = [Run(str(k), str(k), HeldFilm([]), view="AB"[k], angles=(10.0 * k, 0.0)) for k in range(2)]
    exact = Angles(AngleSettings(5.0), "view")
    exact.fit(two, [], 1.0, 0)
    assert exact.predict(replace(two[0], angles=(3.0, 0.0)))[0] == pytest.approx(1 / (1 + np.exp(-(49 - 9) / 50)))


def test_measures_by_hand_and_by_subject():
    said = [
        ("a", "left", "left", 0.9),
        ("a", "left", "right", 0.2),
        ("b", "right", "right", 0.5),
        ("c", "left", "left", 1),
    ]
    rows = [Scored(s, {"truth": t, "found": f, "probability": p}) for s, t, f, p in said]
    values = Answers(rows).values()
    assert values["accuracy"] == pytest.approx(3 / 4)
    assert values["f1"] == pytest.approx((2 * 2 / (3 + 2) + 2 * 1 / (1 + 2)) / 2)
    assert values["cross_entropy"] == pytest.approx(-np.log([0.9, 0.2, 0.5, 1]).mean())
    assert Answers(rows).held == {"accuracy": 3, "f1": 1, "cross_entropy": 3}
    assert Answers(rows).values(np.array([0.0, 1.0, 2.0]))["accuracy"] == 1
    assert Answers(rows).values(np.array([1.0, 0.0, 0.0]))["f1"] == pytest.approx(
        2 / 3
    )  # of the classes that are there
    lost = [Scored("a", {"truth": "x", "found": "left", "probability": 0.0})]  # a class that nobody has learnt
    assert Answers(lost).values() == {"accuracy": 0, "f1": 0, "cross_entropy": pytest.approx(16.118, abs=1e-3)}


def test_frames_are_taken_evenly_among_the_full_ones():
    run = toy(20)
    assert list(shots(run, 1)) == [run.full[len(run.full) // 2]]
    assert list(shots(run, 99)) == list(run.full)
    assert len(set(shots(run, 4))) == 4
    assert list(shots(toy(4), 2)) == [len(toy(4).film) // 4, 3 * len(toy(4).film) // 4]  # never full: of all


def test_what_is_refused_before_anything_is_learnt():
    task, image = ViewTask(), np.zeros((8, 8), np.uint8)
    with pytest.raises(UsageError, match="1 of 2 items of --test do not say their side"):
        task.check([toy(0), Run("s", "id", HeldFilm([image]))], "--test")
    with pytest.raises(UsageError, match="no view of --test is learnt from: LAO 40 is none of RAO 20 CAU 20"):
        ViewTask(what="view").check_test([toy(1)], [toy(0)])
    with pytest.raises(UsageError, match="what is 'both': give side or view"):
        ViewTask(what="both")
    with pytest.raises(UsageError, match="every run's side is 'left'"):
        ViewNet(TINY, "side").fit([toy(0)], [], 0.5, 0)
    with pytest.raises(UsageError, match="no run is ever full"):
        ViewNet(TINY, "side").fit([toy(4)], [], 0.5, 0)
    with pytest.raises(UsageError, match="arm 'x2' is unknown; give real, x1, x1-alone, far, far-alone"):
        task.data_of_arm("x2", ["", "far"])
    paper = ViewTask(preset="paper").settings("net")
    assert (paper.network, paper.size, paper.rate, paper.frozen) == ("resnet50", 224, 1e-5, 0.5)
    assert task.changed("angles", {"size": 64, "spread_deg": 3.0}) == AngleSettings(3.0)
