"""Small files that become large: each is refused before there is room made for it."""

import gzip
import json
import os
import resource
from functools import partial

import pyarrow as pa
import pytest

from lesionforge.sinks import dataset, index, layout, limits, parquet
from lesionforge.sinks.commit import ForeignShard, committed
from lesionforge.sinks.encode import decode
from lesionforge.sinks.index import Record, Row
from lesionforge.sinks.limits import parsed
from lesionforge.sinks.store import Store, StoreError
from lesionforge.sinks.store.s3 import LARGEST_PUT
from tests.sinks import bombs
from tests.sinks.samples import packed, record_of

GIB = 2**30


@pytest.fixture(scope="module")
def made():
    """To make a bomb takes room, too."""
    return {"dictionary": bombs.dictionary(), "prefixes": bombs.prefixes(), "members": bombs.members(600_000)}


@pytest.fixture(autouse=True)
def _less_than_a_gibibyte(made):
    """More than the room that was taken when the test began, and a gibibyte, cannot be had."""
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + GIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_texts_that_a_dictionary_multiplies_are_reckoned_before_they_are_made(made):
    data = made["dictionary"]
    assert len(data) < 100_000
    with pytest.raises(ValueError, match=r"its texts become 140\d+ bytes; at most 134217728 are read"):
        index.read(data)


def test_texts_that_prefixes_multiply_are_not_read(made):
    data = made["prefixes"]
    assert len(data) < 100_000
    with pytest.raises(ValueError, match="a page is not of the kind that is written here"):
        index.read(data)


def test_a_row_of_very_many_members_is_not_read(made, monkeypatch):
    monkeypatch.setattr(parquet, "VALUES", 500_000)
    data = made["members"]
    assert len(data) < 100_000
    with pytest.raises(ValueError, match="it becomes more than 500000 values"):
        index.read(data)


@pytest.mark.parametrize("samples", [0, 2, 4])
def test_rows_are_as_many_as_the_totals_say(samples):
    body, rows = packed()
    told = record_of(body, rows)
    with pytest.raises(ValueError, match="it claims 3 rows"):
        index.read(index.write(rows, Record(**{**vars(told), "samples": samples})))


def test_a_tar_has_room_for_its_samples():
    body, rows = packed()
    told = record_of(body, rows)
    with pytest.raises(ValueError, match="has no room for 3 samples"):
        index.read(index.write(rows, Record(**{**vars(told), "tar_bytes": 3071})))


def test_what_could_not_be_read_is_not_written(monkeypatch):
    body, rows = packed()
    monkeypatch.setattr(limits, "VALUES", 50)
    with pytest.raises(ValueError, match="is too large to be read"):
        index.write(rows, record_of(body, rows))


@pytest.mark.parametrize(("rows", "members"), [(100_001, 0), (1, 2_500_000)])
def test_a_shard_of_more_than_a_shard_holds_is_not_written(rows, members):
    row = Row("train-0000-00000000", "train", 0, 0, 0, members=range(members))
    told = Record("train-000000", "a" * 64, "b" * 64, 2**40, rows, 0, "1")
    with pytest.raises(ValueError, match="is too large to be read"):
        index.write([row] * rows, told)


def test_an_index_is_bounded_as_a_whole_in_its_footer_and_in_its_pieces(tmp_path):
    with pytest.raises(ValueError, match="of which a footer: at most 67108864 and 4194304 are read"):
        parquet.opened(bytes(2**26 + 1))
    footer = 2**22 + 1
    with pytest.raises(ValueError, match="of which a footer: at most"):
        parquet.opened(bytes(footer + 8) + footer.to_bytes(4, "little") + b"PAR1")
    with pytest.raises(ValueError, match="more than 1024 pieces of columns"):
        parquet.opened(bombs.table({}, 60, row_group_size=1))
    with pytest.raises(ValueError, match="it was not written here"):
        parquet.opened(bombs.table({}, 1).replace(b"parquet-cpp-arrow", b"parquet-cpp-other"))
    store, path = Store(str(tmp_path)), tmp_path / layout.index("train-000000")
    path.parent.mkdir()
    path.write_bytes(bytes(footer + 8) + footer.to_bytes(4, "little") + b"PAR1")
    with pytest.raises(ForeignShard, match="it claims a footer of 4194313 bytes"):
        list(dataset.footers(store, [("train-000000", footer + 16)]))
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(StoreError, match="has more than 67108864 bytes"):
        committed(store, "train-000000", "a" * 64)


@pytest.mark.parametrize("most", [limits.TEXT, 50_000])
def test_sound_texts_come_back_also_where_a_second_look_is_needed(most, monkeypatch):
    monkeypatch.setattr(parquet, "TEXT", most)
    body, some = packed(2)
    rows = [*some, *(Row(f"t-0-{n}", "train", 0, 0, n, status="quarantined", reason="r") for n in range(200))]
    assert index.read(index.write(rows, record_of(body, rows)))[1] == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 65 + "]" * 65, "more than 64 brackets"),
        ("[" * 100_000, "more than 64 brackets"),
        ('{"a": NaN}', "NaN is no number"),
        ("[1e999]", "1e999 is no number"),
        ("[-Infinity]", "is no number"),
        ('{"a": 1, "a": 2}', "stands in it twice"),
        ("9" * 5000, "digits"),
        ("[" + "{}," * 500_000 + "0]", "becomes 102"),
        ('["' + "\U0001f600" * (2**22) + '"]', "becomes 671"),
    ],
    ids=["deep", "endless", "nan", "huge", "infinite", "doubled", "long", "wide", "broad"],
)
def test_json_is_json_and_bounded(text, said, monkeypatch):
    monkeypatch.setattr(limits, "JSON", 2**26)
    with pytest.raises(ValueError, match=said):
        parsed(text)


def test_json_becomes_at_most_half_a_gibibyte():
    with pytest.raises(ValueError, match="that becomes 544000000; at most 536870912 are held"):
        parsed(b"," * 8_000_000)


def test_a_tar_is_what_goes_in_one_put():
    assert limits.TAR == LARGEST_PUT


def test_json_that_is_sound_is_read():
    value = {"a": [1, 2.5, None, True, "x[[[["], "b": {"c": "é\U0001f600"}}
    assert parsed(json.dumps(value)) == value
    assert parsed(json.dumps(value, ensure_ascii=False).encode()) == value


def npy(shape, descr="'|u1'", data=b""):
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head.encode() + data


zstd = partial(pa.Codec("zstd").compress, asbytes=True)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.npy.gz", lambda: gzip.compress(npy("(2**40,)")), "not valid|malformed|header|shape"),
        ("a.npy.gz", lambda: gzip.compress(npy("(1099511627776,)")), "unpacks to 1099511627904 bytes"),
        ("a.npy.gz", lambda: gzip.compress(npy("(4,)", data=bytes(5))), "unpacks to more than 132 bytes"),
        ("a.npy.gz", lambda: gzip.compress(npy("(4,)", data=bytes(3))), "does not have 3 bytes"),
        ("a.npy.gz", lambda: gzip.compress(bytes(2**22)), "magic"),
        ("a.npy.zst", lambda: zstd(npy("(1099511627776,)")), "unpacks to 1099511627904 bytes"),
        ("a.npy.zst", lambda: zstd(npy("(4,)", data=bytes(5))), "unpacks to more than 132 bytes"),
        ("a.npy.zst", lambda: zstd(npy("(4,)", data=bytes(3))), "does not have 3 bytes"),
        ("a.npy.zst", lambda: zstd(npy("(4,)", data=bytes(4))) * 2, "unpacks to more than 132 bytes"),
        ("a.npy.zst", lambda: zstd(npy("(4,)", data=bytes(4)))[:-3], "a.npy.zst: "),
        ("a.npy.zst", lambda: zstd(bytes(2**22)), "magic"),
        ("a.npy.zst", lambda: zstd(npy("(1,)", "'|O'", b"\x80\x04cos\nsystem\n(S'x'\ntR.")), "never read"),
        ("a.delta.npy.zst", lambda: zstd(npy("(3, 4)", data=bytes(12))), "holds differences"),
        ("a.delta.npy.zst", lambda: zstd(npy("(2, 4)", "'<i2'", data=bytes(16))), "holds differences"),
        ("a.json.zst", lambda: zstd(b"{}"), "arrays only"),
        ("a.json.gz.gz", lambda: gzip.compress(b""), "packed twice"),
        ("a.npy", lambda: npy("(1,)", "'|V100000'", bytes(100_000)), "numbers are written and read"),
        ("a.npy", lambda: npy("(1,)", "'|O'", b"\x80\x04cos\nsystem\n(S'x'\ntR."), "never read"),
        ("a.pickle", lambda: b"\x80\x04cos\nsystem\n(S'touch ran'\ntR.", r"no decoding for \.pickle"),
        ("a.pyd", lambda: b"\x80\x04cos\nsystem\n(S'touch ran'\ntR.", r"no decoding for \.pyd"),
        ("a.pt", lambda: b"\x80\x04cos\nsystem\n(S'touch ran'\ntR.", r"no decoding for \.pt"),
    ],
)
def test_members_become_no_more_than_they_say_and_never_objects(name, data, said):
    with pytest.raises(ValueError, match=said):
        decode(name, data())


def test_arrays_that_are_sound_are_read():
    assert bytes(decode("a.npy.gz", gzip.compress(npy("(4,)", data=b"abcd")))) == b"abcd"


def test_no_more_of_an_object_is_read_than_it_may_have(tmp_path):
    store = Store(str(tmp_path))
    with (tmp_path / "recipe.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(StoreError, match="has more than 67108864 bytes"):
        store.get("recipe.json", limits.DOCUMENT)
    store.put("small", b"abc")
    assert store.get("small", 3) == b"abc"


def test_a_pipe_is_no_file_of_a_dataset(tmp_path):
    os.mkfifo(tmp_path / "recipe.json")
    with pytest.raises(FileNotFoundError):
        Store(str(tmp_path)).get("recipe.json")
