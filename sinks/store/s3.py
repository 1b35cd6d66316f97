"""A bucket of an S3 server: each object in one PUT, each call retried here and nowhere below."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import os
import random
import time
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise
from typing import Any, TypeVar

from lesionforge.sinks.store.backend import Entry, join
from lesionforge.sinks.store.errors import StoreError, code, passing

T = TypeVar("T")

#: Calls before a passing fault is final.
ATTEMPTS = 6
#: What S3 takes in one PUT.
LARGEST_PUT = 5 * 2**30
#: Stretches of a folder listed at once.
LISTERS = 16
#: Bytes per second; an upload slower than this counts as broken.
SLOWEST_PUT = 2**20


class S3:
    """A bucket, through the calls of s3fs's own client.

    All retries happen here: one hidden in a library would turn our own success into a refusal.

    Args:
        url: ``s3://bucket/prefix``.
        options: what `s3fs.S3FileSystem` takes.
        attempts: how often a server that does not answer is called; one that does, with a passing fault, six times.
        patience: seconds without a byte of answer that count as a fault; `read_timeout` in `config_kwargs` goes first.
    """

    def __init__(self, url: str, options: Mapping[str, Any], attempts: int, patience: int) -> None:
        import s3fs

        config: dict[str, Any] = {
            "connect_timeout": 5,
            "read_timeout": patience,
            "max_pool_connections": 64,
            "retries": {"total_max_attempts": 1},
            # Newer checksums travel in a trailer many servers do not know; Content-MD5 guards the upload.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            **options.get("config_kwargs", {}),
        }
        # botocore reads AWS_DEFAULT_REGION only.
        region = {"region_name": os.environ["AWS_REGION"]} if os.environ.get("AWS_REGION") else {}
        session = {} if {"session", "profile"} & set(options) else {"session": _session()}
        self._fs = s3fs.S3FileSystem(
            **{
                **session,
                **options,
                "config_kwargs": config,
                "client_kwargs": {**region, **options.get("client_kwargs", {})},
            },
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        self._fs.retries = 1
        self._attempts, self._patience = attempts, config["read_timeout"]
        self._bucket, _, self._root = url.partition("://")[2].partition("/")

    def write(self, key: str, chunks: Sequence[memoryview], new: bool) -> bool:
        size = sum(len(chunk) for chunk in chunks)
        if size > LARGEST_PUT:
            raise StoreError(
                f"{key} has {size} bytes and must go in one PUT, which takes {LARGEST_PUT}: make shards smaller"
            )
        md5, token = hashlib.md5(usedforsecurity=False), uuid.uuid4().hex
        for chunk in chunks:
            md5.update(chunk)
        fields: dict[str, Any] = {"IfNoneMatch": "*"} if new else {}
        fields |= {"ContentMD5": b64encode(md5.digest()).decode(), "Metadata": {"writer": token}}
        # The read timeout only starts once the body is sent: a server silent before that would hold us for ever.
        deadline = self._patience + size / SLOWEST_PUT

        def send() -> bool:
            try:
                self._call("put_object", key, Body=Chunks(chunks), ContentLength=size, timeout=deadline, **fields)
            except OSError as error:
                if not isinstance(error, FileExistsError) and code(error) not in ("PreconditionFailed", "412"):
                    raise
                # An earlier call of ours may have landed though its answer was lost; the token tells. It may be one
                # that we never saw: aiohttp itself repeats a PUT where a kept connection was cut.
                with contextlib.suppress(PermissionError):  # may write, but not look
                    return self._writer(key) == token
                return False
            return True

        return self._retried(send)

    def read(self, key: str, start: int | None, end: int | None) -> bytes:
        path = f"{self._bucket}/{join(self._root, key)}"
        try:
            # One connection: parts fetched side by side could mix two versions of an object.
            data = self._retried(lambda: self._fs.cat_file(path, start=start, end=end, max_concurrency=1), retries=2)
        except OSError as error:
            if code(error) in ("InvalidRange", "416"):
                return b""
            raise
        return bytes(data)

    def stat(self, key: str, due: bool = False) -> Entry:
        found = self._retried(lambda: self._call("head_object", key), retries=2 if due else 0)
        return Entry(key, found["ContentLength"], found["LastModified"].timestamp())

    def list(self, folder: str, cuts: Sequence[str] = ()) -> Iterator[Entry]:
        if not cuts:
            yield from self._stretch(folder, "", "")
            return
        with ThreadPoolExecutor(LISTERS) as pool:
            for entries in pool.map(lambda ends: [*self._stretch(folder, *ends)], pairwise(["", *cuts, ""])):
                yield from entries

    def _stretch(self, folder: str, after: str, until: str) -> Iterator[Entry]:
        """What lies in a folder, or of it what comes after a key, up to another and with that."""
        prefix = f"{path}/" if (path := join(self._root, folder)) else ""
        skip = len(self._root) + 1 if self._root else 0
        wanted = {"Bucket": self._bucket, "Prefix": prefix}
        if after:
            wanted["StartAfter"] = join(self._root, after)
        while True:
            page = self._retried(lambda: self._fs.call_s3("list_objects_v2", **wanted))
            for found in page.get("Contents", ()):
                key = found["Key"][skip:]
                if until and key > until:
                    return
                if not key.endswith("/"):  # the folder markers some consoles make
                    yield Entry(key, found["Size"], found["LastModified"].timestamp())
            if not page.get("IsTruncated"):
                return
            wanted["ContinuationToken"] = page["NextContinuationToken"]

    def copy(self, source: str, target: str, retries: int = 2) -> None:
        """Copy inside the server, at once; FileNotFoundError if there is no such source. `retries`: see `_retried`."""
        fields = {"CopySource": {"Bucket": self._bucket, "Key": join(self._root, source)}}
        self._retried(lambda: self._call("copy_object", target, **fields), retries)

    def delete(self, key: str) -> None:
        self._retried(lambda: self._call("delete_object", key))

    def below(self, folder: str) -> S3:
        lower = copy.copy(self)
        lower._root = join(self._root, folder)
        return lower

    def _writer(self, key: str) -> str | None:
        """The token of whoever wrote an object that is there."""
        found: dict[str, Any] = self._retried(lambda: self._call("head_object", key), retries=2)
        writer: str | None = found["Metadata"].get("writer")
        return writer

    def _call(self, method: str, key: str, **fields: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._fs.call_s3(method, Bucket=self._bucket, Key=join(self._root, key), **fields)
        return found

    def _retried(self, call: Callable[[], T], retries: int = 0) -> T:
        """Call, again after a passing fault, with full jitter so that many workers do not come back together.

        Args:
            retries: how often "not found" counts as passing, for what should be there: a server may answer so right
                after a write.
        """
        for attempt in range(ATTEMPTS - 1):
            try:
                return call()
            except Exception as error:
                if attempt >= self._attempts - 1 and not code(error):
                    raise
                absent = isinstance(error, FileNotFoundError) and code(error) != "NoSuchBucket"
                if not passing(error) and not (absent and attempt < retries):
                    raise
                time.sleep(random.uniform(0.05, min(10.0, 0.4 * 2**attempt)))
        return call()


def _session() -> Any:
    """A session that reads the times of a listing six times as fast as by itself: most of what a listing costs here."""
    from aiobotocore.session import AioSession  # type: ignore[import-untyped]
    from botocore.utils import parse_timestamp  # type: ignore[import-untyped]

    def when(text: Any) -> Any:
        try:
            return datetime.fromisoformat(text)
        except (ValueError, TypeError):
            return parse_timestamp(text)

    session = AioSession()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=when)
    return session


class Chunks(io.RawIOBase):
    """Chunks read as one seekable file, without joining them."""

    def __init__(self, chunks: Sequence[memoryview]) -> None:
        self._chunks, self._index, self._offset, self._at = chunks, 0, 0, 0
        self._size = sum(len(chunk) for chunk in chunks)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        self._index, self._offset = 0, self._at
        while self._index < len(self._chunks) and self._offset >= len(self._chunks[self._index]):
            self._offset -= len(self._chunks[self._index])
            self._index += 1
        return self._at

    def readinto(self, buffer: Any) -> int:
        filled = 0  # to the brim: each read is a hop between threads, and a tar has many small chunks
        while filled < len(buffer) and self._index < len(self._chunks):
            chunk = self._chunks[self._index]
            piece = chunk[self._offset : self._offset + len(buffer) - filled]
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
            self._offset += len(piece)
            if self._offset == len(chunk):
                self._index, self._offset = self._index + 1, 0
        self._at += filled
        return filled
