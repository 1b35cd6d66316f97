"""Bounds on a worker that makes a shard: what it has in hand, an alarm for a late sample, a limit for a greedy one.

In hand: a file on the worker's own node while it makes a shard: it survives SIGKILL and segmentation faults, costs
microseconds, and if the node is gone with it no sample is to blame.

The alarm is the kernel's timer (SIGALRM), so it rings even where native code holds the interpreter for ever. Its
handler, faulthandler's, is C too: it appends every thread's stack to the file, which tells a late sample from a killed
one, and lets the signal end the process. A process that is stopped (SIGSTOP) while its time runs out is late as well,
but its alarm rings only when it goes on, and that shows.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from json import dumps, loads
from pathlib import Path

from lesionforge.engine.messages import InHand, Work

_RANG = b"most recent call first"  # faulthandler's words
_STATUS = Path("/proc/self/status")
_LATE_ALARM = 1.0  # seconds from the end of a sample's time to the alarm, from which on the process was stopped
_STALE = 3600.0  # seconds after which nobody will ask for a dead worker's file


class Watchdog:
    """Keeps the file of one worker, and its alarm."""

    def __init__(self, path: Path | None = None, seconds: float | None = None) -> None:
        """``path``: the file, ``None`` where nobody would read it. ``seconds``: limit of a stage at one sample."""
        self._path, self._seconds = path, seconds
        self._in_hand = InHand()
        self._lock = threading.Lock()
        self._files: list[int] = []

    @contextlib.contextmanager
    def shard(self) -> Iterator[None]:
        """While a shard is being made; the file is gone when it is done."""
        if self._path is None:
            yield
            return
        self._in_hand = InHand()
        self._files = [os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)]
        if self._seconds:
            self._files.append(os.open(self._path, os.O_WRONLY | os.O_APPEND))
            faulthandler.register(signal.SIGALRM, file=self._files[1], chain=True)
        try:
            yield
        finally:
            with self._lock:
                signal.setitimer(signal.ITIMER_REAL, 0)
                files, self._files = self._files, []
            if self._seconds:
                faulthandler.unregister(signal.SIGALRM)
            for file in files:
                os.close(file)
            self._path.unlink(missing_ok=True)

    def enter(self, sample_id: str) -> None:
        """The sample is about to be touched."""
        with self._lock:
            self._in_hand.samples.append(sample_id)
            self._write()

    def leave(self, sample_id: str, well: bool) -> None:
        """The sample is done, well or given up."""
        with self._lock:
            self._in_hand.done += well
            self._in_hand.samples.remove(sample_id)
            self._write()

    @contextlib.contextmanager
    def work(self, stage: str, samples: Sequence[str]) -> Iterator[None]:
        """A stage is at work on these samples, and may take the limit for each of them."""
        work = Work(stage, list(samples))
        if self._seconds:
            work.until = time.monotonic() + self._seconds * len(samples)
        with self._lock:
            self._in_hand.work.append(work)
            self._write()
        try:
            yield
        finally:
            with self._lock:
                self._in_hand.work.remove(work)
                self._write()

    def _write(self) -> None:
        if not self._files:
            return
        if self._seconds:
            left = -self._in_hand.overdue()
            signal.setitimer(signal.ITIMER_REAL, 0 if left == float("inf") else max(left, 1e-6))
        held = self._in_hand
        text = dumps({"samples": held.samples, "work": [vars(work) for work in held.work], "done": held.done}).encode()
        # Length first: a reader takes that many bytes, so a longer text from before does no harm.
        os.pwrite(self._files[0], b"%08d\n" % len(text) + text, 0)


def new_path() -> Path:
    """Where this process may keep its file. Files of processes that died long ago are swept away."""
    folder = Path(tempfile.gettempdir())
    for path in folder.glob("lesionforge-*.worker"):
        with contextlib.suppress(OSError, ValueError):
            if time.time() - path.stat().st_mtime > _STALE and not _alive(int(path.name.split("-")[1])):
                path.unlink()
    return folder / f"lesionforge-{os.getpid()}-{uuid.uuid4().hex}.worker"


def stopped(path: Path) -> bool:
    """Whether the process that keeps this file is stopped (SIGSTOP), so that not even its alarm can end it."""
    try:
        stat = Path(f"/proc/{int(path.name.split('-')[1])}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "T"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def read(path: Path) -> InHand:
    """What lies in a worker's file; nothing in hand where there is none. To be asked on the worker's own node."""
    try:
        raw, written = path.read_bytes(), path.stat().st_mtime
    except FileNotFoundError:
        return InHand()
    length, _, rest = raw.partition(b"\n")
    if not length.isdigit():
        return InHand()
    body = loads(rest[: int(length)])
    work = [Work(**work) for work in body["work"]]
    in_hand = InHand(body["samples"], work, _RANG in rest[int(length) :], body["done"])
    # The alarm's words are the last that was written: so long ago it rang, and so long ago it should have.
    in_hand.paused = in_hand.late and in_hand.overdue() - (time.time() - written) > _LATE_ALARM
    return in_hand


@contextlib.contextmanager
def memory_limit(more: int | None) -> Iterator[None]:
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
