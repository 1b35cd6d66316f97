"""A dataset as a map: what comes out is what was committed, in every kind of place."""

import json
import pickle
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import webdataset

from lesionforge.generators.types import UserError
from lesionforge.sinks import dataset, index, layout
from lesionforge.sinks.reader import Reader, Samples, collate, loader
from lesionforge.sinks.reader.ranges import GAP, merged
from lesionforge.sinks.store import Store, StoreError
from tests.sinks import stenoses

LOST = {2, 9}


@pytest.fixture(params=["memory", "local", "moto"])
def store(request, tmp_path, monkeypatch) -> Store:
    if request.param == "moto":
        for name, value in request.getfixturevalue("moto_env").items():
            monkeypatch.setenv(name, value)
        return Store(f"s3://lesionforge/{uuid.uuid4().hex}")
    return Store({"memory": f"memory://{uuid.uuid4().hex}", "local": str(tmp_path / "out")}[request.param])


@pytest.fixture
def local(tmp_path) -> Store:
    out = Store(str(tmp_path / "out"))
    stenoses.write(out, 20, lost=LOST)
    return out


def test_every_sample_comes_back_as_it_was_committed(store):
    kept = stenoses.write(store, 20, lost=LOST) + stenoses.write(store, 3, "val", first=100)
    samples = Samples(store)
    assert samples.keys == kept
    assert len(samples) == 21
    for i, sample in zip([*(i for i in range(20) if i not in LOST), 100, 101, 102], samples, strict=True):
        told = stenoses.meta(i, "val" if i >= 100 else "train")
        assert sample["__key__"] == told["sample_id"]
        assert sample["json"] == told
        assert sample.keys() == {"__key__", "json", *stenoses.fields(i)}
        for name, array in stenoses.fields(i).items():
            assert np.array_equal(sample[name], array)
    assert samples[-1]["__key__"] == kept[-1]
    assert [sample["__key__"] for sample in samples[1:9:3]] == kept[1:9:3]
    assert samples[30:] == []
    with pytest.raises(IndexError, match="sample 21 is outside the 21"):
        samples[21]
    with pytest.raises(UserError, match=r"samples\['train'\]: give a number or a slice"):
        samples["train"]


def test_only_the_members_asked_for_are_read(local, monkeypatch):
    read = list[int]()
    samples = Samples(local, members=["mask.png"], decoded=False)
    pread = dataset.Store.get_range
    monkeypatch.setattr("os.pread", _counting(read))
    sample = samples[3]
    assert sample.keys() == {"__key__", "mask.png"}
    assert read == [len(sample["mask.png"])] == samples.sizes(np.array([3])).tolist()
    assert pread is dataset.Store.get_range


def _counting(read):
    import os

    real = os.pread

    def pread(handle, size, offset):
        read.append(size)
        return real(handle, size, offset)

    return pread


def test_split_where_and_columns(local):
    stenoses.write(local, 4, "val", first=50)
    assert len(Samples(local, split="val")) == 4
    severe = Samples(local, split="train", where=lambda row: json.loads(row.labels)["side"] == "left")
    assert severe.column("labels.side") == ["left"] * len(severe)
    assert len(severe) == sum(i % 2 == 0 and i not in LOST for i in range(20))
    everything = Samples(local)
    assert everything.column("labels.requested.percent_ds") == [55.0] * 22
    assert everything.column("labels.lesions.0.severity_class")[:3] == [None, "moderate", None]
    assert everything.column("split") == ["train"] * 18 + ["val"] * 4
    with pytest.raises(ValueError, match="no column 'class'"):
        everything.column("class")
    with pytest.raises(ValueError, match="has a label 'grade'"):
        everything.column("labels.grade")


def test_opening_reads_the_ends_of_indexes_and_of_older_ones_their_rows(local, monkeypatch):
    """Rows are read when a column that no footer tells is asked for; what is opened is the same."""
    read = list[int]()
    real = index.read_table
    monkeypatch.setattr(index, "read_table", lambda data, *a, **k: read.append(len(data)) or real(data, *a, **k))
    opened = Samples(local)
    list(opened.read(range(18)))
    assert opened.column("target") == [stenoses.CLASSES[i % 3] for i in range(20) if i not in LOST]
    assert opened.column("split") == ["train"] * 18
    assert not read
    subjects = opened.column("subject")
    for path in local.local_path(layout.INDEX).iterdir():
        record, rows = index.read(path.read_bytes())
        with monkeypatch.context() as patch:
            patch.setattr(index, "_spans", lambda rows, record: None)  # as versions before wrote them
            path.write_bytes(index.write(rows, record))
    read.clear()
    older = Samples(local)
    assert read
    assert (older.keys, older.members, older.fingerprint) == (opened.keys, opened.members, opened.fingerprint)
    assert older.column("target") == opened.column("target")
    assert older.column("subject") == subjects
    assert np.array_equal(older.sizes(np.arange(18)), opened.sizes(np.arange(18)))
    for ours, theirs in zip(older, opened, strict=True):
        assert ours.keys() == theirs.keys()
        assert ours["json"] == theirs["json"]


def test_a_dataset_that_has_changed_since_it_was_opened_says_so(local):
    samples = Samples(local)
    stenoses.write(other := Store(f"memory://{uuid.uuid4().hex}"), 20, lost={3})
    for entry in other.list(layout.INDEX):
        local.put(entry.name, other.get(entry.name))
    with pytest.raises(UserError, match="has changed since it was opened: open it again"):
        samples.column("subject")


def test_errors_name_what_is_missing(local, tmp_path):
    stenoses.write(local, 1, "val", first=50, lost={50})
    with pytest.raises(UserError, match=r"no committed samples of split 'val'"):
        Samples(local, split="val")
    with pytest.raises(UserError, match=r"has no split 'tra'; it has train, val$"):
        Samples(local, split="tra")
    with pytest.raises(ValueError, match=r"that `where` keeps"):
        Samples(local, where=lambda row: False)
    with pytest.raises(ValueError, match=r"has no member 'view0.png'; the dataset's members are image.png, json"):
        Samples(local, members=["view0.png"])
    with pytest.raises(UserError, match="nowhere: no such folder"):
        Samples(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no committed samples"):
        Samples(tmp_path)
    with pytest.raises(UserError, match=r"^members is 'json', no list of names: give members="):
        Samples(local, members="json")
    with pytest.raises(UserError, match=r"^where is 'severe': give a function"):
        Samples(local, where="severe")
    samples = Samples(local)
    where = local.local_path(layout.tar("train-000000"))
    sound = where.read_bytes()
    where.write_bytes(sound.replace(b"IDAT", b"NONE"))
    with pytest.raises(ValueError, match=r"sample train-0000-00000001 of .*image.png: .*see lesionforge verify"):
        samples[1]
    where.write_bytes(where.read_bytes()[:2000])
    with pytest.raises(StoreError, match="ends before byte"):
        samples[1]
    local.put(layout.index("train-000001"), b"damaged")
    with pytest.raises(ValueError, match=r"train-000001.parquet: .*verify --repair"):
        Samples(local)


def test_it_says_what_it_is(local):
    samples = Samples(local, split="train", members=["image.png", "json"])
    told = f"<Samples of {local.url()}, split train: 18 samples, members image.png, json>"
    assert repr(samples) == told
    reader = Reader(samples, batch=4, rank=1, ranks=2)
    assert repr(reader) == (
        f"<Reader of 18 samples an epoch in batches of 4, rank 1 of 2, at epoch 0, position 0, from {told}>"
    )


def test_webdataset_reads_the_same_samples(local):
    shards = sorted(map(str, local.local_path(layout.SHARDS).glob("*.tar")))
    theirs = {s["__key__"]: s for s in webdataset.WebDataset(shards, shardshuffle=False).decode("l8")}
    ours = Samples(local)
    assert list(theirs) == ours.keys
    for sample in ours:
        other = theirs[sample["__key__"]]
        assert other["json"] == sample["json"]
        for name in ("image.png", "source.png", "mask.png"):
            assert np.array_equal(other[name], sample[name])


def test_ranges_close_together_are_asked_for_as_one():
    wanted = [(1, 5000, 10), (0, 100, 50), (0, 150 + GAP, 7), (0, 120, 10), (1, 5011 + GAP, 1)]
    spans = merged(wanted, GAP)
    assert [span for span, _ in spans] == [(0, 100, 57 + GAP), (1, 5000, 10), (1, 5011 + GAP, 1)]
    assert sorted(part for _, parts in spans for part in parts) == sorted(wanted)


class Counted(Store):
    """Counts requests for parts of shards, and their bytes."""

    def __init__(self, url, options=None):
        super().__init__(url, options)
        self.asked = list[tuple[str, int]]()

    def get_range(self, path, offset, size):
        if path.startswith(layout.SHARDS):
            self.asked.append((path, size))
        return super().get_range(path, offset, size)


def test_remote_neighbours_come_in_one_request_and_a_cache_asks_once(tmp_path):
    store = Counted(f"memory://{uuid.uuid4().hex}")
    stenoses.write(store, 20, shard=10)
    samples = Samples(store, cache=tmp_path / "cache")
    first = list(samples.read(range(20)))
    assert [path for path, _ in store.asked] == [layout.tar("train-000000"), layout.tar("train-000001")]
    again = Samples(store, members=["json", "image.png"], cache=tmp_path / "cache").read(range(20))
    assert len(store.asked) == 2
    assert all(np.array_equal(a["image.png"], b["image.png"]) for a, b in zip(first, again, strict=True))
    tar = next((tmp_path / "cache").glob("*.part"))
    assert tar.stat().st_size <= max(store.size(path) for path, _ in store.asked)


def test_a_cache_keeps_what_was_read_only_and_never_another_shard(tmp_path):
    store = Counted(f"memory://{uuid.uuid4().hex}")
    stenoses.write(store, 12, shard=12)
    Samples(store, members=["mask.png"], cache=tmp_path)[0]
    samples = Samples(store, cache=tmp_path)
    assert np.array_equal(samples[0]["image.png"], stenoses.fields(0)["image.png"])
    assert len(store.asked) > 1
    other = Counted(f"memory://{uuid.uuid4().hex}")
    stenoses.write(other, 12, shard=12, first=30)
    assert Samples(other, cache=tmp_path)[0]["json"]["case"] == 30


def test_threads_and_other_processes_may_share_it(local, monkeypatch):
    monkeypatch.setattr("lesionforge.sinks.reader.ranges.OPEN_FILES", 1)  # files are pushed out while others read them
    samples = Samples(local, members=["image.png"])
    expected = [sample["image.png"] for sample in samples]
    with ThreadPoolExecutor(8) as pool:
        for i, sample in zip([*range(18)] * 20, pool.map(samples.__getitem__, [*range(18)] * 20), strict=True):
            assert np.array_equal(sample["image.png"], expected[i])
    copy = pickle.loads(pickle.dumps(samples))
    assert copy.keys == samples.keys
    assert np.array_equal(copy[5]["image.png"], expected[5])


def test_what_no_thread_reads_is_announced_to_the_disk(local, monkeypatch):
    told = list[tuple[int, int]]()
    monkeypatch.setattr("os.posix_fadvise", lambda handle, offset, size, advice: told.append((offset, size)))
    samples = Samples(local, members=["image.png", "json"], decoded=False)
    samples.read(range(18))
    samples.expect(range(18))
    assert not told  # just written: all of it is in memory
    monkeypatch.setattr("lesionforge.sinks.reader.ranges.Ranges._in_memory", lambda self, item: False)
    assert len(list(Reader(samples, shuffle=False))) == 18
    assert not told  # one stretch only, nothing to announce
    monkeypatch.setattr("lesionforge.sinks.reader.reader.LOOKAHEAD", (5, 1 << 30))
    assert len(list(Reader(samples, shuffle=False))) == 18
    covered = sum(size for _, size in told)
    assert covered >= samples.sizes(np.arange(5, 18)).sum()
    assert covered < 1.5 * samples.sizes(np.arange(18)).sum() + 18 * 4096


def test_arrays_can_be_written_and_batches_collated_by_torch(local):
    """Pillow's memory is read-only, of which torch warns; its own collate cannot take a label that is None."""
    torch = pytest.importorskip("torch")
    samples = Samples(local)
    assert all(array.flags.writeable for array in samples[0].values() if isinstance(array, np.ndarray))
    batches = list(torch.utils.data.DataLoader(samples, batch_size=4, collate_fn=collate))
    batch = batches[0]
    assert batch["image.png"].shape == (4, stenoses.ROWS, stenoses.COLUMNS)
    assert batch["json"] == [samples[i]["json"] for i in range(4)]
    assert batch["__key__"] == samples.keys[:4]
    (again,) = loader(Reader(samples, batch=len(samples), shuffle=False), workers=0, collate_fn=collate)
    assert torch.equal(again["mask.png"][:4], batch["mask.png"])
    odd = [{"a": np.zeros(2)}, {"a": np.zeros(3), "b": 1}]
    assert collate(odd)["b"] == [None, 1]
    assert [len(array) for array in collate(odd)["a"]] == [2, 3]


def test_without_torch_the_extra_is_named_in_one_line(local, monkeypatch):
    stenoses_read = Samples(local, split="train")
    for name in ("torch", "torch.utils", "torch.utils.data"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"iterate the Reader itself.*pip install 'lesionforge\[train\]'"):
        loader(Reader([stenoses_read], batch=1, seed=0), workers=0)
    with pytest.raises(UserError, match=r"as lists, or pip install 'lesionforge\[train\]'"):
        collate([stenoses_read[0]])


def test_the_rooms_names_are_loaded_when_used():
    code = (
        "import sys, lesionforge.sinks as sinks\n"
        "assert not {'numpy', 'pyarrow', 'torch', 'fsspec'} & set(sys.modules)\n"
        "for name in sinks.__all__: getattr(sinks, name)\n"
        "assert not {'torch', 'ray'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
