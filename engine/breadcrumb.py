"""Which samples a worker has in its hands, left where they outlive its process.

A file on the worker's own node: it survives SIGKILL and segmentation faults, costs microseconds, and if the node is
gone with it no sample is to blame.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path


class Breadcrumb:
    """The samples between the start of their reading and the end of their encoding, in order."""

    def __init__(self, path: Path | None = None) -> None:
        """``path``: the file to keep; ``None`` where nobody would read it (in-process runs)."""
        self._ids: list[str] = []
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600) if path else None

    def enter(self, sample_id: str) -> None:
        """The sample is about to be touched."""
        with self._lock:
            self._ids.append(sample_id)
            self._write()

    def leave(self, sample_id: str) -> None:
        """The sample is done, or given up."""
        with self._lock:
            self._ids.remove(sample_id)
            self._write()

    def clear(self) -> None:
        """No sample is in hand."""
        with self._lock:
            self._ids.clear()
            self._write()

    def _write(self) -> None:
        if self._file is not None:
            text = "\n".join(self._ids).encode()
            # Length first: a reader takes that many bytes, so a longer text from before does no harm.
            os.pwrite(self._file, b"%08d\n" % len(text) + text, 0)


def read(path: Path) -> list[str]:
    """The samples that a dead worker had in hand."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    length, _, text = raw.partition(b"\n")
    return text[: int(length or 0)].decode().split("\n") if text[: int(length or 0)] else []
