"""A shard is committed exactly once and whole, whoever else is writing it (promise P3)."""

import hashlib
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from lesionforge.sinks import index, layout, tar
from lesionforge.sinks.commit import ForeignShard, commit, committed, drop, publish, rebuilt_rows, stands
from lesionforge.sinks.dali import dali
from lesionforge.sinks.index import Row
from lesionforge.sinks.store import Store
from lesionforge.sinks.tar import Tar
from tests.sinks.samples import RECIPE, VERSION, name_of, packed, record_of, whole

SHARD = "train-000000"
TAR, INDEX, DALI = layout.tar(SHARD), layout.index(SHARD), layout.dali(SHARD)


@pytest.fixture(params=["memory", "local", "ceph", "moto"])
def store(request, tmp_path, monkeypatch) -> Store:
    """An empty store in each kind of place."""
    if request.param in ("ceph", "moto"):
        for name, value in request.getfixturevalue(f"{request.param}_env").items():
            monkeypatch.setenv(name, value)
        return Store(f"s3://lesionforge/{uuid.uuid4().hex}")
    return Store({"memory": f"memory://{uuid.uuid4().hex}", "local": str(tmp_path / "out")}[request.param])


def commit_(store: Store, body: Tar, rows: list[Row], recipe: str = RECIPE):
    return commit(store, SHARD, recipe, VERSION, rows, body)


def state(store: Store) -> dict[str, bytes]:
    return {entry.name: store.get(entry.name) for entry in store.list()}


def agree(store: Store) -> bool:
    """The tar is whole, and the record tells of this very tar."""
    data = store.get(TAR)
    record, rows = index.read(store.get(INDEX))
    sound = (record.tar_sha256, record.tar_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    return sound and index.from_tar(data, RECIPE) == [row for row in rows if row.status == "ok"]


def test_the_first_writer_commits_tar_and_record(store):
    body, rows = packed(4, lost={2})
    record = commit_(store, body, rows)
    assert record == record_of(body, rows)
    assert (record.samples, record.quarantined) == (3, 1)
    assert index.read(store.get(INDEX)) == (record, rows)
    assert set(state(store)) == {TAR, INDEX, DALI}
    assert agree(store)
    assert committed(store, SHARD, RECIPE) == record


@pytest.mark.parametrize("pixels", [0, 1], ids=["the same bytes", "other pixels"])
def test_a_late_second_writer_changes_nothing_and_gets_the_first_ones_record(store, pixels):
    first = commit_(store, *packed())
    before = state(store)
    assert commit_(store, *packed(pixels=pixels)) == first
    assert state(store) == before


def test_a_late_writer_that_lost_a_sample_changes_nothing(store):
    first = commit_(store, *packed())
    before = state(store)
    assert commit_(store, *packed(lost={1})) == first
    assert state(store) == before


def test_an_identical_tar_of_a_dead_attempt_is_adopted(store):
    body, rows = packed(3, lost={0})
    store.put_new(TAR, whole(packed(3, lost={0})[0]))
    assert commit_(store, body, rows) == record_of(body, rows)
    assert index.read(store.get(INDEX))[1] == rows
    assert agree(store)


@pytest.mark.parametrize("lost", [(), {0}], ids=["all there", "another sample lost"])
def test_a_tar_without_an_index_that_differs_in_a_sample_is_made_again(store, lost):
    """It has rotted: who holds the true bytes must not write the rotten ones' hash over theirs."""
    body, rows = packed()
    rotten = bytearray(whole(packed(lost=lost)[0]))
    at = bytes(rotten).rindex(b'"alpha":0.1') + 10  # a digit of a measurement: every member can still be read
    rotten[at] = ord("3")
    store.put_new(TAR, bytes(rotten))
    assert commit_(store, body, rows) == record_of(body, rows)
    assert store.get(TAR) == whole(body)
    assert agree(store)


def test_a_tar_of_the_hash_that_the_manifest_knows_is_never_outvoted():
    """Its index was lost, and this machine makes other pixels."""
    store = Store(f"memory://{uuid.uuid4().hex}")
    theirs, their_rows = packed(pixels=1)
    store.put_new(TAR, whole(theirs))
    body, rows = packed()
    record = commit(store, SHARD, RECIPE, VERSION, rows, body, theirs.close)
    assert record == record_of(theirs, their_rows)
    assert agree(store)


@pytest.mark.parametrize(
    "theirs",
    [lambda: whole(packed(lost={1})[0]), lambda: whole(packed()[0])[:-1], lambda: b"rubbish"],
    ids=["a sample lost", "cut", "rubbish"],
)
def test_a_tar_of_another_hash_than_the_manifest_knows_is_made_again(theirs):
    """Whatever is wrong with it: what is common may be equal, or the rotten sample be lost to this attempt."""
    store = Store(f"memory://{uuid.uuid4().hex}")
    store.put_new(TAR, theirs())
    body, rows = packed()
    record = commit(store, SHARD, RECIPE, VERSION, rows, body, lambda: record_of(body, rows).tar_sha256)
    assert record == record_of(body, rows)
    assert store.get(TAR) == whole(body)


def test_what_a_dead_attempt_had_lost_is_quarantined_and_what_it_had_made_is_kept(store):
    theirs, _ = packed(4, lost={1})
    store.put_new(TAR, whole(theirs))
    commit_(store, *packed(4, lost={2}))
    _, rows = index.read(store.get(INDEX))
    assert [row.status for row in rows] == ["ok", "quarantined", "ok", "ok"]
    assert rows[1].reason == "quarantined by the attempt that wrote this shard's tar"
    assert rows[1].sample_id == name_of(1)
    assert agree(store)


@pytest.mark.parametrize(
    "rubbish",
    [b"", b"rubbish", whole(packed()[0])[:-1], whole(packed(4)[0]), whole(packed(first=7)[0])],
    ids=["empty", "rubbish", "cut", "one sample more", "other samples"],
)
def test_what_is_no_tar_of_this_shard_is_refused_by_name_and_left_alone(store, rubbish):
    store.put_new(TAR, rubbish)
    with pytest.raises(ForeignShard, match=TAR):
        commit_(store, *packed())
    assert state(store) == {TAR: rubbish}


def test_a_shard_of_another_recipe_is_refused_by_name_and_left_alone(store):
    commit_(store, *packed(), recipe="b" * 64)
    before = state(store)
    with pytest.raises(ForeignShard, match=INDEX):
        commit_(store, *packed())
    with pytest.raises(ForeignShard, match="b" * 12):
        committed(store, SHARD, RECIPE)
    with pytest.raises(ForeignShard, match="b" * 12):
        drop(store, SHARD, RECIPE)
    assert state(store) == before


def test_a_shard_not_committed_is_not_found(store):
    store.put_new(TAR, whole(packed()[0]))
    with pytest.raises(FileNotFoundError):
        committed(store, SHARD, RECIPE)


def test_of_writers_at_once_one_commits_and_nobody_ever_sees_half_a_shard(store):
    """Six writers, each of which lost another sample, while a reader lists and reads all the time."""
    writers, done = 6, threading.Event()
    start = threading.Barrier(writers)

    def write(lost: int):
        body, rows = packed(20, lost={lost})
        start.wait()
        return commit_(store, body, rows)

    def watch() -> int:
        seen = 0
        while not done.is_set():
            for entry in store.list(layout.SHARDS):
                assert entry.name == TAR
                assert len(list(tar.read(store.get(entry.name)))) == 19
                seen += 1
            for _ in store.list(layout.INDEX):
                assert agree(store)
        return seen

    with ThreadPoolExecutor(writers + 1) as pool:
        watcher = pool.submit(watch)
        records = list(pool.map(write, range(writers)))
        done.set()
        watcher.result()
    assert set(records) == {committed(store, SHARD, RECIPE)}
    assert set(state(store)) == {TAR, INDEX, DALI}
    assert agree(store)


def test_rebuilt_rows_keep_the_reasons_that_are_known():
    body, rows = packed(4, lost={0, 3})
    planned = [rows[0], *(Row(row.sample_id, "train", 0, 0, row.case, row.target) for row in rows[1:])]
    found = rebuilt_rows(whole(body), planned, "unknown", RECIPE)
    assert [row.reason for row in found] == ["source: unreadable", None, None, "unknown"]
    assert found[1:3] == rows[1:3]


def test_a_tar_stands_in_the_size_that_was_committed_or_not_at_all():
    store = Store(f"memory://{uuid.uuid4().hex}")
    assert not stands(store, SHARD, 3)
    store.put(TAR, b"abc")
    assert [stands(store, SHARD, size) for size in (2, 3, 4)] == [False, True, False]


def test_dali_s_index_of_an_attempt_whose_tar_was_collected_is_replaced():
    store = Store(f"memory://{uuid.uuid4().hex}")
    store.put(DALI, b"of another tar")
    body, rows = packed()
    commit_(store, body, rows)
    assert store.get(DALI) == dali(rows)


def test_what_commits_is_published_last(monkeypatch):
    paths: list[str] = []
    monkeypatch.setattr(Store, "publish", lambda self, stage, path: paths.append(path))
    with pytest.raises(FileNotFoundError):  # nothing is committed here
        publish(Store(f"memory://{uuid.uuid4().hex}"), SHARD, RECIPE, "run/attempt")
    assert paths == [TAR, DALI, INDEX]
