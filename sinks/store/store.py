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
the last of two writers would win. An S3 server that does not refuse the second creator even of one PUT serves one run
at a time, which publishes by copies inside the server (`sinks.commit.stage`). Credentials and endpoint come from the
usual AWS variables or `storage_options` (s3fs names). The kinds of place are in `sinks.store.disk`, `sinks.store.s3`
and `sinks.store.filesystem`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fsspec.utils import get_protocol

from lesionforge.sinks.store.backend import TEMPORARY, Backend, Entry, join
from lesionforge.sinks.store.disk import Disk
from lesionforge.sinks.store.errors import StoreError, code, explain
from lesionforge.sinks.store.filesystem import FileSystem
from lesionforge.sinks.store.probe import probe
from lesionforge.sinks.store.s3 import S3

Bytes = bytes | bytearray | memoryview

_opening = threading.RLock()


def _after_fork() -> None:
    global _opening
    _opening = threading.RLock()  # a thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)


class Store:
    """A folder somewhere fsspec can reach.

    Safe to use from several threads, after a fork, and to send to other processes: the connection is made on first
    use in each process. A pickle carries `storage_options`, secrets included, where they were given explicitly;
    prefer the AWS variables, which never travel. Neither `repr` nor an error message shows a secret.

    Args:
        url: a local path, ``file://``, ``memory://``, ``s3://bucket/prefix`` or any other fsspec URL.
        storage_options: what the fsspec file system takes, such as ``{"endpoint_url": "http://127.0.0.1:7480"}``.

    Attributes:
        is_local: whether it is a folder of this machine's file system.
        is_shared: whether other processes see what this one writes.
        conditional: whether the place refuses the second of two creators; `probe` finds out.
        lease: where it does not, the token of the one run that may publish here (`sinks.store.lease`).

    Raises:
        StoreError: the URL has one slash after its scheme, as one that went through `Path` does, or an ``s3://``
            URL names no bucket.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self._protocol = get_protocol(url)
        self.is_local = self._protocol in ("file", "local")
        self.is_shared = self._protocol != "memory"
        if self.is_local:
            if re.match(r"[A-Za-z][\w.+-]+:/(?!/)", url):
                whole = _shown(url.replace(":/", "://", 1))
                raise StoreError(
                    f"the URL {whole} lost a slash on its way here and would be a local folder: write both"
                )
            url = os.path.abspath(os.path.expanduser(re.sub(r"^(file|local)://", "", url)))
        elif self._protocol == "s3" and not re.fullmatch(r"s3a?://[^/@]+(/.*)?", url):
            raise StoreError(f"{_shown(url)!r} names no bucket: write s3://bucket/prefix")
        self._root = url if self.is_local else re.sub(r"(?<![/:])/+$", "", url)
        self._options = dict(storage_options or {})
        self._backend: tuple[int, Backend] | None = None
        self.conditional = True
        self.lease: str | None = None
        self._hidden: Store | None = None
        self._above: Store | None = None

    def __repr__(self) -> str:
        return f"Store({_shown(self._root)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._root, self._options), {"conditional": self.conditional, "lease": self.lease}

    def put_new(self, path: str, data: Bytes | Sequence[Bytes]) -> bool:
        """Create an object whole, or leave the one that is there untouched.

        Args:
            path: relative to the store.
            data: the content, or chunks of it, which are written one after the other without joining them.

        Returns:
            True if this call created the object, False if it was there already. On S3 this holds even if an answer
            was lost on the way and the PUT repeated: each call leaves its own token in the object's metadata.

        Raises:
            StoreError: it could not be written; after a lost connection it may be there, and calling again is False.
        """
        if self.conditional:
            return self._write(_key(path), data, new=True)
        if self.lease is None:
            raise StoreError(
                f"{self.url(path)}: this server lets two create one object; only a run with the lease may write"
            )
        if self.exists(path):
            return False
        stage = f"{self.lease}/{uuid.uuid4().hex}"
        self.hidden().put(stage, data)
        self.publish(stage, path)
        self.hidden().delete(stage)
        return True

    def put(self, path: str, data: Bytes | Sequence[Bytes]) -> None:
        """Write an object, replacing at once the one that is there: a reader sees the old or the new, never a mix."""
        self._write(_key(path), data, new=False)

    def get(self, path: str, most: int | None = None) -> bytes:
        """Read an object of at most ``most`` bytes. Raises FileNotFoundError for none, StoreError for a larger one."""
        key = _key(path)
        with self._errors("read", path):
            data = self._open().read(key, None if most is None else 0, None if most is None else most + 1)
        if most is None or len(data) <= most:
            return data
        raise StoreError(f"{self.url(path)} has more than {most} bytes: it was not written here")

    def get_range(self, path: str, offset: int, size: int) -> bytes:
        """Read exactly `size` bytes from `offset`.

        Raises:
            FileNotFoundError: there is none.
            StoreError: the object ends earlier: it is not the one whose offsets were recorded.
        """
        if offset < 0 or size < 0:
            raise ValueError(f"offset {offset} and size {size} of a range must not be negative")
        key = _key(path)
        with self._errors("read", path):
            data = self._open().read(key, offset, offset + size) if size else b""
        if len(data) != size:
            end = offset + size
            raise StoreError(f"{self.url(path)} ends before byte {end}: it was cut or replaced since it was indexed")
        return data

    def exists(self, path: str) -> bool:
        """Whether there is such an object (a folder is none)."""
        with contextlib.suppress(FileNotFoundError):
            self._stat(path, due=False)
            return True
        return False

    def size(self, path: str) -> int:
        """Size in bytes of an object that should be there. Raises FileNotFoundError if there is none."""
        return self._stat(path, due=True).size

    def _stat(self, path: str, due: bool) -> Entry:
        key = _key(path)
        with self._errors("look up", path):
            return self._open().stat(key, due)

    def list(self, prefix: str = "") -> list[Entry]:
        """All objects below the folder `prefix`, at any depth, sorted by name, never from a cache.

        Returns:
            Entries whose names are relative to the store; empty if there is no such folder.
        """
        return sorted(self.scan(prefix))

    def scan(self, prefix: str = "", cuts: Sequence[str] = ()) -> Iterator[Entry]:
        """The same in no order, as they are listed: a million entries are not held at once.

        Args:
            prefix: a folder.
            cuts: paths, sorted, between which stretches of about 10,000 objects lie: a bucket lists several at once.
        """
        folder = _key(prefix.rstrip("/")) if prefix else ""
        with self._errors("list", prefix, absent=StoreError):
            for entry in self._open().list(folder, cuts):
                if not entry.name.startswith(f"{TEMPORARY}/"):
                    yield entry

    def delete(self, path: str) -> None:
        """Delete an object; no error if there is none."""
        key = _key(path)
        with contextlib.suppress(FileNotFoundError), self._errors("delete", path):
            self._open().delete(key)

    def url(self, path: str = "") -> str:
        """Where an object lies: an absolute path, or a URL without any user and password."""
        return _shown(join(self._root, path))

    def local_path(self, path: str = "") -> Path:
        """The object's path on this machine; StoreError if the store is not local."""
        if not self.is_local:
            raise StoreError(f"{self.url(path)} has no local path: read it with get()")
        return Path(join(self._root, path))

    def hidden(self) -> Store:
        """The folder for what is no part of the dataset: unfinished objects and leases. `list` never shows it."""
        if self._hidden is None:
            self._hidden = Store(join(self._root, TEMPORARY), self._options)
        self._hidden._above = self
        return self._hidden

    def publish(self, stage: str, path: str) -> None:
        """Copy an object of `hidden` to its name in the store, at once, inside an S3 server.

        Raises:
            FileNotFoundError: it is not there any more: deleting a stage revokes even a copy that is under way.
        """
        key = _key(path)
        with self._errors("write", path):
            backend = self._open()
            assert isinstance(backend, S3)  # the only kind of place that `probe` lets in without `conditional`
            backend.copy(f"{TEMPORARY}/{_key(stage)}", key)

    def probe(self) -> None:
        """Check before work starts that the place is writable, and set `conditional`: see `sinks.store.probe`.

        Raises:
            StoreError: one line with the URL, what failed and what to do.
        """
        with self._errors("open", ""):
            backend = _connect(self._protocol, self._root, self._options, attempts=3, patience=4)
        with self._errors("write to", "", absent=StoreError):
            self.conditional = probe(backend, self.url())

    def _write(self, key: str, data: Bytes | Sequence[Bytes], new: bool) -> bool:
        chunks = [data] if isinstance(data, bytes | bytearray | memoryview) else data
        views = [memoryview(chunk).cast("B") for chunk in chunks if memoryview(chunk).nbytes]
        with self._errors("write", key, absent=StoreError):
            return self._open().write(key, views, new)

    def _open(self) -> Backend:
        with _opening:  # threads that meet here would each pay for a connection
            if self._backend is None or self._backend[0] != os.getpid():
                with self._errors("open", ""):
                    if self._above:
                        backend = self._above._open().below(TEMPORARY)
                    else:
                        backend = _connect(self._protocol, self._root, self._options)
                    self._backend = os.getpid(), backend
            return self._backend[1]

    @contextlib.contextmanager
    def _errors(self, verb: str, path: str, absent: type[Exception] = FileNotFoundError) -> Iterator[None]:
        # Every file system raises its own kinds of exception: at this border they all become two.
        try:
            yield
        except StoreError:
            raise
        except (FileNotFoundError, NotADirectoryError) as error:
            if absent is FileNotFoundError and code(error) != "NoSuchBucket":
                raise FileNotFoundError(errno.ENOENT, "no such object", self.url(path)) from None
            raise StoreError(f"cannot {verb} {self.url(path)}: {self._explain(error)}") from error
        except Exception as error:
            raise StoreError(f"cannot {verb} {self.url(path)}: {self._explain(error)}") from error

    def _explain(self, error: Exception) -> str:
        return explain(error, self._options, bucket=self._root.partition("://")[2].partition("/")[0])


def _connect(protocol: str, root: str, options: Mapping[str, Any], attempts: int = 6, patience: int = 60) -> Backend:
    if protocol in ("file", "local"):
        return Disk(root)
    if protocol in ("s3", "s3a"):
        return S3(root, options, attempts, patience)
    return FileSystem(protocol, root, options)


def _key(path: str) -> str:
    """A checked relative path: what is refused here could leave the folder or meet the store's own files."""
    parts = path.split("/")
    if {"", ".", ".."} & set(parts):
        raise ValueError(f"path {path!r} must be relative, without empty, '.' or '..' parts, such as 'train/000.tar'")
    if parts[0] == TEMPORARY:
        raise ValueError(f"path {path!r} lies in {TEMPORARY}/, which the store keeps for itself")
    return path


def _shown(url: str) -> str:  # without user and password
    return re.sub(r"://[^/]*@", "://", url)
