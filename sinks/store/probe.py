"""Whether a place can hold a dataset: looked at before work starts, with objects of its own that leave no trace."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Mapping

from lesionforge.sinks.store.backend import TEMPORARY, Backend
from lesionforge.sinks.store.errors import StoreError, code, passing
from lesionforge.sinks.store.s3 import S3

#: Seconds after which an unfinished file is nobody's work any more.
LEFTOVER_AFTER = 86_400


def probe(backend: Backend, url: str) -> bool:
    """Write, create twice, read and list; what killed writers have left in ``.tmp/`` goes once it is a day old.

    Args:
        url: how messages name the place.

    Returns:
        True where the second of two creators is refused; False where it is not, but copies can be revoked, so that
        one run at a time keeps every promise (`sinks.commit.stage`).

    Raises:
        StoreError: where the place cannot be used.
        Exception: what the place itself raises.
    """
    key = f"{TEMPORARY}/probe-{uuid.uuid4().hex}"
    try:
        return _probe(backend, url, key)
    except Exception as error:
        if not passing(error):  # not allowed to list, say: what was written shall not stay
            with contextlib.suppress(Exception):
                backend.delete(key)
        raise


def _probe(backend: Backend, url: str, key: str) -> bool:
    first, second = b"first writer", b"second writer"
    try:
        created = backend.write(key, [memoryview(first)], True)
        refused = not backend.write(key, [memoryview(second)], True) and backend.read(key, None, None) == first
    except Exception as error:
        if not isinstance(backend, S3) or code(error) not in ("NotImplemented", "501"):
            raise
        created, refused = backend.write(key, [memoryview(first)], False), False  # it knows no conditional PUT at all
    times = {entry.name: entry.mtime for entry in backend.list(TEMPORARY)}
    copies = refused or (isinstance(backend, S3) and _copies_are_revocable(backend, key))
    backend.delete(key)
    for name in _leftovers(times, now=times.get(key, 0.0)):
        with contextlib.suppress(OSError):  # another probe was faster, or it is not ours to delete
            backend.delete(name)
    if not created or key not in times:
        what = "refused to create an object that did not exist" if not created else "does not list a new object"
        raise StoreError(f"cannot use {url}: this server {what}; use a store that is strongly consistent")
    if not copies:
        raise StoreError(
            f"cannot use {url}: this server overwrites silently on conditional PUT (If-None-Match: *), so two workers "
            "could both commit a shard; use one that honours it (AWS S3, Ceph, MinIO) or a local path"
        )
    return refused


def _copies_are_revocable(backend: S3, key: str) -> bool:
    """Whether the server copies, and no longer does once the source is deleted."""
    copy = f"{TEMPORARY}/probe-{uuid.uuid4().hex}"
    try:
        backend.copy(key, copy)
        same = backend.read(copy, None, None) == backend.read(key, None, None)
        backend.delete(key)
        try:
            backend.copy(key, copy, retries=0)
        except FileNotFoundError:
            return same
        return False
    finally:
        backend.delete(copy)


def _leftovers(times: Mapping[str, float], now: float) -> list[str]:
    """Those of the store's own temporary objects that are old; all times by the place's clock, 0 if it has none."""
    own = re.compile(rf"{re.escape(TEMPORARY)}/(probe-)?[0-9a-f]{{32}}")
    return [name for name, time in times.items() if 0 < time < now - LEFTOVER_AFTER and own.fullmatch(name)]
