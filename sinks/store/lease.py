"""Who is at work in a place: a small object that says so, rewritten while the work goes on.

A run and ``gc`` exclude each other; where the place does not refuse the second of two creators, two runs do as well.
No compare-and-swap is needed for that (Dekker's rule): each writes its own lease first and looks for others' then, so
of two that begin at once at least one sees the other. What is needed is a store whose listing shows what was written.

A lease that is not rewritten for `STALE` seconds, by the place's own clock, is a dead process's and blocks nobody; on
the same machine a process that is gone is recognised at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from lesionforge.sinks.limits import parsed
from lesionforge.sinks.store.errors import StoreError
from lesionforge.sinks.store.store import Store

BEAT = 10.0  # seconds between two rewritings
STALE = 90.0  # seconds without one after which the writer counts as dead

NAME = re.compile("(?P<kind>run|gc)-[0-9a-f]{32}")

Kind = Literal["run", "gc"]


@dataclass
class Holder:
    """What a lease says of the process that holds it."""

    kind: Kind
    process: str  # machine and process, as the kernel counts them
    beats: int = 0


class Lease:
    """This process's lease in a place.

    Attributes:
        name: of the lease, in the place's hidden folder.
        entered: when it was written, by the place's clock (seconds since 1970).
    """

    def __init__(self, store: Store, kind: Kind) -> None:
        self.token = uuid.uuid4().hex
        self._store, self._hidden = store, store.hidden()
        self._holder = Holder(kind, _process())
        self.name = f"{kind}-{self.token}"
        self._stop, self._lost, self._looking = threading.Event(), False, threading.Lock()
        self._last, self.entered = time.monotonic(), 0.0
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)

    def check(self) -> None:
        """Raise StoreError where others may take this process for dead, as after a long pause or a cut line."""
        with self._looking:  # one at a time: this thread, and that which keeps the lease
            if not self._lost and time.monotonic() - self._last < STALE and self._read(self.name):
                return
            self._lost = True
        raise StoreError(
            f"this {self._holder.kind} was silent in {self._store.url()} for over {STALE:g} s, and another may "
            "have taken its place"
        )

    def enter(self, notify: Callable[[str], None]) -> None:
        """Write the lease; return once no rival is alive.

        A rival's lease is watched until it is rewritten (then it is alive: StoreError), gone, or stale.
        """
        seen: dict[str, tuple[int, float]] = {}  # beats when first seen, and when that was
        dead: set[str] = set()
        while True:
            self._beat()
            rivals = self._rivals()
            if rivals and not seen:
                notify(
                    f"somebody's lease lies in {self._store.url()}: looking, for up to {STALE:g} s, whether they live"
                )
            for name, holder in rivals.items():
                beats, since = seen.setdefault(name, (holder.beats, time.monotonic()))
                if holder.beats > beats:
                    who = "a run" if holder.kind == "run" else "gc"
                    raise StoreError(f"{who} is at work in {self._store.url()}: wait for its end, then run this again")
                if time.monotonic() - since > STALE:  # a place without a clock
                    self._bury(name)
                    dead.add(name)
            if not rivals.keys() - dead:
                break
            self._stop.wait(min(1.0, BEAT / 4))
        self._thread.start()
        if self._holder.kind == "run" and not self._store.conditional:
            self._revoke()

    def leave(self) -> None:
        """Take the lease away; where that cannot be done, it will be stale soon."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        with contextlib.suppress(StoreError):  # what has failed before is what should be said
            self._hidden.delete(self.name)

    def _beat(self) -> None:
        began = time.monotonic()
        self._holder.beats += 1
        self._hidden.put(self.name, json.dumps(asdict(self._holder)).encode())
        self._last = began

    def _keep_beating(self) -> None:
        while not self._stop.wait(BEAT):
            with contextlib.suppress(StoreError):  # `check` tells when it has failed for too long
                if self._holder.kind == "gc" or not self._store.conditional:
                    self.check()
                self._beat()

    def _rivals(self) -> dict[str, Holder]:
        """The others' leases that may be alive; the dead are buried."""
        entries = {entry.name: entry for entry in self._hidden.list()}
        if self.name not in entries:
            raise StoreError(f"cannot use {self._store.url()}: it does not list a new object")
        now, found = entries[self.name].mtime, dict[str, Holder]()
        self.entered = now
        for name, entry in entries.items():
            match = NAME.fullmatch(name)
            if not match or name == self.name:
                continue
            if match["kind"] == self._holder.kind == "run" and self._store.conditional:
                continue  # the place itself keeps them apart
            holder = self._read(name)
            if holder and (entry.mtime < now - STALE or _is_gone(holder.process)):
                self._bury(name)
            elif holder:
                found[name] = holder
        return found

    def _read(self, name: str) -> Holder | None:
        try:
            return _holder(self._hidden.get(name))
        except FileNotFoundError:
            return None  # it has left

    def _bury(self, name: str) -> None:
        """Take a dead process's lease away; for gc it is a leftover like others, for its time."""
        if self._holder.kind == "run":
            self._hidden.delete(name)

    def _revoke(self) -> None:
        """Delete what runs before this one had staged: no copy of it can be published from now on."""
        for entry in self._hidden.list():
            if "/" in entry.name and not entry.name.startswith(f"{self.token}/"):
                self._hidden.delete(entry.name)


@contextlib.contextmanager
def hold(store: Store, kind: Kind, notify: Callable[[str], None] = lambda line: None) -> Iterator[Lease]:
    """Leave a lease in a place while work goes on there.

    Args:
        store: a place that has been probed; where it needs one, it is given its `lease`.
        kind: what the work is.
        notify: called with one line if it has to be waited.

    Raises:
        StoreError: somebody else is at work there.
    """
    lease = Lease(store, kind)
    try:
        lease.enter(notify)
        store.lease = None if store.conditional else lease.token
        yield lease
    finally:
        store.lease = None
        lease.leave()


def run_seen(store: Store) -> float | None:
    """When a run that is at work in a place last renewed its lease (seconds since 1970); None where there is none."""
    hidden, seen = store.hidden(), list[float]()
    for entry in hidden.list():
        match = NAME.fullmatch(entry.name)
        if match and match["kind"] == "run" and entry.mtime > time.time() - STALE:
            with contextlib.suppress(FileNotFoundError):  # it has just left
                holder = _holder(hidden.get(entry.name))
                if holder and not _is_gone(holder.process):
                    seen.append(entry.mtime)
    return max(seen, default=None)


def _holder(data: bytes) -> Holder | None:
    """What a lease says; None where it is none of ours."""
    try:
        holder = Holder(**parsed(data))
    except (ValueError, TypeError):
        return None
    return holder if isinstance(holder.process, str) else None


def _process() -> str:
    """This process, so that another on the same machine can tell whether it lives; '' where the kernel does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')} {os.getpid()}"
    except OSError:
        return ""


def _is_gone(process: str) -> bool:
    """Whether a process of this machine has ended; False for those of others."""
    *machine, number = process.split(" ")
    if not machine or machine != _process().split(" ")[:-1]:
        return False
    return not Path(f"/proc/{number}").exists()
