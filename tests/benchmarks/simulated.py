"""A bucket that holds as many shards as asked for and answers after 20 ms: only what differs between them is stored.

It stands in for s3fs below our own `sinks.store.s3`, so that everything of ours runs as it does on a server. What s3fs
and a server cost beside the 20 ms is not in it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from lesionforge.sinks.store import Store
from lesionforge.sinks.store.s3 import S3

CALL = 0.02  # seconds
PAGE = 1000  # keys of a listing's page
_WHEN = datetime(2026, 1, 1, tzinfo=UTC)


class Bucket:
    """Up to 10^6 shards ``train-000000`` ... by their number, each as the first; everything else as it was put.

    Attributes:
        calls: how many were answered, by method.
    """

    def __init__(self, shards: int, kinds: dict[str, bytes]) -> None:
        """``kinds``: of the first shard, ``FOLDER/train-000000.ENDING`` and what lies there."""
        self.calls: dict[str, int] = {}
        self._shards, self._kinds, self._put = shards, kinds, dict[str, bytes]()
        self._lock = threading.Lock()

    def call_s3(self, method: str, **asked: Any) -> dict[str, Any]:
        """As `s3fs.S3FileSystem.call_s3`."""
        self._wait(method)
        if method == "list_objects_v2":
            return self._listed(asked["Prefix"], asked.get("ContinuationToken") or asked.get("StartAfter") or "")
        key = asked["Key"]
        if method == "put_object":
            self._put[key] = asked["Body"].read()
        elif method == "delete_object":
            self._put.pop(key, None)
        elif method == "head_object":
            return {"ContentLength": len(self._read(key)), "LastModified": _WHEN, "Metadata": {}}
        return {}

    def cat_file(self, path: str, start: int | None, end: int | None, max_concurrency: int) -> bytes:
        """As `s3fs.S3FileSystem.cat_file`."""
        self._wait("get_object")
        return self._read(path.partition("/")[2])[start:end]

    def _wait(self, method: str) -> None:
        with self._lock:
            self.calls[method] = self.calls.get(method, 0) + 1
        time.sleep(CALL)

    def _number(self, key: str) -> tuple[str, int] | None:
        """The key of the first shard's object of that kind, and the number."""
        found = re.fullmatch(r"d/(\w+/train-)(\d{6,})(\.\w+)", key)
        if not found or (kind := f"{found[1]}000000{found[3]}") not in self._kinds or int(found[2]) >= self._shards:
            return None
        return kind, int(found[2])

    def _read(self, key: str) -> bytes:
        if key in self._put:
            return self._put[key]
        if (found := self._number(key)) is None:
            raise FileNotFoundError(key)
        kind, number = found
        data = self._kinds[kind]
        return data.replace(b'"shard": "train-000000"', b'"shard": "train-%06d"' % number)

    def _listed(self, prefix: str, after: str) -> dict[str, Any]:
        page, more = list[dict[str, Any]](), False
        for key, size in self._keys(prefix, after):
            if len(page) == PAGE:
                more = True
                break
            page.append({"Key": key, "Size": size, "LastModified": _WHEN})
        return {"Contents": page, "IsTruncated": more, "NextContinuationToken": page[-1]["Key"] if page else ""}

    def _keys(self, prefix: str, after: str) -> Iterator[tuple[str, int]]:
        """Keys after another, in order, each with its size; as many as asked for."""
        for kind, data in self._kinds.items():
            head, ending = f"d/{kind.partition('000000')[0]}", kind.rpartition(".")[2]
            if head.startswith(prefix):
                at = re.match(rf"{head}(\d+)", after)
                first = int(at[1][:6]) if at else 0  # a cut may have seven digits
                for k in range(first, self._shards):
                    if (key := f"{head}{k:06d}.{ending}") > after:
                        yield key, len(data)
                return
        for key in sorted(self._put):
            if key.startswith(prefix) and key > after:
                yield key, len(self._put[key])


def store(bucket: Bucket) -> Store:
    """A store in it."""
    out, place = Store("s3://simulated/d"), S3("s3://simulated/d", {}, 1, 60)
    place._fs = bucket
    out._open = lambda: place  # type: ignore[method-assign]
    return out
