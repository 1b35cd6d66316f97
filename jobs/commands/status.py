"""``lesionforge status``: how far a dataset is, from its storage alone, once or for as long as somebody watches."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lesionforge.engine import dataset as document
from lesionforge.engine.finalise import shortfall, strays, vouched
from lesionforge.jobs import console
from lesionforge.sinks import dataset, layout
from lesionforge.sinks.card import counted, human_bytes
from lesionforge.sinks.dataset import Totals
from lesionforge.sinks.listing import entries
from lesionforge.sinks.store import Store, lease

EVERY = 2.0  # seconds between looks
SHARE = 0.2  # of the time that may be spent looking: a large listing is asked for more rarely
WINDOW = 600.0  # seconds of commits that the rate is measured over
ALONE = 2 * lease.STALE  # seconds without a run at work after which nobody is waited for any longer
REASONS = 5  # kinds of reasons shown while watching


class Progress:
    """What lies in a dataset's place; each look reads only what was committed since the one before."""

    def __init__(self, place: str | Store) -> None:
        """Find the dataset.

        Raises:
            DatasetError, StoreError: where there is none, or it cannot be read.
        """
        self._store = place if isinstance(place, Store) else Store(place)
        self._doc = document.read(self._store)
        self._plan = self._doc.plan
        self._forget()

    def _forget(self) -> None:
        self._totals = Totals()
        self._seen: dict[str, tuple[float, int, int]] = {}  # shard -> when committed, sizes of its index and tar
        self._commits: list[tuple[float, int]] = []  # when, how many samples
        self._broken: list[str] = []  # shards whose tar is not the one committed, or that are another dataset's

    def look(self) -> dict[str, Any]:
        """How far it is now."""
        indexes = list(entries(self._store, self._plan, layout.INDEX, "parquet"))  # first: its tar is there before it
        tars = list(entries(self._store, self._plan, layout.SHARDS, "tar"))
        sizes = {k: entry.size for k, entry in tars if k is not None}
        there = {
            self._plan.shard(k).name: (entry.mtime, entry.size, sizes[k])
            for k, entry in indexes
            if k is not None and k in sizes
        }
        if not self._seen.items() <= there.items():
            self._forget()  # something is gone, or another by now: counted anew
        new = sorted(there.keys() - self._seen.keys())
        told = dataset.footers(self._store, ((shard, there[shard][1]) for shard in new))
        for shard, found in zip(new, told, strict=True):
            if found is None:
                continue
            self._seen[shard] = when, _, tar = there[shard]
            record, summary = found
            if (record.tar_bytes, record.recipe) != (tar, self._doc.identity):
                self._broken.append(shard)
                continue
            self._totals.add(record, summary)
            self._commits.append((when, record.samples + record.quarantined))
        finished = vouched(self._store)
        stray = sorted(entry.name for k, entry in (*indexes, *tars) if k is None)
        return self._body(finished, stray, None if finished else lease.run_seen(self._store))

    def _body(self, finished: bool, stray: list[str], run_seen: float | None) -> dict[str, Any]:
        plan, totals, now = self._plan, self._totals, time.time()
        problem = shortfall(self._doc, totals)
        short = bool(problem) and totals.shards == plan.shards
        damage = [f"{self._broken[0]} is not what was committed"] if self._broken else []
        problem = "; ".join(filter(None, [problem, *damage, strays(self._doc, stray)]))
        left = max(0, len(plan) - totals.samples - totals.quarantined)
        last = max((when for when, _ in self._commits), default=None)
        per_second = rate(self._commits, now if left else last or now)
        return {
            "out": self._store.url(),
            "name": self._doc.recipe.name,
            "identity": self._doc.identity,
            "state": "short" if short else "complete" if finished and not problem else "incomplete",
            "problem": problem,
            "shards": totals.shards,
            "shards_planned": plan.shards,
            "samples": totals.samples,
            "samples_planned": len(plan),
            "quarantined": totals.quarantined,
            "bytes": totals.bytes,
            "splits": dict(totals.per_split),
            "reasons": dict(totals.reasons),
            "burned_in_text": totals.burned_in,
            "samples_per_second": round(per_second, 3) if per_second is not None else None,
            "seconds_left": round(left / per_second, 1) if per_second else None,
            "seconds_since_last_commit": round(now - last, 1) if last is not None else None,
            "run_at_work": run_seen is not None,
        }


def rate(commits: Sequence[tuple[float, int]], now: float) -> float | None:
    """Samples per second over the last minutes, or ``None`` where there is too little to tell.

    Args:
        commits: when each shard was committed, and how many samples it holds.
        now: until when; 0 where nothing came for long.
    """
    recent = sorted(c for c in commits if c[0] > now - WINDOW)
    if not recent:
        return 0.0 if commits else None
    first = recent[0][0]
    if now - first < 1e-3:
        return None
    # The first commit's samples were made before it: they count towards no second that is known.
    return sum(samples for when, samples in recent if when > first) / (now - first) if len(recent) > 1 else None


def watch(place: str | Store, as_json: bool, pause: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Look until the dataset is finished, or nobody has been at work for `ALONE` seconds, or Ctrl-C.

    Args:
        place: where it lies.
        as_json: one JSON object a line, whenever something has changed.
        pause: waits some seconds.

    Returns:
        The last look.
    """
    progress, alone, shards = Progress(place), 0.0, 0
    with _teller(as_json) as tell:
        while True:
            began = time.monotonic()
            body = progress.look()
            tell(body)
            if body["run_at_work"] or body["shards"] != shards:
                alone, shards = 0.0, body["shards"]
            if body["state"] != "incomplete" or alone > ALONE:
                return body
            seconds = max(EVERY, (time.monotonic() - began) / SHARE)
            pause(seconds)
            alone += seconds


@contextmanager
def _teller(as_json: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A live table on a terminal; elsewhere a line whenever something has changed."""
    if console.out.is_terminal and not as_json:
        with Live(console=console.out, auto_refresh=False) as live:
            yield lambda body: live.update(picture(body), refresh=True)
        return
    last: tuple[str, int] | None = None

    def tell(body: dict[str, Any]) -> None:
        nonlocal last
        if last != (body["state"], body["shards"]):
            last = body["state"], body["shards"]
            console.out.file.write((json.dumps(body, allow_nan=False) if as_json else line(body)) + "\n")
            console.out.file.flush()

    yield tell


def line(body: dict[str, Any]) -> str:
    """One line for logs."""
    return (
        f"{body['name']}: {body['state']}, {body['samples']:,}/{body['samples_planned']:,} samples, "
        f"{body['quarantined']:,} quarantined, {human_bytes(body['bytes'])}, {_rate(body)}, {_left(body)} left"
    )


def _rate(body: dict[str, Any]) -> str:
    rate = body["samples_per_second"]
    return f"{rate:.1f} samples/s" if rate is not None else "? samples/s"


def _left(body: dict[str, Any]) -> str:
    if body["samples"] + body["quarantined"] >= body["samples_planned"]:
        return "nothing"
    return console.human_seconds(body["seconds_left"]) if body["seconds_left"] is not None else "?"


def _ago(body: dict[str, Any]) -> str:
    ago = body["seconds_since_last_commit"]
    return f"{console.human_seconds(max(0.0, ago))} ago" if ago is not None else "none yet"


def picture(body: dict[str, Any]) -> Group:
    """The live table."""
    done = body["samples"] + body["quarantined"]
    colour = {"complete": "green", "short": "red"}.get(body["state"], "cyan")
    state = "incomplete, no run at work" if body["state"] == "incomplete" and not body["run_at_work"] else body["state"]
    title = Text.assemble((body["name"], "bold"), " in ", body["out"], "  ", (state, colour))
    bar = Table.grid(padding=(0, 1))
    share = f"{100 * done / body['samples_planned']:.1f} %"
    bar.add_row(
        ProgressBar(body["samples_planned"], done, width=50, complete_style=colour, finished_style=colour), share
    )
    grid = Table.grid(padding=(0, 3, 0, 0))
    for style in ("dim", "", "dim", ""):
        grid.add_column(style=style)
    lost = Text(f"{body['quarantined']:,}", "yellow" if body["quarantined"] else "")
    grid.add_row("samples", f"{body['samples']:,} of {body['samples_planned']:,}", "rate", _rate(body))
    grid.add_row("shards", f"{body['shards']:,} of {body['shards_planned']:,}", "left", _left(body))
    grid.add_row("quarantined", lost, "size", human_bytes(body["bytes"]))
    splits = "  ".join(f"{split} {count:,}" for split, count in body["splits"].items())
    grid.add_row("splits", splits or "-", "last shard", _ago(body))
    reasons = list(body["reasons"].items())
    lines = [Text(f"{count:>7,} x {reason}", "yellow", no_wrap=True, overflow="ellipsis") for reason, count in reasons]
    more = [Text(f"        and {len(lines) - REASONS} more kinds", "dim")] if len(lines) > REASONS else []
    problem = [Text(body["problem"], "red")] if body["state"] == "short" else []
    return Group(title, bar, grid, *lines[:REASONS], *more, *problem)


def show(body: dict[str, Any]) -> None:
    """One look, for people."""
    done = 100 * body["shards"] / body["shards_planned"]
    console.out.print(f"{body['name']} in {body['out']}: {body['state']}, {done:.1f} % of the shards", markup=False)
    console.out.print(
        f"{body['samples']:,} of {counted(body['samples_planned'], 'sample')}, {body['quarantined']:,} quarantined, "
        f"{body['shards']:,} of {counted(body['shards_planned'], 'shard')}, {human_bytes(body['bytes'])}"
    )
    for reason, count in body["reasons"].items():
        console.out.print(f"quarantined {count} x {reason}", markup=False)
    if body["burned_in_text"]:
        console.out.print(
            f"{counted(body['burned_in_text'], 'sample')} of frames that seem to carry writing: look at them"
        )
    if body["problem"]:
        console.out.print(body["problem"], markup=False)
    if body["state"] == "incomplete":
        what = "a run is at work" if body["run_at_work"] else "no run is at work: the same generate command continues"
        console.out.print(f"last shard committed: {_ago(body)}; {what}")
