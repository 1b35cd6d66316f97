"""Which samples a worker has in its hands, left where they outlive its process, and the alarm that ends a late one.

A file on the worker's own node while it makes a shard: it survives SIGKILL and segmentation faults, costs
microseconds, and if the node is gone with it no sample is to blame.

The alarm is the kernel's timer (SIGALRM), so it rings even where native code holds the interpreter for ever. Its
handler, faulthandler's, is C too: it appends every thread's stack to the file, which tells a late sample from a killed
one, and lets the signal end the process. A process that is stopped (SIGSTOP) while its time runs out is late as well.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from json import dumps, loads
from pathlib import Path

_RANG = b"most recent call first"  # faulthandler's words
_STALE = 3600.0  # seconds after which nobody will ask for a dead worker's file


@dataclass(eq=False)
class Work:
    """One stage at work on some samples, and by when (``time.monotonic`` of the node) it must be done."""

    stage: str
    samples: list[str]
    until: float = float("inf")


@dataclass
class Found:
    """What a worker has, or a dead one had, in hand.

    ``in_hand``: samples between the start of their reading and the end of their encoding. ``work``: those of them that
    a stage was busy with. ``late``: the alarm ended the process.
    """

    in_hand: list[str] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)
    late: bool = False

    @property
    def sole(self) -> tuple[str, str] | None:
        """The stage and sample that alone can be to blame, if there is one."""
        if len(self.work) == 1 and len(self.work[0].samples) == 1:
            return self.work[0].stage, self.work[0].samples[0]
        if not self.work and len(self.in_hand) == 1:
            return "passing on", self.in_hand[0]
        return None

    def overdue(self) -> float:
        """Seconds since the alarm ought to have rung; negative before. Ask on the worker's own node."""
        return time.monotonic() - min((work.until for work in self.work), default=float("inf"))


class Breadcrumb:
    """Keeps the file of one worker, and its alarm."""

    def __init__(self, path: Path | None = None, seconds: float | None = None) -> None:
        """``path``: the file, ``None`` where nobody would read it. ``seconds``: limit of a stage at one sample."""
        self._path, self._seconds = path, seconds
        self._found = Found()
        self._lock = threading.Lock()
        self._files: list[int] = []

    @contextlib.contextmanager
    def shard(self) -> Iterator[None]:
        """While a shard is being made; the file is gone when it is done."""
        if self._path is None:
            yield
            return
        self._found = Found()
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
            self._found.in_hand.append(sample_id)
            self._write()

    def leave(self, sample_id: str) -> None:
        """The sample is done, or given up."""
        with self._lock:
            self._found.in_hand.remove(sample_id)
            self._write()

    @contextlib.contextmanager
    def work(self, stage: str, samples: Sequence[str]) -> Iterator[None]:
        """A stage is at work on these samples, and may take the limit for each of them."""
        work = Work(stage, list(samples))
        if self._seconds:
            work.until = time.monotonic() + self._seconds * len(samples)
        with self._lock:
            self._found.work.append(work)
            self._write()
        try:
            yield
        finally:
            with self._lock:
                self._found.work.remove(work)
                self._write()

    def _write(self) -> None:
        if not self._files:
            return
        if self._seconds:
            left = -self._found.overdue()
            signal.setitimer(signal.ITIMER_REAL, 0 if left == float("inf") else max(left, 1e-6))
        text = dumps({"in_hand": self._found.in_hand, "work": [vars(work) for work in self._found.work]}).encode()
        # Length first: a reader takes that many bytes, so a longer text from before does no harm.
        os.pwrite(self._files[0], b"%08d\n" % len(text) + text, 0)


def new_path() -> Path:
    """Where this process may keep its file. Files of processes that died long ago are swept away."""
    folder = Path(tempfile.gettempdir())
    for path in folder.glob("lesionforge-*.crumb"):
        with contextlib.suppress(OSError, ValueError):
            if time.time() - path.stat().st_mtime > _STALE and not _alive(int(path.name.split("-")[1])):
                path.unlink()
    return folder / f"lesionforge-{os.getpid()}-{uuid.uuid4().hex}.crumb"


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


def read(path: Path) -> Found:
    """What lies in a worker's file; nothing in hand where there is none."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return Found()
    length, _, rest = raw.partition(b"\n")
    if not length.isdigit():
        return Found()
    body = loads(rest[: int(length)])
    work = [Work(**work) for work in body["work"]]
    return Found(body["in_hand"], work, _RANG in rest[int(length) :])
