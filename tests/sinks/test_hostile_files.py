"""What the fuzz campaign found in shards and indexes: nothing is made room for, or named, that a file only claims."""

import gzip
import json

import numpy as np
import pytest

from lesionforge.sinks import encode, index, limits
from lesionforge.sinks.commit import ForeignShard
from lesionforge.sinks.dataset import indexes
from lesionforge.sinks.encode import decode
from lesionforge.sinks.exports import export
from lesionforge.sinks.index import Record
from lesionforge.sinks.reader import Samples
from lesionforge.sinks.store import Store, StoreError
from tests.fuzz.kinds import datasets
from tests.fuzz.kinds import indexes as spoiled
from tests.sinks.samples import packed, record_of

NAME = "index/train-000000.parquet"


def npy(shape, descr="'<f8'", data=b""):
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head.encode() + data


@pytest.mark.parametrize("shape", ["(10**9,)", "(100000000,)", "(-1,)", "(2, 3)"])
def test_no_room_is_made_for_an_array_that_is_only_claimed(shape, monkeypatch):
    monkeypatch.setattr(np, "ndarray", None)
    with pytest.raises(ValueError, match=r"a\.npy: "):
        decode("a.npy", npy(shape, data=bytes(40)))


def test_arrays_of_objects_are_never_unpickled():
    with pytest.raises(ValueError, match="pickle, which is never read"):
        decode("a.npy", npy("(1,)", "'|O'", b"\x80\x04cos\nsystem\n(S'touch ran'\ntR."))


@pytest.mark.parametrize(
    "value", [np.arange(6.0).reshape(2, 3), np.zeros((0, 4)), np.array(3), np.array([True, False])]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back_as_they_were_and_can_be_changed(value, order):
    value = np.asarray(value, order=order)
    for name in ("a.npy", "a.npy.gz", "a.npy.zst"):
        found = decode(name, encode.encode(name, value))
        assert found.dtype == value.dtype
        assert np.array_equal(found, value)
        assert found.flags.writeable


def test_a_packed_member_is_unpacked_to_a_limit(monkeypatch):
    monkeypatch.setattr(limits, "UNPACKED", 10_000)
    with pytest.raises(ValueError, match="unpacks to more than 10000 bytes"):
        decode("a.json.gz", gzip.compress(bytes(2**24)))
    with pytest.raises(ValueError, match="unpacks to 80128 bytes; at most 10000 are read"):
        decode("a.npy.gz", gzip.compress(npy("(10000,)", data=bytes(80_000))))
    with pytest.raises(ValueError, match="at most 10000 are packed"):
        encode.encode("a.npy.gz", np.zeros(20_000, np.uint8))
    with pytest.raises(ValueError, match="unpacks to 80128 bytes; at most 10000 are read"):
        decode("a.npy.zst", encode.ZSTD.compress(npy("(10000,)", data=bytes(80_000)), asbytes=True))
    with pytest.raises(ValueError, match="at most 10000 are packed"):
        encode.encode("a.npy.zst", np.zeros(20_000, np.uint8))


def record(**changes):
    body, rows = packed()
    return index.write(rows, Record(**{**vars(record_of(body, rows)), **changes}))


@pytest.mark.parametrize(
    "change",
    [
        {"tar_sha256": "../../outside"},
        {"shard": "../../outside"},
        {"tar_bytes": -1},
        {"samples": "3"},
        {"tar_bytes": True},
        {"recipe": None},
        {"shard": "train-1/2"},
    ],
)
def test_totals_that_are_none_of_a_shard_are_refused(change):
    for read in (index.read, index.read_record, index.read_table):
        with pytest.raises(ValueError, match="its totals are not those of a shard"):
            read(record(**change))


def rows_with(**changes):
    body, rows = packed()
    told = record_of(body, rows)
    for name, value in changes.items():
        if name.startswith("member_"):
            rows[0].members[0][name.removeprefix("member_")] = value
        else:
            setattr(rows[0], name, value)
    return index.write(rows, told)


@pytest.mark.parametrize(
    "change",
    [
        {"sample_id": "../../outside"},
        {"sample_id": "a/b"},
        {"sample_id": "x" * 200},
        {"sample_id": ""},
        {"offset": -1},
        {"size": 2**62},
        {"size": None},
        {"members": None},
        {"members": []},
        {"labels": "["},
        {"member_offset": 2**62},
        {"member_size": -1},
        {"member_name": "../x.png"},
        {"labels": None},
        {"split": "training"},
        {"status": "fine"},
        {"labels": "[" * 100_000},
    ],
)
def test_rows_that_cannot_be_true_are_refused(change):
    index.read(rows_with())
    with pytest.raises(ValueError, match="no commit record of a shard"):
        index.read(rows_with(**change))


def test_other_columns_are_refused():
    import pyarrow as pa

    table = pa.table({"sample_id": ["a"]}).replace_schema_metadata(
        {"lesionforge": json.dumps(vars(record_of(*packed())))}
    )
    with pytest.raises(ValueError, match="its columns are not those of an index"):
        index.read(spoiled.parquet(table))


def test_millions_of_rows_in_a_small_file_are_not_read(monkeypatch):
    data = spoiled.many_rows(1_100_000)
    assert len(data) < 2_000_000
    monkeypatch.setattr("pyarrow.parquet.ParquetFile.read", None)
    with pytest.raises(ValueError, match="a shard has at most 100000"):
        index.read(data)


@pytest.fixture
def place(tmp_path):
    datasets.write(tmp_path, {})
    return Store(str(tmp_path / "dataset"))


def test_an_index_of_another_shard_is_refused_by_name(place):
    place.put(NAME, place.get("index/train-000001.parquet"))
    with pytest.raises(ForeignShard, match=r"train-000000\.parquet is about shard train-000001"):
        list(indexes(place, ["train-000000"]))


def test_an_id_that_leads_elsewhere_is_exported_nowhere(place, tmp_path):
    told, rows = index.read(place.get(NAME))
    rows[0].sample_id = "../../../outside"
    place.put(NAME, index.write(rows, told))
    for use in (lambda: export(place, tmp_path / "out", "coco"), lambda: Samples(place)):
        with pytest.raises(ValueError, match=r"train-000000\.parquet: .*an id is no sample's"):
            use()
    assert not list(tmp_path.glob("outside*"))


@pytest.mark.parametrize("box", [None, "x", [1, 2], [1, 2, float("1e999"), 4], {}])
def test_a_lesion_without_a_box_is_named_by_its_sample(box):
    from lesionforge.sinks.exports.frames import Frames
    from lesionforge.sinks.exports.pictures import Marked

    frames = Frames.__new__(Frames)
    with pytest.raises(ValueError, match="sample key: "):
        frames._box("key", Marked({}, box), 10, 10)


def test_no_room_is_made_for_a_range_that_the_tar_does_not_have(place):
    told, rows = index.read(place.get(NAME))
    rows[0].members[0]["size"] = 2**48
    place.put(NAME, index.write(rows, Record(**{**vars(told), "tar_bytes": 2**50})))
    for read in (lambda: Samples(place)[0], lambda: place.get_range("shards/train-000000.tar", 512, 2**48)):
        with pytest.raises(StoreError, match=r"train-000000\.tar ends before byte"):
            read()


def test_a_sample_that_stands_twice_in_an_index_is_refused():
    body, rows = packed()
    with pytest.raises(ValueError, match="stands in it twice"):
        index.read(index.write([*rows, rows[0]], record_of(body, [*rows, rows[0]])))
