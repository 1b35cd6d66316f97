"""``lesionforge verify``: a dataset re-read byte by byte and held against its own recipe; lost indexes made anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from lesionforge.engine import dataset as document
from lesionforge.engine.dataset import DatasetDescription
from lesionforge.jobs import console
from lesionforge.jobs.commands.verify_shard import FIX, Finding, Inspector
from lesionforge.jobs.commands.verify_whole import Whole
from lesionforge.jobs.progress import steps
from lesionforge.sinks import dataset, index, layout
from lesionforge.sinks.card import counted, human_bytes
from lesionforge.sinks.dali import dali
from lesionforge.sinks.store import Store

SHOWN_PROBLEMS = 1000  # a wrecked dataset shall not fill the terminal

Mend = Callable[[Finding], bool]  # mends what a shard has, and says whether it did


@dataclass(repr=False)
class Verdict(console.CommandResult):
    """What verification found; ``problems`` is empty where all is well.

    Attributes:
        rebuilt: shards whose index, or DALI's, was made anew from the tar.
        again: shards to be made again, with the SHA-256 of their tar where it is known.
        unsure: whether somebody must say what is right, before anything is made again.
        extra: files that describe nothing that is there.
        repaired: what `repair` did, a line each.
    """

    out: str
    totals: dataset.Totals = field(default_factory=dataset.Totals)
    problems: list[str] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)
    again: dict[str, str | None] = field(default_factory=dict)
    unsure: bool = False
    extra: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)

    def add(self, *problems: str) -> None:
        """Note problems, as many as are shown."""
        self.problems += problems[: max(0, SHOWN_PROBLEMS - len(self.problems))]

    def body(self) -> dict[str, Any]:
        """For machines."""
        return {
            "out": self.out,
            "samples": self.totals.samples,
            "quarantined": self.totals.quarantined,
            "shards": self.totals.shards,
            "bytes": self.totals.bytes,
            "splits": dict(self.totals.per_split),
            "rebuilt": self.rebuilt,
            "repaired": self.repaired,
            "problems": self.problems,
        }

    def show(self, to: Console = console.out) -> None:
        """For people."""
        for name in self.rebuilt:
            to.print(f"index of {name} rebuilt", markup=False)
        for line in self.repaired:
            to.print(line, markup=False)
        for problem in self.problems:
            to.print(f"problem: {problem}", markup=False)
        totals, count = self.totals, len(self.problems)
        to.print(
            f"{counted(totals.samples, 'sample')} in {counted(totals.shards, 'shard')} ({human_bytes(totals.bytes)}), "
            f"{totals.quarantined:,} quarantined: {counted(count, 'problem') if count else 'all is well'}"
        )


def verify(place: str | Path | Store, rebuild: bool = False) -> Verdict:
    """Check a dataset byte by byte: checksums, keys, members, plan, quotas, splits, and all that describes it.

    Args:
        place: where the dataset lies, or a store.
        rebuild: write a shard's index, or DALI's, anew from its tar, where nothing speaks against that tar.

    Raises:
        DatasetError: where there is no dataset.
    """
    store = place if isinstance(place, Store) else Store(str(place))
    return survey(store, document.read(store), (lambda found: write(store, found)) if rebuild else lambda found: False)


def write(store: Store, found: Finding) -> bool:
    """Write a shard's index and DALI's, as its tar says, where that is all it needs."""
    if found.remedy not in ("index", "dali") or found.record is None:
        return False
    store.put(layout.dali(found.shard.name), dali(found.rows))
    if found.remedy == "index":
        store.put(layout.index(found.shard.name), index.write(found.rows, found.record))
    return True


def survey(store: Store, doc: DatasetDescription, mend: Mend) -> Verdict:
    """Check a dataset, and mend what can be as it goes by."""
    plan, verdict = doc.plan, Verdict(store.url())
    if doc.edited:
        verdict.unsure = True
        verdict.add(
            f"{layout.RECIPE}: the recipe was edited; it no longer gives identity {doc.identity[:12]}: put back what "
            "was there"
        )
    tars = {entry.name.rsplit("/", 1)[-1].removesuffix(".tar") for entry in store.list(layout.SHARDS)}
    indexes = set(dataset.committed(store))
    inspector, whole = Inspector(store, doc), Whole(store, doc)

    def check(k: int) -> tuple[int, Finding, bool]:
        shard = plan.shard(k)
        found = inspector.look(shard, shard.name in indexes)
        return k, found, found.remedy is not None and mend(found)

    numbers = {name: plan.number(name) for name in tars | indexes}
    # A plan may hold millions of shards that are not made yet.
    planned = sorted({k for k in (*numbers.values(), *map(plan.number, inspector.known)) if k is not None})
    with steps("shards") as advance:
        for n, (k, found, mended) in enumerate(dataset.parallel(check, planned), 1):
            name = found.shard.name
            if found.record and (mended or found.counts):
                whole.add(k, found.record, found.rows)
            if mended:
                verdict.rebuilt.append(name)
            else:
                verdict.add(*found.problems)
                verdict.unsure = verdict.unsure or found.remedy == "person"
                if found.remedy in ("index", "shard"):
                    told = found.record.tar_sha256 if found.record else inspector.known.get(name)
                    verdict.again[name] = told
            advance(n, len(planned), "")
    foreign = sorted(name for name, k in numbers.items() if k is None)
    verdict.add(*(f"{layout.SHARDS}/{name!r}: a shard that the recipe does not plan: take it away" for name in foreign))
    whole.check(sound=not verdict.problems)
    described = (entry.name for entry in store.list(layout.DALI))
    verdict.extra = [name for name in described if _shard_of(name) not in numbers] + whole.extra()
    verdict.add(*(f"{name!r}: describes nothing that is there; {FIX} takes it away" for name in verdict.extra))
    verdict.add(*whole.problems)
    verdict.totals = whole.account.totals
    return verdict


def _shard_of(name: str) -> str:
    return name.rsplit("/", 1)[-1].removesuffix(".idx")
