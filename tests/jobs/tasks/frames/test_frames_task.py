"""The whole task on toy runs: it learns, resumes, is saved, loaded, studied; beside the ridges' threshold."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lesionforge.generators.types import Angiogram  # noqa: E402
from lesionforge.jobs.errors import UsageError  # noqa: E402
from lesionforge.jobs.studies.runs import scores  # noqa: E402
from lesionforge.jobs.studies.summary import summarise  # noqa: E402
from lesionforge.jobs.tasks.frames.finder import FrameFinder  # noqa: E402
from lesionforge.jobs.tasks.frames.ridge import RidgeThreshold, course  # noqa: E402
from lesionforge.jobs.tasks.frames.settings import FrameSettings, RidgeSettings  # noqa: E402
from lesionforge.jobs.tasks.frames.task import Frames  # noqa: E402
from lesionforge.jobs.tasks.runs import HeldFilm, Run, of_sample  # noqa: E402
from tests.jobs.tasks import cine  # noqa: E402

TINY = {
    "rate": 2e-3,
    "size": 32,
    "steps": 30,
    "batch": 16,
    "warmup": 5,
    "run_steps": 50,
    "run_batch": 8,
    "width": 16,
    "copies": 2,
}


def toy(i: int) -> Run:
    frames = {f"frame{n:03d}.png": frame for n, frame in enumerate(cine.film(i))}
    return of_sample({**frames, "json": cine.meta(i)})


@pytest.fixture(scope="module")
def learnt():
    finder = FrameFinder(FrameSettings(**TINY))
    finder.fit([], [toy(i) for i in range(8)], 0.5, 0)
    return finder


def test_it_learns_when_a_run_is_full(learnt):
    task, test = Frames(), [toy(i) for i in range(20, 28)]
    found = scores(task, learnt, test)["scores"]
    assert found["begin_error"] + found["end_error"] < 3
    assert found["accepted"] > 0.8
    one = Run("s", "id", HeldFilm([toy(20).film[9]]))  # a still, nobody's labels
    assert learnt.predict(one).shape == (1,)


def test_the_ridges_threshold_learns_too_and_is_kept(tmp_path):
    ridge = RidgeThreshold(RidgeSettings(runs=4))
    ridge.fit([], [toy(i) for i in range(4)], 0.5, 0)
    assert 0.3 <= ridge.threshold <= 0.95
    run = toy(20)
    begin, end = run.full.start, run.full.stop - 1
    along = course(run)
    assert along[begin + 1 : end].min() > 0.6 > 0.3 > along[0]
    ridge.save(tmp_path / "model.safetensors")
    task, again = Frames().load(tmp_path / "model.safetensors", "cpu")
    assert np.array_equal(again.predict(run), ridge.predict(run))
    row = task.score(run, again.predict(run)).row
    assert row["truth"] == (begin, end)
    assert max(row["scores"]["begin_error"], row["scores"]["end_error"]) <= 3


def test_a_file_brings_both_networks_back(learnt, tmp_path):
    learnt.save(tmp_path / "model.safetensors")
    _, again = Frames().load(tmp_path / "model.safetensors", "cpu")
    assert again.settings == learnt.settings
    run = toy(21)
    assert np.array_equal(again.predict(run), learnt.predict(run))
    (tmp_path / "other.safetensors").write_bytes(b"no")
    with pytest.raises(UsageError, match="no file that lesionforge train frames wrote"):
        Frames().load(tmp_path / "other.safetensors", "cpu")


class Stop(Exception):
    pass


@pytest.mark.parametrize("at", [7, 13])
def test_a_killed_training_goes_on_to_the_same_networks(at, tmp_path):
    """Within the frames' training, and within that of the runs."""
    few = FrameSettings(**TINY | {"steps": 10, "run_steps": 6, "batch": 4})
    data = [toy(i) for i in range(4)]
    whole, cut = FrameFinder(few), FrameFinder(few)
    whole.fit([], data, 0.5, 3)

    def stop(step, of, loss):
        assert of == 16
        if step == at:
            raise Stop

    with pytest.raises(Stop):
        cut.fit([], data, 0.5, 3, tmp_path / "at", stop)
    steps = []
    cut.fit([], data, 0.5, 3, tmp_path / "at", lambda step, of, loss: steps.append(step))
    assert steps == list(range(at, 17))
    assert np.array_equal(cut.predict(data[1]), whole.predict(data[1]))
    with pytest.raises(UsageError, match="was begun with"):
        FrameFinder(replace(few, width=8)).fit([], data, 0.5, 3, tmp_path / "at")


def test_the_papers_figures_stand_below_ours(learnt):
    run = {"run": {"seed": 0, "model": "lstm", "size": None, "arm": "real"}}
    task = Frames()
    (table,) = task.tables(summarise([run | scores(task, learnt, [toy(20), toy(22), toy(24)])], task))
    assert [row[0] for row in table.rows] == ["lstm, real, all", "paper, Inception-v3 and Bi-LSTM"]
    assert list(table.rows[-1][1:5]) == ["2.05", "2.27", ".830", ".050"]


def test_the_papers_preset_and_what_is_refused():
    paper = Frames(preset="paper").settings("lstm")
    assert (paper.network, paper.size, paper.phases, paper.width, paper.run_rate) == ("inception", 299, 64, 256, 4e-5)
    task = Frames()
    image = np.zeros((8, 8), np.uint8)
    with pytest.raises(UsageError, match="has no time"):
        task.item_of_case(Angiogram("s", "id", "none", image))
    with pytest.raises(UsageError, match="--test holds runs that do not say when they are full"):
        task.check([Run("s", "id", HeldFilm([image] * 3))], "--test")
    with pytest.raises(UsageError, match="holds stills alone"):
        task.check([replace(toy(1), film=HeldFilm([image]))], "--real")
    with pytest.raises(UsageError, match="--set stepz: no such setting"):
        task.changed("lstm", {"stepz": 1})
    assert task.changed("ridge", {"steps": 4, "runs": 3}) == RidgeSettings(3)
