"""Every machine makes the same dataset, or refuses."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from lesionforge.engine import dataset as document
from lesionforge.engine import driver, identity
from lesionforge.engine.faults import Fault
from lesionforge.engine.identity import Terms
from lesionforge.engine.messages import Task
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.pool import InProcess
from lesionforge.engine.recipe_yaml import parse
from lesionforge.engine.sample import rounded
from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.worker import Worker
from lesionforge.generators.base import Generator
from lesionforge.generators.parameters import Parameters
from lesionforge.generators.types import Sample, severity_class, significant
from lesionforge.jobs.commands import again, generate, replay
from lesionforge.sinks import dataset, layout
from lesionforge.sinks.store import Store


@dataclass(frozen=True)
class Film(Parameters):
    """``weights``: of a network that nobody needs."""

    weights: str | None = None


class Copier(Generator):
    """The source's own pixels, and a float whose last bits are whatever ``noise`` says."""

    Params = Film
    places = ("weights",)
    noise = 0.0

    def make(self, case, spec):
        value = 70.0 + self.noise
        return Sample(spec, {"image.png": case.image}, {"ds": [value, -0.0]}, {"n": 1}, {"ds": value})


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))


def pictures(folder, count=6):
    folder.mkdir()
    for n in range(count):
        add(folder, n)
    return folder


def add(folder, n, grey=None):
    Image.fromarray(np.full((32, 32), n if grey is None else grey, np.uint8)).save(folder / f"{n}.bmp")
    mask = np.zeros((32, 32), np.uint8)
    mask[2:4] = 255
    Image.fromarray(mask).save(folder / f"{n}_gt.bmp")


def recipe(folder, **params):
    raw = {"name": "a", "seed": 1, "sources": [{"uri": f"masks:{folder}", "split": {"train": 1}}], "splits": ["train"]}
    raw |= {"generator": {"name": f"{__name__}.Copier", "params": params}, "shard": {"samples": 2}, "multiply": 2}
    return parse(json.dumps(raw))


def begun(asked, out, terms=None):
    """A place that a driver has taken, and a worker that starts then."""
    store, job = Store(str(out)), Pipeline(asked)
    document.claim(store, document.describe(job))
    return job, Worker(asked, store, terms=terms or Terms.of(job))


def test_a_worker_that_sees_a_late_picture_refuses_every_task(tmp_path):
    """trust.md A2: exit 0, _SUCCESS, 16 of 20 shards of another identity, a frame in train and test."""
    asked = recipe(pictures(tmp_path / "in"))
    job = Pipeline(asked)
    terms = Terms.of(job)
    add(tmp_path / "in", 9)
    _, worker = begun(asked, tmp_path / "out", terms)
    task = Task(0, job.identity)
    with pytest.raises(Fault, match=r"sources\.0 \(masks\) is not what the driver saw: 14 files here, 12 there"):
        worker.make(task)
    for end in (".bmp", "_gt.bmp"):
        (tmp_path / "in" / f"9{end}").unlink()
    assert worker.make(task).samples == 2  # it looks again with every task
    _, worker = begun(asked, tmp_path / "other", terms)
    (tmp_path / "in").rename(tmp_path / "away")
    with pytest.raises(Fault, match="; the driver saw it"):
        worker.make(task)


def test_a_worker_that_sees_other_names_or_labels_refuses(tmp_path):
    asked = recipe(pictures(tmp_path / "in"))
    terms = Terms.of(Pipeline(asked))
    for end in (".bmp", "_gt.bmp"):
        (tmp_path / "in" / f"5{end}").rename(tmp_path / "in" / f"6{end}")
    _, worker = begun(asked, tmp_path / "out", terms)
    with pytest.raises(Fault, match=r"sources\.0 \(masks\) is not what the driver saw: as many files, of other"):
        worker.make(Task(0, terms.identity))


def test_a_task_of_another_dataset_is_refused(tmp_path):
    job, worker = begun(recipe(pictures(tmp_path / "in")), tmp_path / "out")
    with pytest.raises(Fault, match="are not what the driver saw"):
        worker.make(Task(0, "f" * 64))
    assert worker.make(Task(0, job.identity)).samples == 2


def test_a_worker_hashes_nothing_but_what_it_reads(tmp_path, monkeypatch):
    """Another node with a copy of its own, whose times and inodes are others."""
    asked = recipe(pictures(tmp_path / "in"))
    terms = Terms.of(Pipeline(asked))
    pictures(tmp_path / "copy")
    _, worker = begun(recipe(tmp_path / "copy"), tmp_path / "out", terms)
    monkeypatch.setattr("lesionforge.engine.sources.files.File._hash", None)
    assert worker.make(Task(0, terms.identity)).samples == 2
    assert worker.pipeline.identity == terms.identity


def test_a_picture_replaced_in_the_middle_of_a_run_fails_its_shard_alone(tmp_path):
    """trust.md A2, A5: it was a silent other picture."""
    asked = recipe(pictures(tmp_path / "in"))
    job, worker = begun(asked, tmp_path / "out")
    victim = job.plan[0].case
    add(tmp_path / "in", victim, grey=200)
    with pytest.raises(Fault, match="is not what it was when the run began"):
        worker.make(Task(0, job.identity))
    assert worker.make(Task(1, job.identity)).samples == 2
    assert dataset.committed(worker.store) == [job.plan.shard(1).name]


def test_a_worker_of_other_versions_refuses(tmp_path, monkeypatch):
    """trust.md A13: versions were compared on the driver alone."""
    job, worker = begun(recipe(pictures(tmp_path / "in")), tmp_path / "out")
    worker.terms = replace(worker.terms, versions=worker.terms.versions | {"numpy": "1.0"})
    with pytest.raises(Fault, match=r"numpy \S+ in place of 1\.0; install the same"):
        worker.make(Task(0, job.identity))


def test_a_dataset_is_continued_with_other_versions_where_that_is_said(tmp_path, monkeypatch):
    asked = recipe(pictures(tmp_path / "in"))
    out, mine = str(tmp_path / "out"), identity.versions()
    generate.generate(asked, out, in_process=True)
    monkeypatch.setattr(document, "versions", lambda: mine | {"numpy": "99.0"})
    grown = asked.model_copy(update={"multiply": 3})
    with pytest.raises(document.DatasetError, match=r"here is numpy 99\.0 in place of .* go on with --mix-versions"):
        generate.generate(grown, out, in_process=True)
    generate.generate(grown, out, in_process=True, mix_versions=True)
    assert document.read(Store(out)).versions["numpy"] == f"{mine['numpy']} and 99.0"
    monkeypatch.setattr(document, "versions", lambda: {k: v for k, v in mine.items() if k != "numpy"})
    generate.generate(grown, out, in_process=True)  # what is not installed made nothing


def weights(folder, data):
    folder.mkdir(exist_ok=True)
    (folder / "net.safetensors").write_bytes(data)
    return str(folder)


def test_weights_count_by_their_content_and_no_dataset_says_where_they_lie(tmp_path, monkeypatch):
    """trust.md A5, A9: they counted by their path, and it stood in recipe.json."""
    source = pictures(tmp_path / "in")
    here = Pipeline(recipe(source, weights=weights(tmp_path / "jane-doe", b"one"))).identity
    assert Pipeline(recipe(source, weights=weights(tmp_path / "moved", b"one"))).identity == here
    assert (
        Pipeline(recipe(source, weights=weights(tmp_path / "moved", b"two"))).identity
        != here
        != Pipeline(recipe(source)).identity
    )
    asked, out = recipe(source, weights=str(tmp_path / "jane-doe")), str(tmp_path / "out")
    generate.generate(asked, out, in_process=True)
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert b"jane-doe" not in written
    doc = document.read(Store(out))
    assert doc.recipe.identity([s.fingerprint for s in doc.sources]) == doc.identity == here
    place = {0: f"masks:{source}"}
    with pytest.raises(document.DatasetError, match=r"give --set generator\.params\.weights=FOLDER"):
        replay.replay(out, "train-0000-00000000", place, trust=True)
    assert replay.replay(
        out, "train-0000-00000000", place, {"weights": weights(tmp_path / "moved", b"one")}, trust=True
    ).identical
    with pytest.raises(document.DatasetError, match="the weights are not those"):
        replay.replay(out, "train-0000-00000000", place, {"weights": weights(tmp_path / "moved", b"two")}, trust=True)
    assert again.placed(["generator.params.weights=/a=b"]) == {"weights": "/a=b"}
    with pytest.raises(document.DatasetError, match="only where its weights lie can be set"):
        again.placed(["seed=2"])
    with pytest.raises(SourceError, match=r"generator\.params\.weights \(.*none\): no such folder"):
        _ = Pipeline(recipe(source, weights=str(tmp_path / "none"))).identity


def test_weights_replaced_while_the_run_begins_make_nothing(tmp_path):
    place = weights(tmp_path / "model", b"one")
    job, worker = begun(recipe(pictures(tmp_path / "in"), weights=place), tmp_path / "out")
    weights(tmp_path / "model", b"two")
    with pytest.raises(Fault, match="weights"):
        worker.make(Task(0, job.identity))


def test_the_bits_below_nine_digits_are_neither_written_nor_decide(tmp_path, monkeypatch):
    """trust.md A8: the json, and with it ``replay``, depended on the CPU."""
    made = []
    for noise in (-9e-14, 0.0, 9e-14):
        monkeypatch.setattr(Copier, "noise", noise)
        out = tmp_path / str(noise)
        asked = recipe(tmp_path / "in" if made else pictures(tmp_path / "in"))
        limits = asked.quality.model_validate({"limits": {"ds": {"min": 70.0, "max": 70.0}}, "redraws": 0})
        asked = asked.model_copy(update={"quality": limits})
        job, store = Pipeline(asked), Store(str(out))
        document.claim(store, document.describe(job))
        assert driver.run(job, store, InProcess(asked, store, Terms.of(job))).quarantined == 0
        made.append([store.get(layout.tar(job.plan.shard(k).name)) for k in range(job.plan.shards)])
    assert made[0] == made[1] == made[2]


def test_numbers_are_rounded_at_any_depth():
    plain = {"b": True, "c": 10**12 + 1, "d": None, "e": "1.00000000001"}
    assert rounded(plain | {"a": [1 / 3, (2 / 3, np.float32(0.5))]}) == plain | {"a": [0.333333333, [0.666666667, 0.5]]}
    assert str(significant(-0.0)) == str(significant(-3e-17)) == "0.0"
    assert significant(123456.7891234) == 123456.789
    assert severity_class(70 - 9e-14) == "severe"
    assert severity_class(69.9999) == "moderate"
