"""Where creation is not conditional: stages are nobody's until published, and once revoked they never are.

Whole runs, two drivers and late requests are in tests/chaos/storage_alone.py. Here no second creator is ever refused,
as the store is told that its server does not.
"""

import uuid

import pytest

from lesionforge.jobs.commands.verify import verify
from lesionforge.sinks import index, layout
from lesionforge.sinks.commit import publish, stage
from lesionforge.sinks.store import Store, StoreError
from lesionforge.sinks.store.lease import hold
from tests.engine.conftest import toy
from tests.engine.test_worker import run
from tests.sinks.samples import RECIPE, VERSION, packed, record_of, whole

SHARD = "train-000000"
TAR, INDEX = layout.tar(SHARD), layout.index(SHARD)


@pytest.fixture(params=["ceph", "moto"])
def store(request, monkeypatch) -> Store:
    for name, value in request.getfixturevalue(f"{request.param}_env").items():
        monkeypatch.setenv(name, value)
    store = Store(f"s3://lesionforge/{uuid.uuid4().hex}")
    store.conditional = False
    return store


def stage_(store: Store, pixels: int = 0):
    body, rows = packed(pixels=pixels)
    record, attempt = stage(store, SHARD, RECIPE, VERSION, rows, body)
    assert record == record_of(body, rows)
    return record, attempt, whole(body)


def test_a_staged_shard_is_not_seen_until_it_is_published(store):
    with hold(store, "run"):
        record, attempt, data = stage_(store)
        assert store.list() == []
        assert publish(store, SHARD, RECIPE, attempt) == record
        assert store.get(TAR) == data
        assert index.read_record(store.get(INDEX)) == record
        assert [entry.name for entry in store.hidden().list()] == [f"run-{store.lease}"]


def test_of_two_attempts_the_first_that_is_published_stays(store):
    with hold(store, "run"):
        first, one, data = stage_(store)
        second, two, _ = stage_(store, pixels=1)
        assert first != second
        assert publish(store, SHARD, RECIPE, one) == first
        assert publish(store, SHARD, RECIPE, two) == first
        assert store.get(TAR) == data


def test_what_a_dead_run_has_staged_is_revoked_by_the_next(store):
    with hold(store, "run"):
        _, attempt, _ = stage_(store, pixels=1)
    with hold(store, "run"):
        with pytest.raises(StoreError, match="another run has taken this place over"):
            publish(store, SHARD, RECIPE, attempt)
        assert store.list() == []
        record, mine, data = stage_(store)
        publish(store, SHARD, RECIPE, mine)
        for suffix, path in ((".tar", TAR), (".parquet", INDEX)):  # a copy of its that lands even later
            with pytest.raises(FileNotFoundError):
                store.publish(attempt + suffix, path)
    assert store.get(TAR) == data
    assert index.read_record(store.get(INDEX)) == record


def test_half_of_a_publication_is_no_shard_and_is_replaced_whole(store):
    with hold(store, "run"):
        _, attempt, data = stage_(store, pixels=1)
        store.publish(f"{attempt}.tar", TAR)  # and the driver dies
    with hold(store, "run"):
        assert store.get(TAR) == data
        record, mine, ours = stage_(store)
        assert publish(store, SHARD, RECIPE, mine) == record
        assert store.get(TAR) == ours


def test_put_new_creates_once_and_leaves_nothing(store):
    with pytest.raises(StoreError, match="only a run with the lease may write"):
        store.put_new("recipe.json", b"nobody's")
    with hold(store, "run") as held:
        assert store.put_new("recipe.json", b"first")
        assert not store.put_new("recipe.json", b"second")
        assert store.get("recipe.json") == b"first"
        assert [entry.name for entry in store.hidden().list()] == [held.name]


def test_the_case_that_is_not_covered_is_noticed(store):
    """A dead driver's PUT and then its COPY, both executed after its successor has finished: see `sinks.commit`."""
    store.conditional = True
    run(toy(), store._root)
    before, shard = store.get(layout.tar("train-000001")), store.get(layout.tar("train-000000"))
    store.hidden().put("late", shard)
    store.publish("late", layout.tar("train-000001"))
    assert store.get(layout.tar("train-000001")) != before
    assert any("train-000001.tar" in problem for problem in verify(store).problems)
