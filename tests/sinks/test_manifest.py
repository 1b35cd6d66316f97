"""The tables of contents say what lies there, in the words of the readers they are for."""

import json
import tarfile

import pytest
from braceexpand import braceexpand

from lesionforge.sinks import index, layout, manifest
from lesionforge.sinks.commit import commit
from lesionforge.sinks.dali import dali
from lesionforge.sinks.dataset import Totals, committed, indexes
from lesionforge.sinks.index import Record
from lesionforge.sinks.manifest import Contents
from lesionforge.sinks.store import Store, StoreError
from tests.sinks.samples import RECIPE, VERSION, fields, packed

SHARDS = {"train-000000": (0, 4, {1}), "train-000001": (4, 3, set()), "val-000000": (7, 2, {8})}


@pytest.fixture
def dataset(tmp_path):
    """A folder with three shards, their records and rows, and the totals."""
    store, totals, found = Store(str(tmp_path)), Totals(), []
    for shard, (first, samples, lost) in SHARDS.items():
        body, rows = packed(samples, lost=lost, first=first)
        for row in rows:
            row.split = shard.split("-")[0]
        commit(store, shard, RECIPE, VERSION, rows, body)
    for record, rows in indexes(store, committed(store)):
        totals.add(record, index.summarise(rows))
        found.append((record, rows))
    return tmp_path, found, totals


def contents_of(dataset, numbers=range(3)):
    folder, found, _ = dataset
    contents = Contents(Store(str(folder)).put)
    for k, (record, _) in zip(numbers, found, strict=True):
        contents.add(k, record)
    return contents


def body_of(dataset, numbers=range(3)):
    folder, _, totals = dataset
    body = contents_of(dataset, numbers).manifest("toy", RECIPE, {"samples": 9, "shards": 3}, totals)
    (folder / layout.MANIFEST).write_bytes(body)
    return json.loads(body)


def test_brace_patterns_expand_to_exactly_the_shards(dataset):
    folder, _, _ = dataset
    urls = [url for split in body_of(dataset)["splits"].values() for url in braceexpand(split["urls"])]
    assert urls == [layout.tar(shard) for shard in SHARDS]
    assert {folder / url for url in urls} == set((folder / layout.SHARDS).iterdir())


def test_a_brace_pattern_names_no_tar_that_is_not_there_and_hides_none(tmp_path):
    contents, there = Contents(Store(str(tmp_path)).put), [0, 1, 4, 6, 7, 8, 1_000_000]
    for k in there:
        contents.add(k, Record(f"train-{k:06d}", RECIPE, "0" * 64, 1, 1, 0, VERSION))
    (split,) = json.loads(contents.manifest("toy", RECIPE, {}, Totals()))["splits"].values()
    assert list(braceexpand(split["urls"])) == [layout.tar(f"train-{k:06d}") for k in there]


def test_the_manifest_is_in_parts_whose_hashes_it_holds_and_full_ones_never_change(dataset, monkeypatch):
    folder, found, _ = dataset
    monkeypatch.setattr(manifest, "PART", 2)
    body = body_of(dataset)
    first, last = body["parts"]
    assert [first["shards"], last["shards"], body["shards"]] == [2, 1, 3]
    for part in body["parts"]:
        assert part["sha256"] == index.sha256((folder / part["path"]).read_bytes())
    told = list(manifest.shards(Store(str(folder))))
    assert [shard["name"] for shard in told] == [record.shard for record, _ in found]
    assert body_of(dataset, [0, 1, 7])["parts"][0] == first
    contents = contents_of(dataset, [0, 1, 7])
    contents.manifest("toy", RECIPE, {}, Totals())
    assert contents.extra(Store(str(folder))) == [last["path"]]  # the part that the first manifest had


def test_a_part_that_is_not_the_one_the_manifest_names_is_refused(dataset):
    folder, _, _ = dataset
    (part,) = body_of(dataset)["parts"]
    (folder / part["path"]).write_bytes((folder / part["path"]).read_bytes().replace(b"4", b"5"))
    with pytest.raises(StoreError, match=r"00000\.json is not the part that it names"):
        list(manifest.shards(Store(str(folder))))


def test_counts_and_checksums_are_those_of_the_files(dataset):
    folder, found, _ = dataset
    body = body_of(dataset)
    assert (body["samples"], body["quarantined"], body["planned"]) == (7, 2, {"samples": 9, "shards": 3})
    assert body["reasons"] == {"source: unreadable": 2}
    assert body["bytes"] == sum(path.stat().st_size for path in (folder / layout.SHARDS).iterdir())
    assert {name: s["samples"] for name, s in body["splits"].items()} == {"train": 6, "val": 1}
    assert {name: s["shards"] for name, s in body["splits"].items()} == {"train": 2, "val": 1}
    assert body["splits"]["train"]["classes"] == {"mild": 4, "severe": 2}
    for shard, (record, rows) in zip(manifest.shards(Store(str(folder))), found, strict=True):
        assert shard["sha256"] == record.tar_sha256
        assert shard["samples"] == sum(row.status == "ok" for row in rows)
        assert shard["samples"] + shard["quarantined"] == len(rows)


def test_wids_index_has_the_fields_its_readers_take(dataset):
    folder, _, _ = dataset
    body = json.loads(b"".join(contents_of(dataset).wids("toy")))
    assert body["__kind__"] == "wids-shard-index-v1"
    assert body["wids_version"] == 1
    assert [shard["url"] for shard in body["shardlist"]] == [layout.tar(shard) for shard in SHARDS]
    assert [shard["nsamples"] for shard in body["shardlist"]] == [3, 3, 1]
    for shard in body["shardlist"]:
        assert shard["filesize"] == (folder / shard["url"]).stat().st_size


def test_dali_index_equals_one_made_from_the_tar(dataset):
    """The format of NVIDIA's wds2idx v1.2, from a parser of the tar that is not ours."""
    folder, found, _ = dataset
    for record, rows in found:
        expected: dict[str, list[str]] = {}
        with tarfile.open(folder / layout.tar(record.shard)) as file:
            for m in file:
                key, _, extension = m.name.partition(".")
                expected.setdefault(key, []).append(f"{extension} {m.offset_data} {m.size} {m.name}")
        lines = dali(rows).decode().splitlines()
        assert lines == [f"v1.2 {len(expected)}", *(" ".join(members) for members in expected.values())]
        assert len(expected) == record.samples
        assert all(len(line.split()) == 4 * (len(fields(0)) + 1) for line in lines[1:])


def test_an_empty_shard_has_an_index_too():
    assert dali(packed(2, lost={0, 1})[1]) == b"v1.2 0\n"
