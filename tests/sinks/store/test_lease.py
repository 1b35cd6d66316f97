"""A run and gc exclude each other, two runs do where the place does not keep them apart, and the dead block nobody."""

import json
import multiprocessing
import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from lesionforge.sinks.store import Store, StoreError, lease
from lesionforge.sinks.store.lease import hold


@pytest.fixture(params=["memory", "local", "ceph"])
def store(request, tmp_path, monkeypatch) -> Store:
    monkeypatch.setattr(lease, "BEAT", 0.2)
    monkeypatch.setattr(lease, "STALE", 60.0)  # the living are never that silent, however slow the machine
    if request.param == "ceph":
        for name, value in request.getfixturevalue("ceph_env").items():
            monkeypatch.setenv(name, value)
        return Store(f"s3://lesionforge/{uuid.uuid4().hex}")
    return Store({"memory": f"memory://{uuid.uuid4().hex}", "local": str(tmp_path / "out")}[request.param])


def again(store: Store) -> Store:
    """Another process's view of the same place."""
    other = Store(store._root)
    other.conditional = store.conditional
    return other


def marks(store: Store) -> list[str]:
    return [entry.name for entry in store.hidden().list()]


def left_by(store: Store, kind: str, process: str) -> str:
    """The lease of a process that is no more."""
    name = f"{kind}-{uuid.uuid4().hex}"
    store.hidden().put(name, json.dumps({"kind": kind, "process": process, "beats": 3}).encode())
    return name


def test_a_mark_is_there_while_the_work_goes_on_and_gone_after(store):
    with hold(store, "run") as held:
        assert marks(store) == [held.name]
        held.check()
        assert store.list() == []
    assert marks(store) == []
    with pytest.raises(ZeroDivisionError), hold(store, "run"):
        raise ZeroDivisionError
    assert marks(store) == []


@pytest.mark.parametrize(("first", "second"), [("run", "gc"), ("gc", "run"), ("gc", "gc")])
def test_run_and_gc_exclude_each_other(store, first, second):
    with hold(store, first) as held:
        what = "a run" if first == "run" else "gc"
        with pytest.raises(StoreError, match=f"{what} is at work in .*: wait for its end"), hold(again(store), second):
            pytest.fail("both are in")
        held.check()
        assert marks(store) == [held.name]


def test_runs_exclude_each_other_only_where_the_place_does_not(store):
    with hold(store, "run"), hold(again(store), "run"):
        assert store.lease is None
    store.conditional = False
    with hold(store, "run") as held:
        assert store.lease == held.token
        with pytest.raises(StoreError, match="a run is at work"), hold(again(store), "run"):
            pytest.fail("both are in")
    assert store.lease is None


def test_of_runs_that_begin_at_once_no_two_get_in(store):
    store.conditional = False
    inside, most, lock = 0, 0, threading.Lock()
    start = threading.Barrier(4)

    def run(number: int) -> bool:
        nonlocal inside, most
        mine = again(store)
        start.wait()
        try:
            with hold(mine, "run") as held:
                with lock:
                    inside += 1
                    most = max(most, inside)
                held._stop.wait(0.5)
                with lock:
                    inside -= 1
            return True
        except StoreError:
            return False

    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            list(pool.map(run, range(4)))
    assert most <= 1
    assert marks(store) == []
    assert run_alone(store)


def run_alone(store: Store) -> bool:
    with hold(store, "run"):
        return True


def test_a_process_that_is_gone_blocks_nobody(store):
    child = multiprocessing.get_context("fork").Process(target=os._exit, args=(0,))
    child.start()
    child.join()
    *machine, _ = lease._process().split(" ")
    dead = left_by(store, "run", " ".join([*machine, str(child.pid)]))
    told = []
    with hold(store, "gc", told.append) as held:
        assert marks(store) == sorted([dead, held.name])  # a leftover like others, for its time
    assert told == []


def test_a_mark_of_another_machine_blocks_until_it_is_stale(store, monkeypatch):
    store.conditional = False
    monkeypatch.setattr(lease, "STALE", 1.0)
    dead = left_by(store, "run", "elsewhere 1 1")
    stage, told = f"{dead.partition('-')[2]}/{'0' * 32}", []
    store.hidden().put(stage, b"staged")
    with hold(store, "run", told.append) as held:
        assert marks(store) == [held.name]  # it can publish nothing any more
    assert len(told) == 1
    assert "looking" in told[0]


def test_who_was_taken_for_dead_is_told(store):
    store.conditional = False
    with hold(store, "run") as held:
        store.hidden().delete(held.name)
        with pytest.raises(StoreError, match="another may have taken its place"):
            held.check()
        held._stop.wait(0.5)
        assert marks(store) == []  # and does not come back


def test_who_was_silent_for_long_is_told(store, monkeypatch):
    store.conditional = False
    with hold(store, "run") as held:
        held._stop.set()
        held._thread.join()
        monkeypatch.setattr(lease, "STALE", -1.0)
        with pytest.raises(StoreError, match="was silent"):
            held.check()
