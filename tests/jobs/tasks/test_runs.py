"""Runs of a dataset: their labels, and frames that are read one by one."""

import pickle

import numpy as np
import pytest

from lesionforge.generators.types import Angiogram, Lesion
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks import runs
from lesionforge.jobs.tasks.runs import HeldFilm, Run
from lesionforge.sinks.reader import Samples
from lesionforge.sinks.reader.errors import ReaderError
from lesionforge.sinks.store import Store
from tests.jobs.tasks import cine
from tests.sinks import stenoses


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    store = Store(str(tmp_path_factory.mktemp("cine") / "out"))
    cine.write(store, 6)
    return store


def test_a_run_reads_no_frame_but_the_one_that_is_asked_for(place, monkeypatch):
    there = Samples(place)
    found = list(runs.stored_runs(there))
    other = pickle.loads(pickle.dumps(found[2]))  # as it comes to another process
    read, decode = [], there._ranges.read
    monkeypatch.setattr(there._ranges, "read", lambda wanted: read.extend(wanted) or decode(wanted))
    run = found[2]
    assert len(run.film) == cine.case(2)["frames"]
    assert read == []
    for n in (3, 0, len(run.film) - 1):
        assert np.array_equal(run.film[n], cine.film(2)[n])
    assert len(read) == 3
    assert len({len(run.film) for run in found}) > 1  # runs of several lengths in one dataset
    assert np.array_equal(other.film[1], cine.film(2)[1])
    with pytest.raises(ReaderError, match=r"has no member 'frame099.png'; it has frame000.png"):
        there.member(2, "frame099.png")


def test_what_is_known_of_a_run(place):
    there = Samples(place)
    for i, (run, sample) in enumerate(zip(runs.stored_runs(there), there, strict=True)):
        told = cine.case(i)
        assert (run.side, run.view, run.begin, run.end) == (
            told["side"], cine.VIEWS[told["side"]][0], told["begin"], told["end"],
        )  # fmt: skip
        assert list(run.full) == ([] if told["begin"] is None else list(range(told["begin"], told["end"] + 1)))
        assert run.phased
        assert run.angles == (cine.VIEWS[told["side"]][1][0] + i % 5, cine.VIEWS[told["side"]][1][1])
        held = runs.of_sample(sample)
        assert all(np.array_equal(held.film[n], run.film[n]) for n in range(len(run.film)))
        assert len(held.learnt_from) == len(held.film) + 1
    labels = [bytes(run.learnt_from[-1]) for run in (run, Run(run.subject, run.source_id, run.film))]
    assert labels[0] != labels[1]
    assert run.pixel_mm == pytest.approx((0.15, 0.15))  # .2 mm on the detector, 750 of 1,000 mm from the source


def test_a_still_is_a_run_of_one_frame(tmp_path):
    store = Store(str(tmp_path / "out"))
    cine.write(store, 2, still=True)
    (one, _) = runs.stored_runs(Samples(store))
    assert (len(one.film), list(one.full)) == (1, [0])
    image = np.zeros((5, 6), np.uint8)
    lesion = Lesion((1.0, 2.0, 3.0, 4.0), "severe", 80.0)
    real = runs.of_case(Angiogram("s", "id", "none", image, lesions=(lesion,), side="left", view_deg=(30.0, -20.0)))
    assert (real.side, real.angles, list(real.full), real.phased) == ("left", (30.0, -20.0), [0], False)
    assert real.frames[0]["boxes"][0]["box"] == [1.0, 2.0, 3.0, 4.0]
    assert list(Run("s", "id", HeldFilm([image] * 4)).full) == [0, 1, 2, 3]


def test_other_datasets_are_refused(tmp_path):
    store = Store(str(tmp_path / "out"))
    stenoses.write(store, 2)
    with pytest.raises(UsageError, match="is no run: give a dataset of the cine generator"):
        list(runs.stored_runs(Samples(store)))
