"""The finished dataset's tables of contents: our manifest and its parts, ``wids`` JSON.

Nothing here is held a shard at a time but 130 bytes of ``wids.json``, which its readers take as one file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lesionforge.generators.types import SPLITS
from lesionforge.sinks import layout
from lesionforge.sinks.dataset import Totals
from lesionforge.sinks.index import Record
from lesionforge.sinks.limits import DOCUMENT, parsed
from lesionforge.sinks.store import Store, StoreError

_FALSE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)  # of bytes that are no manifest
PART = 10_000  # shards of the plan a part of the manifest tells of: one that is full never changes as a dataset grows


@dataclass
class _Split:
    shards: int = 0
    samples: int = 0
    bytes: int = 0
    runs: list[list[int]] = field(default_factory=list)  # first and last numbers of shards that stand side by side

    def add(self, number: int, record: Record) -> None:
        self.shards += 1
        self.samples += record.samples
        self.bytes += record.tar_bytes
        if self.runs and self.runs[-1][1] == number - 1:
            self.runs[-1][1] = number
        else:
            self.runs.append([number, number])

    def pattern(self, split: str) -> str:
        """Brace pattern of the tars that are there, and of no other."""
        runs = ",".join(f"{{{first:06d}..{last:06d}}}" for first, last in self.runs)
        return layout.tar(f"{split}-{{{runs}}}" if len(self.runs) > 1 else f"{split}-{runs}")


class Contents:
    """The tables of contents in the making: shards are added in the plan's order, parts are written as they fill."""

    def __init__(self, put: Callable[[str, bytes], None]) -> None:
        """``put`` takes the path and the bytes of each part: a store's own, or what holds them against those there."""
        self._put = put
        self._part, self._lines = 0, list[str]()
        self._parts = list[dict[str, Any]]()
        self._splits: dict[str, _Split] = {}
        self._wids = bytearray()

    def add(self, k: int, record: Record) -> None:
        """Add shard ``k`` of the plan."""
        if k // PART != self._part:
            self._write_part()
            self._part = k // PART
        split, _, number = record.shard.rpartition("-")
        self._splits.setdefault(split, _Split()).add(int(number), record)
        line = {"name": record.shard, "samples": record.samples, "quarantined": record.quarantined}
        self._lines.append(json.dumps({**line, "bytes": record.tar_bytes, "sha256": record.tar_sha256}))
        shard = {"url": layout.tar(record.shard), "nsamples": record.samples, "filesize": record.tar_bytes}
        self._wids += (b",\n  " if self._wids else b"\n  ") + json.dumps(shard).encode()

    def _write_part(self) -> None:
        if not self._lines:
            return
        body = ('{"shards": [\n' + ",\n".join(self._lines) + "\n]}\n").encode()
        path = layout.part(self._part)
        self._put(path, body)
        self._parts.append({"path": path, "shards": len(self._lines), "sha256": hashlib.sha256(body).hexdigest()})
        self._lines.clear()

    def manifest(self, name: str, identity: str, planned: Mapping[str, int], totals: Totals) -> bytes:
        """``manifest.json``: totals, splits with their brace patterns, and the parts, which are written by now."""
        self._write_part()
        splits = {
            split: {
                "shards": counts.shards,
                "samples": counts.samples,
                "bytes": counts.bytes,
                "urls": counts.pattern(split),
                "classes": {c: n for (s, c), n in sorted(totals.per_class.items()) if s == split},
            }
            for split, counts in sorted(self._splits.items(), key=lambda item: SPLITS.index(item[0]))
        }
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
            "shards": totals.shards,
            "splits": splits,
            "parts": self._parts,
        }
        return (json.dumps(body, indent=1) + "\n").encode()

    def wids(self, name: str) -> list[bytes | bytearray]:
        """Index in the format that WebDataset's ``wids`` readers take, in pieces."""
        head = json.dumps({"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": name})
        return [f'{head[:-1]}, "shardlist": ['.encode(), self._wids, b"\n]}\n"]

    def extra(self, store: Store) -> list[str]:
        """Parts that lie in a store and are none of these: of an earlier, longer manifest."""
        ours = {part["path"] for part in self._parts}
        return [entry.name for entry in store.list(layout.PARTS) if entry.name not in ours]


def shards(store: Store) -> Iterator[dict[str, Any]]:
    """What the manifest tells of each shard: ``name``, ``samples``, ``quarantined``, ``bytes``, ``sha256``.

    Raises:
        FileNotFoundError: where there is no manifest.
        StoreError: where it, or a part of it, cannot be read, or a part is not the one that it names.
    """
    try:
        for part in parsed(store.get(layout.MANIFEST, DOCUMENT))["parts"]:
            yield from _part(store, part)
    except _FALSE as error:
        raise StoreError(
            f"{store.url(layout.MANIFEST)} cannot be read ({error}): run the same generate command again"
        ) from None


def hashes(store: Store) -> dict[str, str]:
    """SHA-256 of each shard's tar, out of those parts of a manifest that are the ones it names."""
    out: dict[str, str] = {}
    with contextlib.suppress(FileNotFoundError, *_FALSE):
        for part in parsed(store.get(layout.MANIFEST, DOCUMENT))["parts"]:
            with contextlib.suppress(FileNotFoundError, *_FALSE):
                out |= {str(shard["name"]): str(shard["sha256"]) for shard in _part(store, part)}
    return out


def _part(store: Store, named: Mapping[str, Any]) -> list[dict[str, Any]]:
    data = store.get(str(named["path"]), DOCUMENT)
    if hashlib.sha256(data).hexdigest() != named["sha256"]:
        raise ValueError(f"{named['path']} is not the part that it names")
    shards: list[dict[str, Any]] = parsed(data)["shards"]
    return shards
