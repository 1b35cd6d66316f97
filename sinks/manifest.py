"""The finished dataset's tables of contents: our manifest, ``wids`` JSON, DALI indexes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from lesionforge.generators.types import SPLITS
from lesionforge.sinks import layout
from lesionforge.sinks.dataset import Totals
from lesionforge.sinks.index import Record, Row


def manifest(name: str, identity: str, planned: Mapping[str, int], totals: Totals, records: Iterable[Record]) -> bytes:
    """``manifest.json``: totals, splits with their brace patterns, and every shard with its checksum."""
    records = list(records)
    splits: dict[str, Any] = {}
    for record in records:
        split = splits.setdefault(record.shard.rsplit("-", 1)[0], {"shards": 0, "samples": 0, "bytes": 0})
        split["shards"] += 1
        split["samples"] += record.samples
        split["bytes"] += record.tar_bytes
    splits = {split: splits[split] for split in sorted(splits, key=SPLITS.index)}
    for split, counts in splits.items():
        counts["urls"] = f"{layout.SHARDS}/{split}-{{000000..{counts['shards'] - 1:06d}}}.tar"
        counts["classes"] = {c: n for (s, c), n in sorted(totals.per_class.items()) if s == split}
    body = {
        "layout": layout.LAYOUT_VERSION,
        "name": name,
        "identity": identity,
        "planned": dict(planned),
        "samples": totals.samples,
        "quarantined": totals.quarantined,
        "reasons": dict(totals.reasons),
        "burned_in_text": totals.burned_in,
        "bytes": totals.bytes,
        "splits": splits,
        "shards": [_shard(record) for record in records],
    }
    return (json.dumps(body, indent=1) + "\n").encode()


def _shard(record: Record) -> dict[str, Any]:
    return {
        "name": record.shard,
        "samples": record.samples,
        "quarantined": record.quarantined,
        "bytes": record.tar_bytes,
        "sha256": record.tar_sha256,
    }


def wids(name: str, records: Iterable[Record]) -> bytes:
    """Index in the format that WebDataset's ``wids`` readers take."""
    shards = [{"url": layout.tar(r.shard), "nsamples": r.samples, "filesize": r.tar_bytes} for r in records]
    body = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": name, "shardlist": shards}
    return (json.dumps(body, indent=1) + "\n").encode()


def dali(rows: Iterable[Row]) -> bytes:
    """Index of one shard in NVIDIA DALI's ``wds2idx`` format v1.2: per sample, ``ext offset size name`` a member."""
    lines = [
        " ".join(f"{m['name']} {m['offset']} {m['size']} {row.sample_id}.{m['name']}" for m in row.members or ())
        for row in rows
        if row.status == "ok"
    ]
    return "".join(f"{line}\n" for line in [f"v1.2 {len(lines)}", *lines]).encode()
