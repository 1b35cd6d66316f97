"""A bound on the memory that making a shard may take, which turns a greedy sample into a ``MemoryError`` of its own."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

_STATUS = Path("/proc/self/status")


@contextlib.contextmanager
def memory(more: int | None) -> Iterator[None]:
    """Let this process take at most ``more`` bytes over what it has now; ``None`` bounds nothing.

    The kernel counts private writable memory (RLIMIT_DATA, Linux): heap, anonymous maps, thread stacks; neither files
    mapped for reading nor memory on a GPU. Python and numpy answer with ``MemoryError``; native code that does not
    check may end the process.
    """
    if more is None or not _STATUS.exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _taken() + more
    hard = before[1]
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _taken() -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmData:"))
    return int(line.split()[1]) * 1024
