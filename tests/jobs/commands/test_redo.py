"""Shards made again on purpose, and repairs that need the sources."""

import json
import shutil
from pathlib import Path

import pytest

from lesionforge.engine import dataset as document
from lesionforge.engine.dataset import DatasetError
from lesionforge.engine.plan import PlanError
from lesionforge.jobs.commands import status
from lesionforge.jobs.commands.generate import generate
from lesionforge.jobs.commands.repair import redo, repair
from lesionforge.jobs.commands.verify import verify
from lesionforge.sinks import layout
from lesionforge.sinks.listing import look
from lesionforge.sinks.store import Store, StoreError, lease
from tests.chaos.proxy import Proxy
from tests.engine.conftest import everything, toy
from tests.weather import Weather

SAMPLE, SHARD = "train-0001-00000005", "train-000002"


def recipe(weather: Weather):
    return toy(generator__params={"weather": str(weather.folder)})


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path, Weather]:
    """A dataset that lost a sample for a cause that is gone by now, one that never did, and their weather."""
    folder = tmp_path_factory.mktemp("redo")
    weather = Weather(folder / "weather")
    weather.bring("make", "memory", at=SAMPLE)
    assert "1 quarantined" in generate(recipe(weather), folder / "lost", in_process=True).short
    weather.clear()
    assert generate(recipe(weather), folder / "twin", in_process=True).short == ""
    return folder / "lost", folder / "twin", weather


@pytest.fixture
def lost(pair, tmp_path) -> Path:
    shutil.copytree(pair[0], tmp_path / "out")
    return tmp_path / "out"


def state(place) -> str:
    return str(status.Progress(str(place)).look()["state"])


@pytest.mark.parametrize("chosen", [{"reasons": ["memory"]}, {"samples": [SAMPLE]}, {"shards": [SHARD]}])
def test_where_the_cause_is_gone_a_shard_made_again_is_as_if_it_never_was(pair, lost, chosen):
    assert state(lost) == "short"
    result = redo(lost, in_process=True, trust=True, **chosen)
    assert (result.short, result.made) == ("", 8)
    assert everything(lost) == everything(pair[1])


def test_a_lost_index_of_a_shard_that_lost_samples_is_made_with_their_reasons(pair, lost):
    before = everything(lost)
    (lost / layout.index(SHARD)).unlink()
    pair[2].bring("make", "memory", at=SAMPLE)
    assert "quota not met" in repair(lost, in_process=True, trust=True).problems[0]
    pair[2].clear()
    assert everything(lost) == before


@pytest.mark.parametrize("step", range(6))
def test_cut_short_at_any_step_a_shard_is_there_or_not_and_never_half(lost, monkeypatch, step):
    class Cut(BaseException):
        """The process is gone."""

    calls, delete = iter(range(100)), Store.delete

    def cut(self, path):
        if "run-" not in path and "probe" not in path and next(calls) == step:
            raise Cut
        delete(self, path)

    monkeypatch.setattr(Store, "delete", cut)
    with pytest.raises(Cut):
        redo(lost, shards=[SHARD], in_process=True, trust=True)
    assert state(lost) == ("short" if step < 2 else "incomplete")
    assert not (lost / layout.SUCCESS).exists()
    assert (lost / layout.tar(SHARD)).exists() == (step < 2)  # left without its index, it would be adopted
    there = look(Store(str(lost)), document.read(Store(str(lost))).plan)
    assert len(list(there.committed())) == (6 if step < 2 else 5)


def test_after_a_cut_the_same_generate_command_makes_the_shard(pair, lost):
    (lost / layout.tar(SHARD)).unlink()  # as of a redo that ended in the middle of its dropping
    assert generate(recipe(pair[2]), lost, in_process=True).short == ""
    assert everything(lost) == everything(pair[1])


def test_what_cannot_be_chosen_is_said_and_nothing_is_dropped(lost, monkeypatch):
    before = everything(lost)
    with pytest.raises(DatasetError, match="say what to make again"):
        redo(lost)
    with pytest.raises(DatasetError, match=r"no sample of .* is quarantined for that"):
        redo(lost, reasons=["no such"])
    with pytest.raises(PlanError, match="--shard nowhere: no shard of this plan; write it as train-000000"):
        redo(lost, shards=["nowhere"])
    with pytest.raises(DatasetError, match="is of kind"):
        redo(lost, shards=[SHARD], sources=["0=ct:/data"], trust=True)

    def busy(store, kind, notify):
        raise StoreError("gc is at work")

    monkeypatch.setattr(lease, "hold", busy)
    with pytest.raises(StoreError, match="gc is at work"):
        redo(lost, shards=[SHARD], in_process=True, trust=True)
    assert everything(lost) == before


def test_other_libraries_are_refused_before_anything_is_dropped(lost):
    path = lost / layout.RECIPE
    body = json.loads(path.read_text())
    body["versions"]["numpy"] = "1.0"
    path.write_text(json.dumps(body))
    before = everything(lost)
    with pytest.raises(DatasetError, match="begun with other libraries"):
        redo(lost, shards=[SHARD], in_process=True, trust=True)
    assert everything(lost) == before
    assert redo(lost, shards=[SHARD], in_process=True, mix_versions=True, trust=True).short == ""


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path]:
    """A dataset of files, and their folder, which it does not name."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "data").mkdir()
    for case in range(20):
        (folder / "data" / f"{case}.txt").write_text(str(case))
    source = {"uri": f"tests.faulty.ToyFiles:{folder / 'data'}", "split": {"train": 0.8, "val": 0.2}}
    assert generate(toy(sources=[source]), folder / "out", in_process=True).short == ""
    return folder / "out", folder / "data"


def test_without_the_sources_it_is_said_what_is_needed_and_the_shard_stays(files, tmp_path):
    out, data = tmp_path / "out", files[1]
    shutil.copytree(files[0], out)
    path = out / layout.tar("train-000001")
    path.write_bytes(path.read_bytes()[:-512])
    spoilt = everything(out)
    (problem,) = [line for line in repair(out, in_process=True, trust=True).problems if "cannot be made again" in line]
    assert "give --source 0=tests.faulty.ToyFiles:PLACE" in problem
    assert everything(out) == spoilt
    assert repair(out, [f"0=tests.faulty.ToyFiles:{data}"], in_process=True, trust=True).problems == []
    assert everything(out) == everything(files[0])
    assert verify(out).problems == []


@pytest.mark.parametrize("creation", ["honest", "ignored"])
def test_on_s3_with_and_without_conditions_the_same_bytes_come_back(pair, ceph_env, monkeypatch, tmp_path, creation):
    proxy = Proxy(ceph_env)
    proxy.creation = creation
    for name, value in proxy.env.items():
        monkeypatch.setenv(name, value)
    twin, store = Store(str(pair[1])), Store(f"s3://lesionforge/{tmp_path.name}")
    for entry in twin.list():
        store.put(entry.name, twin.get(entry.name))
    spoilt = bytearray(store.get(layout.tar(SHARD)))
    spoilt[700] ^= 1
    store.put(layout.tar(SHARD), spoilt)
    store.delete(layout.index("val-000000"))
    store.delete(layout.WIDS)
    assert repair(store, in_process=True, trust=True).problems == []
    assert store.conditional is (creation == "honest")
    assert redo(store, shards=["train-000000"], in_process=True, trust=True).short == ""
    assert {e.name: store.get(e.name) for e in store.list()} == {e.name: twin.get(e.name) for e in twin.list()}
    proxy.close()
