"""Where samples live: one folder on a disk or in a bucket, with atomic, create-only writes.

A dataset commits a shard by creating its index file: whoever creates it first has committed, everybody else is
refused (`Store.put_new`). How each kind of place keeps that promise:

==================  =============================================  ==================================
place               create if absent                               replace
==================  =============================================  ==================================
local path          temporary file, fsync, `os.link`               temporary file, fsync, `os.replace`
``s3://``           exactly one PUT with ``If-None-Match: *``      one PUT
``memory://``       check and set under a lock (this process)      under the same lock
any other fsspec    `pipe_file(mode="create")`: trust `probe`      `pipe_file`
==================  =============================================  ==================================

S3 objects are never sent in parts: servers ignore the condition when parts are put together (Ceph 16 does), so
the last of two writers would win. Credentials and endpoint come from the usual AWS variables or `storage_options`
(s3fs names).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import random
import re
import threading
import time
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import fsspec
from fsspec.utils import get_protocol

Bytes = bytes | bytearray | memoryview
T = TypeVar("T")

#: Folder of unfinished local files and probe objects: never listed, never a dataset's own.
TEMPORARY = ".tmp"
#: What S3 takes in one PUT.
LARGEST_PUT = 5 * 2**30
#: Bytes per second; an upload slower than this counts as broken.
SLOWEST_PUT = 2**20


_opening = threading.RLock()


def _after_fork() -> None:
    global _opening
    _opening = threading.RLock()  # a thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)


class StoreError(Exception):
    """A storage fault, in one line: which object, what went wrong, what to do about it."""


class Entry(NamedTuple):
    """One stored object."""

    name: str  # relative to the store, with forward slashes
    size: int  # bytes
    mtime: float  # seconds since 1970


class _Place(Protocol):
    """What a kind of storage must be able to do. Keys are relative; `write` gets flat, non-empty views."""

    def write(self, key: str, chunks: Sequence[memoryview], new: bool) -> bool: ...
    def read(self, key: str, start: int | None, end: int | None) -> bytes: ...
    def stat(self, key: str) -> Entry: ...
    def list(self, folder: str) -> Iterator[Entry]: ...
    def delete(self, key: str) -> None: ...


class Store:
    """A folder somewhere fsspec can reach.

    Safe to use from several threads, after a fork, and to send to other processes: the connection is made on first
    use in each process. A pickle carries `storage_options`, secrets included, where they were given explicitly;
    prefer the AWS variables, which never travel. Neither `repr` nor an error message shows a secret.

    Args:
        url: a local path, ``file://``, ``memory://``, ``s3://bucket/prefix`` or any other fsspec URL.
        storage_options: what the fsspec file system takes, such as ``{"endpoint_url": "http://127.0.0.1:7480"}``.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self._protocol = get_protocol(url)
        self.is_local = self._protocol in ("file", "local")
        if self.is_local:
            url = os.path.abspath(os.path.expanduser(re.sub(r"^(file|local)://", "", url)))
        elif self._protocol == "s3" and not re.fullmatch(r"s3a?://[^/@]+(/.*)?", url):
            raise ValueError(f"{_shown(url)!r} names no bucket: write s3://bucket/prefix")
        self._root = url if self.is_local else re.sub(r"(?<![/:])/+$", "", url)
        self._options = dict(storage_options or {})
        self._place: tuple[int, _Place] | None = None

    def __repr__(self) -> str:
        return f"Store({_shown(self._root)!r})"

    def __reduce__(self) -> tuple[type[Store], tuple[str, dict[str, Any]]]:
        return type(self), (self._root, self._options)

    def put_new(self, path: str, data: Bytes | Sequence[Bytes]) -> bool:
        """Create an object whole, or leave the one that is there untouched.

        Args:
            path: relative to the store.
            data: the content, or chunks of it, which are written one after the other without joining them.

        Returns:
            True if this call created the object, False if it was there already. On S3 this holds even if an answer
            was lost on the way and the PUT repeated: each call leaves its own token in the object's metadata.

        Raises:
            StoreError: the object could not be written. After a lost connection it may be there all the same; calling
                again then returns False.
        """
        return self._write(_key(path), data, new=True)

    def put(self, path: str, data: Bytes | Sequence[Bytes]) -> None:
        """Write an object, replacing at once the one that is there: a reader sees the old or the new, never a mix."""
        self._write(_key(path), data, new=False)

    def get(self, path: str) -> bytes:
        """Read an object. Raises FileNotFoundError if there is none."""
        key = _key(path)
        with self._errors("read", path):
            return self._open().read(key, None, None)

    def get_range(self, path: str, offset: int, size: int) -> bytes:
        """Read exactly `size` bytes from `offset`.

        Raises:
            FileNotFoundError: there is no such object.
            StoreError: the object ends earlier, so it is not the one whose offsets were recorded.
        """
        if offset < 0 or size < 0:
            raise ValueError(f"offset {offset} and size {size} of a range must not be negative")
        key = _key(path)
        with self._errors("read", path):
            data = self._open().read(key, offset, offset + size) if size else b""
        if len(data) != size:
            raise StoreError(
                f"{self.url(path)} ends before byte {offset + size}: it was cut or replaced since it was indexed"
            )
        return data

    def exists(self, path: str) -> bool:
        """Whether there is such an object (a folder is none)."""
        try:
            self.size(path)
        except FileNotFoundError:
            return False
        return True

    def size(self, path: str) -> int:
        """Size of an object in bytes. Raises FileNotFoundError if there is none."""
        key = _key(path)
        with self._errors("look up", path):
            return self._open().stat(key).size

    def list(self, prefix: str = "") -> list[Entry]:
        """All objects below the folder `prefix`, at any depth, sorted by name, never from a cache.

        Returns:
            Entries whose names are relative to the store; empty if there is no such folder.
        """
        folder = _key(prefix.rstrip("/")) if prefix else ""
        with self._errors("list", prefix, absent=StoreError):
            entries = self._open().list(folder)
            return sorted(entry for entry in entries if entry.name.split("/")[0] != TEMPORARY)

    def delete(self, path: str) -> None:
        """Delete an object; no error if there is none."""
        key = _key(path)
        with contextlib.suppress(FileNotFoundError), self._errors("delete", path):
            self._open().delete(key)

    def url(self, path: str = "") -> str:
        """Where an object lies: an absolute path if local, else a URL without any user and password."""
        return _shown(_join(self._root, path))

    def local_path(self, path: str = "") -> Path:
        """The object's path on this machine; StoreError if the store is not local."""
        if not self.is_local:
            raise StoreError(f"{self.url(path)} has no local path: read it with get()")
        return Path(_join(self._root, path))

    def probe(self) -> None:
        """Check before work starts that the place is writable and refuses the second of two creators.

        Raises:
            StoreError: one line with the URL, what failed and what to do.
        """
        with self._errors("open", ""):
            place = _connect(self._protocol, self._root, self._options, attempts=2, patience=6)
        key = f"{TEMPORARY}/probe-{uuid.uuid4().hex}"
        first, second = b"first writer", b"second writer"
        with self._errors("write to", "", absent=StoreError):
            created = place.write(key, [memoryview(first)], True)
            overwritten = place.write(key, [memoryview(second)], True)
            found = place.read(key, None, None)
            listed = any(entry.name == key for entry in place.list(TEMPORARY))
            place.delete(key)
        if not created or not listed:
            what = "refused to create an object that did not exist" if not created else "does not list a new object"
            raise StoreError(f"cannot use {self.url()}: this server {what}; use a store that is strongly consistent")
        if overwritten or found != first:
            raise StoreError(
                f"cannot use {self.url()}: this server overwrites silently on conditional PUT (If-None-Match: *), so "
                "two workers could both commit a shard; use one that honours it (AWS S3, Ceph, MinIO) or a local path"
            )

    def _write(self, key: str, data: Bytes | Sequence[Bytes], new: bool) -> bool:
        chunks = [data] if isinstance(data, bytes | bytearray | memoryview) else data
        views = [memoryview(chunk).cast("B") for chunk in chunks if memoryview(chunk).nbytes]
        with self._errors("write", key, absent=StoreError):
            return self._open().write(key, views, new)

    def _open(self) -> _Place:
        with _opening:  # threads that meet here would each pay for a connection
            if self._place is None or self._place[0] != os.getpid():
                with self._errors("open", ""):
                    self._place = os.getpid(), _connect(self._protocol, self._root, self._options)
            return self._place[1]

    @contextlib.contextmanager
    def _errors(self, verb: str, path: str, absent: type[Exception] = FileNotFoundError) -> Iterator[None]:
        # Every file system raises its own kinds of exception: at this border they all become two.
        try:
            yield
        except StoreError:
            raise
        except (FileNotFoundError, NotADirectoryError) as error:
            if absent is FileNotFoundError and _code(error) != "NoSuchBucket":
                raise FileNotFoundError(errno.ENOENT, "no such object", self.url(path)) from None
            raise StoreError(f"cannot {verb} {self.url(path)}: {self._explain(error)}") from error
        except Exception as error:
            raise StoreError(f"cannot {verb} {self.url(path)}: {self._explain(error)}") from error

    def _explain(self, error: Exception) -> str:
        """What happened and the fix, in one line without secrets."""
        text = " ".join(str(error).split())
        if text in ("", "None"):  # Ceph sends no message
            text = _code(error) or type(error).__name__
        for value in _secrets({**self._options, "environment": dict(os.environ)}):
            text = text.replace(value, "***")
        names = {_code(error), type(error).__name__, errno.errorcode.get(getattr(error, "errno", None) or 0, "")}
        fixes = [fix for causes, fix in _FIXES if names & set(causes)]
        bucket = self._root.partition("://")[2].partition("/")[0]
        return "; ".join([text, *(fix.format(bucket=bucket) for fix in fixes[:1])])


#: (S3 error codes, exception names and errno names) -> what to do. The first that fits is shown.
_FIXES: Sequence[tuple[tuple[str, ...], str]] = (
    (("NoSuchBucket",), "create bucket {bucket} (aws s3 mb s3://{bucket}) or correct the URL"),
    (("NoCredentialsError", "PartialCredentialsError"), "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "AuthorizationHeaderMalformed"),
        "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION",
    ),
    (
        ("AccessDenied", "403"),
        "wrong keys, or keys that lack s3:PutObject, GetObject, ListBucket or DeleteObject on {bucket}",
    ),
    (
        (
            "EndpointConnectionError",
            "ConnectTimeoutError",
            "ConnectionClosedError",
            "ReadTimeoutError",
            "FSTimeoutError",
        ),
        "the endpoint is unreachable: check AWS_ENDPOINT_URL and the network",
    ),
    (("NotImplemented", "501"), "this server knows no conditional PUT (If-None-Match: *): use AWS S3, Ceph or MinIO"),
    (("EntityTooLarge",), "make shards smaller"),
    (("ENOSPC", "EDQUOT", "QuotaExceeded"), "the disk or quota is full: free space or choose another place"),
    (("EROFS",), "the file system is read-only: choose another place"),
    (("EACCES", "EPERM"), "permission denied: choose a folder this user may write to"),
    (("ENOTDIR", "EEXIST", "ENOENT"), "no folder can be made there: choose another path"),
    (("ImportError", "ModuleNotFoundError"), "install the package that serves this protocol"),
)


class _Local:
    """A folder on a disk. `os.link` creates the final name only if it is absent, and whole."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def write(self, key: str, chunks: Sequence[memoryview], new: bool) -> bool:
        final, temporary = self._root / key, self._root / TEMPORARY / uuid.uuid4().hex
        temporary.parent.mkdir(parents=True, exist_ok=True)
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
            if new and not self._link(temporary, final):
                return False
            if not new:
                os.replace(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name must survive a power cut too
        finally:
            os.close(folder)
        return True

    def _link(self, temporary: Path, final: Path) -> bool:
        try:
            os.link(temporary, final)
        except FileExistsError:
            # Over NFS a repeated request reports the link it has made itself; the count tells.
            return temporary.stat().st_nlink > 1
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK):
                raise
            raise StoreError(
                f"cannot create {final}: {os.strerror(error.errno or 0)}: the file system has no hard links, which "
                "create-only writes need; choose a folder on another file system, or s3://"
            ) from error
        return True

    def read(self, key: str, start: int | None, end: int | None) -> bytes:
        with (self._root / key).open("rb") as file:
            file.seek(start or 0)
            return file.read(-1 if end is None else end - (start or 0))

    def stat(self, key: str) -> Entry:
        path = self._root / key
        if path.is_dir():
            raise FileNotFoundError(path)
        found = path.stat()
        return Entry(key, found.st_size, found.st_mtime)

    def list(self, folder: str) -> Iterator[Entry]:
        def fail(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise error  # os.walk would take a folder it may not read for an empty one

        for where, _, names in os.walk(self._root / folder, onerror=fail):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    yield self.stat((Path(where) / name).relative_to(self._root).as_posix())

    def delete(self, key: str) -> None:
        (self._root / key).unlink()


class _Fsspec:
    """Any other fsspec file system, `memory://` among them."""

    _memory = threading.Lock()

    def __init__(self, protocol: str, url: str, options: Mapping[str, Any]) -> None:
        # Own instance, no listings cache: others' writes must be seen at once.
        quiet = {"skip_instance_cache": True, "use_listings_cache": False}
        self._fs, self._root = fsspec.core.url_to_fs(url, **{**quiet, **options})
        self._lock = self._memory if protocol == "memory" else contextlib.nullcontext()

    def write(self, key: str, chunks: Sequence[memoryview], new: bool) -> bool:
        path, data = _join(self._root, key), b"".join(chunks)
        with self._lock:
            self._fs.makedirs(self._fs._parent(path), exist_ok=True)
            try:
                self._fs.pipe_file(path, data, mode="create" if new else "overwrite")
            except FileExistsError:
                return False
        return True

    def read(self, key: str, start: int | None, end: int | None) -> bytes:
        return bytes(self._fs.cat_file(_join(self._root, key), start=start, end=end))

    def stat(self, key: str) -> Entry:
        found = self._fs.info(_join(self._root, key))
        if found["type"] != "file":
            raise FileNotFoundError(key)
        return self._entry(key, found)

    def list(self, folder: str) -> Iterator[Entry]:
        root = self._fs._strip_protocol(self._root)
        with contextlib.suppress(FileNotFoundError):
            for path, found in self._fs.find(_join(self._root, folder), detail=True).items():
                yield self._entry(path[len(root) :].lstrip("/"), found)

    def delete(self, key: str) -> None:
        self._fs.rm_file(_join(self._root, key))

    @staticmethod
    def _entry(key: str, found: Mapping[str, Any]) -> Entry:
        times = (found.get(name) for name in ("mtime", "LastModified", "last_modified", "updated", "created"))
        when = next((value for value in times if value), 0.0)
        return Entry(key, int(found["size"]), when.timestamp() if isinstance(when, datetime) else float(when))


class _S3:
    """A bucket, through the calls of s3fs's own client.

    All retries happen here: one hidden in a library would turn our own success into a refusal.

    Args:
        url: ``s3://bucket/prefix``.
        options: what `s3fs.S3FileSystem` takes.
        attempts: how often a call is made before a passing fault is final.
        patience: seconds without a byte of answer that count as a fault.
    """

    def __init__(self, url: str, options: Mapping[str, Any], attempts: int, patience: int) -> None:
        import s3fs

        config: dict[str, Any] = {
            "connect_timeout": 5,
            "read_timeout": patience,
            "max_pool_connections": 32,
            "retries": {"total_max_attempts": 1},
            # Newer checksums travel in a trailer many servers do not know; Content-MD5 guards the upload.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            **options.get("config_kwargs", {}),
        }
        # botocore reads AWS_DEFAULT_REGION only.
        region = {"region_name": os.environ["AWS_REGION"]} if os.environ.get("AWS_REGION") else {}
        self._fs = s3fs.S3FileSystem(
            **{**options, "config_kwargs": config, "client_kwargs": {**region, **options.get("client_kwargs", {})}},
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        self._fs.retries = 1
        self._attempts, self._patience = attempts, patience
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
        calls = 0

        def send() -> bool:
            nonlocal calls
            calls += 1
            try:
                self._call("put_object", key, Body=_Chunks(chunks), ContentLength=size, timeout=deadline, **fields)
            except OSError as error:
                if not isinstance(error, FileExistsError) and _code(error) not in ("PreconditionFailed", "412"):
                    raise
                # An earlier call of ours may have landed though its answer was lost; the token tells.
                return calls > 1 and self._call("head_object", key)["Metadata"].get("writer") == token
            return True

        return self._retried(send)

    def read(self, key: str, start: int | None, end: int | None) -> bytes:
        path = f"{self._bucket}/{_join(self._root, key)}"
        try:
            # One connection: parts fetched side by side could mix two versions of an object.
            data = self._retried(lambda: self._fs.cat_file(path, start=start, end=end, max_concurrency=1))
        except OSError as error:
            if _code(error) in ("InvalidRange", "416"):
                return b""
            raise
        return bytes(data)

    def stat(self, key: str) -> Entry:
        found = self._retried(lambda: self._call("head_object", key))
        return Entry(key, found["ContentLength"], found["LastModified"].timestamp())

    def list(self, folder: str) -> Iterator[Entry]:
        prefix = f"{path}/" if (path := _join(self._root, folder)) else ""
        skip = len(self._root) + 1 if self._root else 0
        wanted = {"Bucket": self._bucket, "Prefix": prefix}
        while True:
            page = self._retried(lambda: self._fs.call_s3("list_objects_v2", **wanted))
            for found in page.get("Contents", ()):
                if not found["Key"].endswith("/"):  # the folder markers some consoles make
                    yield Entry(found["Key"][skip:], found["Size"], found["LastModified"].timestamp())
            if not page.get("IsTruncated"):
                return
            wanted["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, key: str) -> None:
        self._retried(lambda: self._call("delete_object", key))

    def _call(self, method: str, key: str, **fields: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._fs.call_s3(method, Bucket=self._bucket, Key=_join(self._root, key), **fields)
        return found

    def _retried(self, call: Callable[[], T]) -> T:
        """Call, again after a passing fault, with full jitter so that many workers do not come back together."""
        for attempt in range(self._attempts - 1):
            try:
                return call()
            except Exception as error:
                if not _passing(error):
                    raise
                time.sleep(random.uniform(0.05, min(10.0, 0.4 * 2**attempt)))
        return call()


class _Chunks(io.RawIOBase):
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


def _connect(protocol: str, root: str, options: Mapping[str, Any], attempts: int = 6, patience: int = 60) -> _Place:
    if protocol in ("file", "local"):
        return _Local(root)
    if protocol in ("s3", "s3a"):
        return _S3(root, options, attempts, patience)
    return _Fsspec(protocol, root, options)


def _key(path: str) -> str:
    """A checked relative path: what is refused here could leave the folder or meet the store's own files."""
    parts = path.split("/")
    if {"", ".", ".."} & set(parts):
        raise ValueError(f"path {path!r} must be relative, without empty, '.' or '..' parts, such as 'train/000.tar'")
    if parts[0] == TEMPORARY:
        raise ValueError(f"path {path!r} lies in {TEMPORARY}/, which the store keeps for itself")
    return path


def _join(root: str, path: str) -> str:
    slash = "" if not root or root.endswith("/") else "/"
    return f"{root}{slash}{path}" if path else root


def _shown(url: str) -> str:
    """A URL without user and password."""
    return re.sub(r"://[^/]*@", "://", url)


def _secrets(options: Mapping[str, Any]) -> Iterator[str]:
    """The values that must not be shown, at any depth."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secrets(value)
        elif (
            isinstance(value, str) and len(value) > 7 and re.search("secret|session_token|^token$|password", name, re.I)
        ):
            yield value


def _code(error: BaseException | None) -> str:
    """The S3 error code of an exception or of what caused it, else ''."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""


def _passing(error: BaseException | None) -> bool:
    """Whether a fault may be gone on the next try."""
    from aiohttp import ClientError as HttpError
    from botocore.exceptions import (  # type: ignore[import-untyped]
        ConnectionError,
        HTTPClientError,
        IncompleteReadError,
    )

    passing = (ConnectionError, HTTPClientError, HttpError, IncompleteReadError, TimeoutError, ConnectionResetError)
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return status in (408, 409, 429, 500, 502, 503, 504)
        if isinstance(error, passing):
            return True
        error = error.__cause__
    return False
