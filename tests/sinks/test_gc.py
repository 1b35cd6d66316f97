"""gc removes what nobody refers to, and nothing else."""

import json
import os
import time
import uuid
from pathlib import Path

import pytest

from lesionforge.jobs.commands import gc as job
from lesionforge.sinks import layout
from lesionforge.sinks.gc import collect
from lesionforge.sinks.store import Store, StoreError
from lesionforge.sinks.store.lease import hold
from tests.engine.conftest import toy
from tests.engine.test_worker import run

TOKEN, ATTEMPT = "a" * 32, "b" * 32
LEFT = {
    f"{TOKEN}/{ATTEMPT}.tar": 7,
    f"{TOKEN}/{ATTEMPT}.idx": 1,
    f"{TOKEN}/{ATTEMPT}.parquet": 2,
    ATTEMPT: 3,
    f"probe-{TOKEN}": 4,
    f"gc-{TOKEN}": 5,
}


@pytest.fixture(params=["memory", "local", "ceph"])
def store(request, tmp_path, monkeypatch) -> Store:
    """A finished dataset, with leftovers of every kind and somebody's own files."""
    place = {"memory": f"memory://{uuid.uuid4().hex}", "local": str(tmp_path / "out")}.get(request.param)
    if request.param == "ceph":
        for name, value in request.getfixturevalue("ceph_env").items():
            monkeypatch.setenv(name, value)
        place = f"s3://lesionforge/{uuid.uuid4().hex}"
    store, _ = run(toy(), place)
    dead = json.dumps({"kind": "gc", "process": "elsewhere 1 1", "beats": 1}).encode()
    for name, size in LEFT.items():
        store.hidden().put(name, dead if name.startswith("gc-") else bytes(size))
    store.put(layout.tar("train-000099"), bytes(100))
    store.put(layout.dali("train-000098"), bytes(10))
    for mine in ("shards/notes.txt", "notes", "index/notes"):
        store.put(mine, b"mine")
    store.hidden().put("notes", b"mine")
    return store


LEFTOVERS = {f".tmp/{name}" for name in LEFT} | {layout.tar("train-000099"), layout.dali("train-000098")}


def all_of(store: Store) -> dict[str, bytes]:
    hidden = {f".tmp/{e.name}": store.hidden().get(e.name) for e in store.hidden().list()}
    return hidden | {e.name: store.get(e.name) for e in store.list()}


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr("lesionforge.sinks.store.lease.STALE", 1.0)
    monkeypatch.setattr("lesionforge.sinks.store.lease.BEAT", 0.2)


def test_leftovers_go_and_everything_else_stays(store):
    before = all_of(store)
    found = collect(store, young=0)
    assert {entry.name for entry in found.removed} == LEFTOVERS
    assert found.young == found.kept == []
    assert all_of(store) == {name: data for name, data in before.items() if name not in LEFTOVERS}
    assert collect(store, young=0).removed == []


def test_a_dry_run_says_the_same_and_touches_nothing(store):
    before = all_of(store)
    body = job.gc(store._root, dry_run=True, young=-60)  # this machine's clock may be behind the server's
    assert {entry["name"] for entry in body["removed"]} == LEFTOVERS
    assert body["bytes"] == sum(len(before[name]) for name in LEFTOVERS)
    assert all_of(store) == before
    removed = job.gc(store._root, young=0)
    assert {**removed, "dry_run": True} == body


def test_what_is_young_stays(store):
    before = all_of(store)
    found = collect(store)
    assert found.removed == []
    assert {entry.name for entry in found.young} == LEFTOVERS
    assert all_of(store) == before


def test_never_while_a_run_is_at_work(store, monkeypatch):
    with hold(Store(store._root), "run") as held:
        before = all_of(store)
        monkeypatch.setattr("lesionforge.sinks.store.lease.STALE", 60.0)
        with pytest.raises(StoreError, match="a run is at work"):
            collect(store, young=0)
        assert all_of(store).keys() == before.keys() | {f".tmp/{held.name}"}


def test_a_finished_shard_whose_index_was_lost_is_kept_for_rebuilding(store):
    store.delete(layout.index("train-000000"))
    found = collect(store, young=0)
    kept = {layout.tar("train-000000"), layout.dali("train-000000")}
    assert {entry.name for entry in found.kept} == kept
    assert store.exists(layout.tar("train-000000"))


def test_ages_go_by_the_files_own_times(tmp_path):
    store, _ = run(toy(), tmp_path)
    for name, age in (("old", 4000), ("new", 3000)):
        path = Path(tmp_path / "shards" / f"train-{name}.tar")
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age,) * 2)
    assert [entry.name for entry in collect(store).removed] == ["shards/train-old.tar"]


def test_a_place_that_holds_nothing_is_an_error_and_stays_as_it_is(tmp_path):
    with pytest.raises(StoreError, match="holds no dataset"):
        job.gc(str(tmp_path / "nowhere"))
    assert list(tmp_path.iterdir()) == []
