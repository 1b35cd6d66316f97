"""The commit record: all rows come back, quarantined ones too; the tar alone can give them again."""

import contextlib
import json
import random
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from lesionforge.sinks import footer, index
from lesionforge.sinks.encode import encode
from lesionforge.sinks.index import Row
from lesionforge.sinks.spans import offsets
from lesionforge.sinks.tar import Tar
from tests.sinks.samples import RECIPE, meta, name_of, packed, record_of, whole


def test_rows_and_record_come_back_equal():
    body, rows = packed(5, lost={1, 4})
    record = record_of(body, rows)
    data = index.write(rows, record)
    assert index.read(data) == (record, rows)
    assert index.read_record(data) == record
    assert [row.status for row in rows].count("quarantined") == record.quarantined == 2


def test_same_rows_give_the_same_bytes():
    body, rows = packed(5, lost={1})
    turned = [replace(row, measured=dict(reversed(row.measured.items()))) for row in rows]
    assert index.write(rows, record_of(body, rows)) == index.write(turned, record_of(body, rows))


def test_everybody_can_read_the_index(tmp_path):
    body, rows = packed(3, lost={1})
    (tmp_path / "i.parquet").write_bytes(index.write(rows, record_of(body, rows)))
    table = pq.read_table(tmp_path / "i.parquet").to_pydict()
    assert table["sample_id"] == [name_of(i) for i in range(3)]
    assert table["status"] == ["ok", "quarantined", "ok"]
    assert table["reason"] == [None, "source: unreadable", None]
    assert table["offset"] == [rows[0].offset, None, rows[2].offset]
    assert dict(table["measured"][2]) == {"alpha": 0.1, "zeta": 2.0}
    assert json.loads(table["labels"][0]) == {"value": 0.0, "name": "LAD"}
    assert [m["name"] for m in table["members"][0]] == [m["name"] for m in rows[0].members]


def test_rows_rebuilt_from_the_tar_equal_those_of_the_index():
    body, rows = packed(5, lost={2})
    assert index.from_tar(whole(body), RECIPE) == [row for row in rows if row.status == "ok"]


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"[]",
        b"no json",
        b'{"sample_id": "a"}',
        encode("json", meta(7)),  # another sample's
        encode("json", {**meta(0), "sample_id": None}),
    ],
)
def test_a_tar_whose_json_does_not_tell_of_its_sample_is_refused(member):
    body = Tar()
    body.add(name_of(0), {"json": member})
    with pytest.raises(ValueError, match=name_of(0)):
        index.from_tar(whole(body), RECIPE)


def test_a_tar_without_json_is_refused():
    body = Tar()
    body.add("key", {"a.npy": b""})
    with pytest.raises(ValueError, match="no json"):
        index.from_tar(whole(body), RECIPE)


def _others() -> dict[str, bytes]:
    body, rows = packed()
    record = record_of(body, rows)
    sound = index.write(rows, record)
    return {
        "nothing": b"",
        "text": b"no parquet",
        "a tar": whole(body),
        "its head": sound[:4],
        "cut": sound[: len(sound) // 2],
        "its tail": sound[-200:],
        "another's parquet": _parquet({}),
        "a list for a record": _parquet({"lesionforge": "[1]"}),
        "no JSON": _parquet({"lesionforge": "{"}),
        "a record that lacks a field": _parquet({"lesionforge": json.dumps({"shard": "a"})}),
        "a record with a field more": _parquet({"lesionforge": json.dumps({**vars(record), "more": 1})}),
    }


def _parquet(metadata: dict[str, str]) -> bytes:
    import pyarrow as pa

    out = pa.BufferOutputStream()
    pq.write_table(pa.table({"n": [1, 2]}).replace_schema_metadata(metadata), out)
    return out.getvalue().to_pybytes()


@pytest.mark.parametrize("kind", _others())
def test_bytes_that_are_no_commit_record_are_refused_with_value_error(kind):
    for read in (index.read, index.read_record):
        with pytest.raises(ValueError, match="no commit record"):
            read(_others()[kind])


def test_damage_ends_in_value_error_and_never_in_another():
    body, rows = packed(3, lost={1})
    sound = index.write(rows, record_of(body, rows))
    rng = random.Random(4)
    noticed = 0
    for _ in range(1500):
        mutant = bytearray(sound)
        for _ in range(rng.choice([1, 2, 5])):
            mutant[rng.randrange(len(mutant))] ^= 1 << rng.randrange(8)
        try:
            index.read(bytes(mutant))
            index.read_record(bytes(mutant))
        except ValueError:
            noticed += 1
    assert noticed > 500


def test_a_row_holds_what_a_sample_says_of_itself():
    row = index.row_of(meta(1))
    assert row == Row(
        name_of(1), "train", 0, 0, 1, "severe", "ok", None, 1, f"{1:016x}", "id1",
        labels='{"name":"LAD","value":0.3333333333333333}', measured={"zeta": 1.0, "alpha": 0.1},
    )  # fmt: skip


def test_a_tar_of_another_recipe_is_refused():
    body, _ = packed()
    with pytest.raises(ValueError, match="belongs to recipe"):
        index.from_tar(whole(body), "f" * 64)


def test_the_footer_tells_what_the_rows_do_and_is_read_without_them():
    body, rows = packed(50, lost={3, 7})
    rows[0].measured["burned_in_text"] = 1.0
    record = record_of(body, rows)
    data = index.write(rows, record)
    size = footer.footer_size(data[-8:])
    assert size < len(data)
    told, summary = footer.read_footer(data[-size:])
    assert told == record
    assert summary.to_bytes() == index.summarise(rows).to_bytes()
    assert (sum(summary.counts.values()), summary.burned_in) == (48, 1)
    assert dict(summary.reasons) == {"source: unreadable": 2}
    assert all(len(ids) == min(12, n) for ids, n in zip(summary.ids.values(), summary.counts.values(), strict=True))


@pytest.mark.parametrize(
    "spoil", [lambda d: d[-9:], lambda d: b"", lambda d: d[:-1], lambda d: d.replace(b"groups", b"group\xff")]
)
def test_a_footer_that_is_none_is_refused(spoil):
    data = index.write(packed(3)[1], record_of(*packed(3)))
    with pytest.raises(ValueError, match="no commit record of a shard"):
        footer.read_footer(spoil(data))


def test_a_summary_that_is_not_that_of_the_rows_is_refused():
    data = index.write(packed(3)[1], record_of(*packed(3)))
    with pytest.raises(ValueError, match="its summary is not that of its rows"):
        index.read(data.replace(b'"burned_in_text":0', b'"burned_in_text":9'))


def test_no_bit_of_a_footer_can_end_its_reader():
    """It reads, or it says in one line that it cannot."""
    sound = index.write(packed(3)[1], record_of(*packed(3)))
    tail = sound[-footer.footer_size(sound) :]
    for at in range(0, len(tail), 7):
        mutant = bytearray(tail)
        mutant[at] ^= 1 << (at % 8)
        with contextlib.suppress(ValueError):
            footer.read_footer(bytes(mutant))


def test_a_footer_tells_where_the_samples_lie():
    """In any mixture of members; not of a tar that is made otherwise, nor with another tar's sizes."""
    body, rows = Tar(), []
    for i in range(5):
        fields = {name: bytes(700 * i + n) for n, name in enumerate(("a.npy", "b.png")[: 1 + i % 2])}
        rows.append(index.place(index.row_of(meta(i)), body.add(name_of(i), {**fields, "json": b"{}"})))
    rows.insert(2, Row("train-0000-00000009", "train", 0, 0, 9, status="quarantined", reason="quality: no"))
    body.end()
    record = record_of(body, rows)
    data = index.write(rows, record)
    told, spans = footer.read_spans(data)
    kept = [row for row in rows if row.status == "ok"]
    assert told == record
    assert spans.keys == [row.sample_id for row in kept]
    members = [member for row in kept for member in row.members]
    assert spans.sizes == [member["size"] for member in members]
    assert offsets(np.array(spans.sizes), [len(members)]).tolist() == [member["offset"] for member in members]
    assert footer.read_spans(index.write(rows, replace(record, tar_bytes=record.tar_bytes + 512)))[1] is None
    spans.sizes[0] += 512
    with pytest.raises(ValueError, match=r"do not add up to the \d+ bytes of its tar"):
        spans.check(5, record.tar_bytes)


def test_spans_of_other_rows_are_refused(monkeypatch):
    body, rows = packed(3)
    record, spans = record_of(body, rows), index._spans
    with monkeypatch.context() as patch:
        patch.setattr(
            index, "_spans", lambda rows, record: spans([replace(rows[0], target="severe"), *rows[1:]], record)
        )
        data = index.write(rows, record)
    with pytest.raises(ValueError, match="its spans are not those of its rows"):
        index.read(data)
