"""The tables of contents say what lies there, in the words of the readers they are for."""

import json
import tarfile

import pytest
from braceexpand import braceexpand

from lesionforge.sinks import layout, manifest
from lesionforge.sinks.commit import commit
from lesionforge.sinks.dataset import Totals, committed, indexes
from lesionforge.sinks.store import Store
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
        totals.add(record, rows)
        found.append((record, rows))
    return tmp_path, found, totals


def body_of(dataset):
    _, found, totals = dataset
    planned = {"samples": 9, "shards": 3}
    return json.loads(manifest.manifest("toy", RECIPE, planned, totals, [record for record, _ in found]))


def test_brace_patterns_expand_to_exactly_the_shards(dataset):
    folder, _, _ = dataset
    urls = [url for split in body_of(dataset)["splits"].values() for url in braceexpand(split["urls"])]
    assert urls == [layout.tar(shard) for shard in SHARDS]
    assert {folder / url for url in urls} == set((folder / layout.SHARDS).iterdir())


def test_counts_and_checksums_are_those_of_the_files(dataset):
    folder, found, _ = dataset
    body = body_of(dataset)
    assert (body["samples"], body["quarantined"], body["planned"]) == (7, 2, {"samples": 9, "shards": 3})
    assert body["reasons"] == {"source: unreadable": 2}
    assert body["bytes"] == sum(path.stat().st_size for path in (folder / layout.SHARDS).iterdir())
    assert {name: s["samples"] for name, s in body["splits"].items()} == {"train": 6, "val": 1}
    assert {name: s["shards"] for name, s in body["splits"].items()} == {"train": 2, "val": 1}
    assert body["splits"]["train"]["classes"] == {"mild": 4, "severe": 2}
    for shard, (record, rows) in zip(body["shards"], found, strict=True):
        assert shard["sha256"] == record.tar_sha256
        assert shard["samples"] == sum(row.status == "ok" for row in rows)
        assert shard["samples"] + shard["quarantined"] == len(rows)


def test_wids_index_has_the_fields_its_readers_take(dataset):
    folder, found, _ = dataset
    body = json.loads(manifest.wids("toy", [record for record, _ in found]))
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
        lines = manifest.dali(rows).decode().splitlines()
        assert lines == [f"v1.2 {len(expected)}", *(" ".join(members) for members in expected.values())]
        assert len(expected) == record.samples
        assert all(len(line.split()) == 4 * (len(fields(0)) + 1) for line in lines[1:])


def test_an_empty_shard_has_an_index_too():
    assert manifest.dali(packed(2, lost={0, 1})[1]) == b"v1.2 0\n"
