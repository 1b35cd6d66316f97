"""A run whose first samples all fail for one reason ends there, and leaves its place as it was."""

import errno

import pytest

from lesionforge.engine import driver
from lesionforge.engine.faults import Fault
from lesionforge.engine.messages import Task
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.pool import InProcess
from lesionforge.engine.trial import CASES, SAMPLES
from lesionforge.engine.worker import Worker
from lesionforge.jobs.commands.generate import generate
from lesionforge.sinks import dataset, layout
from lesionforge.sinks.store import Store
from tests.engine.conftest import toy
from tests.faulty import Faulty

NEVER = {"quality__limits": {"mean": {"min": 1e9}}, "quality__redraws": 0}  # no sample can be so bright


def ids(shard, plan):
    return [spec.sample_id for spec in plan.specs(plan.shard(shard))]


def written(tmp_path):
    """How many samples were begun."""
    return sum(len(path.read_text().splitlines()) for path in (tmp_path / "log").iterdir())


@pytest.mark.parametrize("samples", [8, 10_000])
def test_a_vain_run_ends_early_and_gives_its_place_back(tmp_path, samples):
    (tmp_path / "log").mkdir()
    vain = toy(
        sources__0__options={"count": 500}, shard__samples=samples, generator__params={"log": str(tmp_path / "log")},
        **NEVER,
    )  # fmt: skip
    with pytest.raises(driver.RecipeFault) as caught:
        generate(vain, tmp_path / "out", in_process=True)
    message = str(caught.value)
    assert "samples all failed for one reason (quality: mean is 1" in message
    assert "nothing was committed: widen quality.limits" in message
    assert "\n" not in message
    assert SAMPLES <= written(tmp_path) <= SAMPLES + 8
    left = Store(str(tmp_path / "out"))
    assert left.list() == []
    mended = toy(sources__0__options={"count": 20})  # another recipe, so another identity
    assert generate(mended, tmp_path / "out", in_process=True).made == 40


def test_all_the_samples_there_are_suffice(tmp_path):
    with pytest.raises(driver.RecipeFault, match="first 8 samples all failed"):
        generate(toy(sources__0__options={"count": 4}, **NEVER), tmp_path / "out", in_process=True)


def test_few_cases_are_no_proof_while_others_are_left():
    plan = Pipeline(toy(sources__0__options={"count": 500}, multiply=40)).plan
    failures = driver.Failures(SAMPLES, {(0, n) for n in range(CASES - 1)}, {"error: …"})
    assert not failures.suffice(plan)
    failures.include(driver.Failures(1, {(0, 99)}, {"error: …"}))
    assert failures.suffice(plan)
    failures.include(driver.Failures(1, {(0, 99)}, {"source: …"}))
    assert not failures.suffice(plan)


def run(recipe, place):
    store = Store(str(place))
    return store, driver.run(Pipeline(recipe), store, InProcess(recipe, store))


def test_a_shard_that_fails_among_good_ones_is_committed_as_ever(tmp_path):
    """The first shard is held back until the second shows that the recipe is good, then made again."""
    plan = Pipeline(toy()).plan
    store, outcome = run(toy(generator__params={"raise_at": ids(0, plan)}), tmp_path)
    assert (outcome.shards, outcome.samples, outcome.quarantined) == (6, 32, 8)
    assert len(dataset.committed(store)) == 6


def test_different_reasons_are_the_samples_faults(tmp_path):
    plan = Pipeline(toy(multiply=1)).plan
    every = [plan[n].sample_id for n in range(len(plan))]
    store, outcome = run(toy(multiply=1, generator__params={"raise_at": every[::2], "nan_at": every[1::2]}), tmp_path)
    assert (outcome.samples, outcome.quarantined) == (0, 20)
    assert len(dataset.committed(store)) == 3


def test_a_good_sample_after_many_bad_ones_in_one_shard_saves_it(tmp_path):
    big = {"sources__0__options": {"count": 100}, "shard__samples": 1000, "resources__batch": 20, "multiply": 1}
    plan = Pipeline(toy(**big)).plan
    bad = ids(0, plan)[:SAMPLES]
    worker = Worker(toy(**big, generator__params={"raise_at": bad}), Store(str(tmp_path)))
    report = worker.make(Task(0))
    assert report.failures is None
    assert (report.samples, report.quarantined) == (len(plan.shard(0)) - SAMPLES, SAMPLES)


def test_what_has_begun_well_is_not_stopped(tmp_path):
    plan = Pipeline(toy()).plan
    later = [plan[n].sample_id for n in range(20, 40)]
    recipe, store = toy(generator__params={"raise_at": later}), Store(str(tmp_path))
    worker = Worker(recipe, store)
    for k in range(3):
        worker.make(Task(k))
    outcome = driver.run(Pipeline(recipe), store, InProcess(recipe, store))
    assert (outcome.samples, outcome.quarantined) == (0, 20)


def test_a_limit_on_what_nobody_measures_ends_the_run_at_once(tmp_path):
    (tmp_path / "log").mkdir()
    recipe = toy(
        quality__limits={"meen": {"min": 0}}, generator__params={"log": str(tmp_path / "log")}, resources__batch=1
    )
    with pytest.raises(driver.RecipeFault, match=r"quality\.limits\.meen: .* did you mean mean\?"):
        generate(recipe, tmp_path / "out", in_process=True)
    assert written(tmp_path) <= 4
    assert Store(str(tmp_path / "out")).list() == []


class Unready(Faulty):
    """Its weights are torn, or its disk is not there."""

    def prepare(self, device):
        raise OSError(errno.ENOENT, "gone") if self.params.log else ValueError("unet.safetensors is cut short")


def test_a_generator_that_cannot_be_prepared_ends_the_run_at_once(tmp_path):
    recipe = toy(generator__name=f"{__name__}.Unready", shard__samples=2)
    with pytest.raises(driver.RecipeFault, match=r"Unready: ValueError: unet\.safetensors is cut short"):
        generate(recipe, tmp_path / "out", in_process=True)
    assert Store(str(tmp_path / "out")).list() == []
    with pytest.raises(Fault):  # which may pass
        Worker(toy(generator__name=f"{__name__}.Unready", generator__params={"log": "x"}), Store("memory://")).make(
            Task(0)
        )


def test_a_misspelt_limit_of_a_declared_measure_is_refused_by_the_plan():
    recipe = toy(
        generator={"name": "biplane", "params": {}}, balance=None, quality__limits={"visible_fractoin": {"min": 0.9}},
        sources=[{"uri": "phantom:coronary", "options": {"count": 4}}],
    )  # fmt: skip
    with pytest.raises(driver.UnknownLimit, match=r"visible_fractoin: generator biplane does not measure it; did you"):
        Pipeline(recipe)


@pytest.mark.parametrize("name", ["README.md", "manifest.json", "shards/own.tar", "notes/a.txt"])
@pytest.mark.parametrize("where", ["local", "memory"])
def test_foreign_files_are_never_written_over(tmp_path, name, where):
    store = Store(str(tmp_path / "own") if where == "local" else f"memory://{tmp_path}/{name}")
    store.put(name, b"PRECIOUS")
    with pytest.raises(Exception, match=r"holds files but no dataset \(.*choose a new or empty --out"):
        generate(toy(), store.url(), in_process=True)
    assert store.get(name) == b"PRECIOUS"
    assert [entry.name for entry in store.list()] == [name]


def test_leftovers_of_a_killed_run_and_hidden_files_are_no_matter(tmp_path):
    store = Store(str(tmp_path))
    store.hidden().put("run-" + "0" * 32, b'{"kind": "run", "process": "", "beats": 1}')
    (tmp_path / ".DS_Store").write_bytes(b"x")
    assert generate(toy(multiply=1), tmp_path, in_process=True).made == 20
    store.put(layout.CARD, b"edited by hand")  # a dataset's own card
    assert generate(toy(multiply=2), tmp_path, in_process=True).made == 20
