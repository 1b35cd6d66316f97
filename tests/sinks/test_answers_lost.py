"""The commit succeeded, its answer was lost: whoever repeats it commits nothing twice, and nothing is lost.

Two other systems committed such a shard twice. The server does what it is asked and the line breaks, on a real S3
server (Ceph) and one that answers as AWS does (moto); the client sees a reset and asks again.
"""

import uuid

import pytest

from lesionforge.sinks import index, layout
from lesionforge.sinks.commit import commit, publish, stage
from lesionforge.sinks.store import Store, StoreError, s3
from lesionforge.sinks.store.lease import hold
from tests.chaos.proxy import Proxy
from tests.sinks.samples import RECIPE, VERSION, packed, record_of, whole

SHARD = "train-000000"
NAMES = [layout.tar(SHARD), layout.dali(SHARD), layout.index(SHARD)]


@pytest.fixture(params=["ceph", "moto"])
def proxy(request, monkeypatch):
    """Between the store and the server."""
    line = Proxy(request.getfixturevalue(f"{request.param}_env"))
    for name, value in line.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3.random, "uniform", lambda low, high: 0.01)
    yield line
    line.close()


@pytest.fixture
def store(proxy) -> Store:
    store = Store(f"s3://lesionforge/{uuid.uuid4().hex}")
    store.exists("anything")  # connected
    return store


def lose(proxy: Proxy, kind: str, name: str, times: int) -> None:
    """Lose the first answers to a kind of request for an object."""
    proxy.fault = lambda call: "lost" if call.kind == kind and call.key.endswith(name) and call.count < times else ""


def check(store: Store, body, rows, record) -> None:
    assert record == record_of(body, rows)
    assert sorted(entry.name for entry in store.list()) == sorted(NAMES)
    assert store.get(NAMES[0]) == whole(body)
    assert index.read(store.get(NAMES[2])) == (record, rows)


@pytest.mark.parametrize("name", NAMES, ids=["tar", "dali", "index"])
def test_commit_succeeded_answer_lost(proxy, store, name):
    lose(proxy, "PUT", name, 2)
    body, rows = packed()
    record = commit(store, SHARD, RECIPE, VERSION, rows, body)
    assert proxy.injected["lost"] == 2
    check(store, body, rows, record)
    other, others = packed(pixels=1)  # a double worker, late
    assert commit(store, SHARD, RECIPE, VERSION, others, other) == record
    check(store, body, rows, record)
    written = [n for key, n in proxy._written.items() if key.endswith((NAMES[0], NAMES[2]))]
    assert written == [1, 1]


@pytest.mark.parametrize("name", [NAMES[0], NAMES[2]], ids=["tar", "index"])
def test_commit_succeeded_every_answer_lost_and_another_worker_tries_again(proxy, store, name):
    lose(proxy, "PUT", name, 99)
    body, rows = packed()
    with pytest.raises(StoreError, match="cannot write"):
        commit(store, SHARD, RECIPE, VERSION, rows, body)
    proxy.fault = lambda call: ""
    other, others = packed(lost={1})
    record = commit(store, SHARD, RECIPE, VERSION, others, other)
    check(store, body, rows, record)


@pytest.mark.parametrize("times", [2, 99], ids=["some answers", "every answer"])
@pytest.mark.parametrize("name", [NAMES[0], NAMES[2]], ids=["tar", "index"])
def test_publish_succeeded_answer_lost(proxy, store, name, times):
    store.conditional = False
    with hold(store, "run"):
        body, rows = packed()
        _, attempt = stage(store, SHARD, RECIPE, VERSION, rows, body)
        lose(proxy, "COPY", name, times)
        if times > 2:
            with pytest.raises(StoreError, match="cannot write"):
                publish(store, SHARD, RECIPE, attempt)
            proxy.fault = lambda call: ""
        record = publish(store, SHARD, RECIPE, attempt)
        check(store, body, rows, record)
        other, others = packed(pixels=1)
        _, late = stage(store, SHARD, RECIPE, VERSION, others, other)
        assert publish(store, SHARD, RECIPE, late) == record
        check(store, body, rows, record)
