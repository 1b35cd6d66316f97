"""``lesionforge replay``: one sample made again and held against the stored bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from lesionforge.engine import dataset as document
from lesionforge.engine.dataset import DatasetError
from lesionforge.engine.sample import Maker
from lesionforge.jobs import console
from lesionforge.jobs.commands import again
from lesionforge.sinks import dataset, layout
from lesionforge.sinks.encode import encode
from lesionforge.sinks.quarantine import Quarantined
from lesionforge.sinks.store import Store


@dataclass(repr=False)
class Replay(console.CommandResult):
    """The sample made again. ``differing``: names of members whose bytes differ; empty where all are the same."""

    sample_id: str
    members: dict[str, bytes] = field(default_factory=dict)
    differing: list[str] = field(default_factory=list)
    stored_reason: str | None = None  # why the stored one is quarantined
    reason: str | None = None  # why it cannot be made now
    file: str = ""  # of its case: for a terminal, written nowhere

    @property
    def identical(self) -> bool:
        """The same bytes, or the same reason why there are none."""
        return not self.differing and (self.reason is None) == (self.stored_reason is None)

    def body(self) -> dict[str, Any]:
        """For machines. The case's file may name a patient: it is for a terminal alone."""
        return {
            "sample_id": self.sample_id,
            "identical": self.identical,
            "differing": self.differing,
            "members": {name: len(data) for name, data in self.members.items()},
            "reason": self.reason,
            "stored_reason": self.stored_reason,
        }

    def show(self, to: Console = console.out) -> None:
        """For people; names the file of the case where it is a person who reads."""
        if self.file and to.is_terminal:
            to.print(f"made from {self.file} (said here, written nowhere)", markup=False)
        if self.reason:
            to.print(f"{self.sample_id} cannot be made: {self.reason}", markup=False)
        if self.stored_reason:
            to.print(f"stored as quarantined: {self.stored_reason}", markup=False)
        if self.differing:
            to.print(f"{self.sample_id} differs in {', '.join(self.differing)}", markup=False)
        elif self.identical and self.members:
            to.print(f"{self.sample_id}: all {len(self.members)} members are the same, byte by byte")

    def write(self, folder: Path) -> None:
        """Its members as files ``SAMPLE_ID.MEMBER``."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.members.items():
            (folder / f"{self.sample_id}.{name}").write_bytes(data)


def replay(
    place: str | Path | Store,
    sample_id: str,
    sources: Mapping[int | str, str] | None = None,
    weights: Mapping[str, str] | None = None,
    trust: bool = False,
) -> Replay:
    """Make a sample of a dataset again, from its recipe and sources alone.

    Args:
        place: where the dataset lies, or a store.
        sample_id: which sample.
        sources: number, or ``backgrounds``, -> URI of each input whose place is an address, which datasets do not hold
            (promise P8).
        weights: generator parameter -> where the weights lie, which datasets do not hold either.
        trust: import and open whatever the dataset names: see ``engine.trust``.

    Raises:
        DatasetError: where there is no dataset, a source or weights have no place, or is not the one it was made from.
        PlanError: for an unknown sample id.
    """
    store = place if isinstance(place, Store) else Store(str(place))
    doc = document.read(store)
    spec = doc.plan.find(sample_id)
    pipeline = again.opened(store, doc, sources, weights, trust=trust)
    locate = getattr(pipeline.sources[spec.source], "locate", None)
    out = Replay(sample_id, file=locate(spec.case) if locate else "")
    maker = Maker(pipeline)
    case = maker.read(spec)
    if isinstance(case, Quarantined):
        out.reason = str(case)
    else:
        (sample,) = maker.make([case], [spec])
        if isinstance(sample, Quarantined):
            out.reason = str(sample)
        else:
            members = maker.members(sample, maker.row(spec, case))
            out.members = {name: encode(name, value) for name, value in members.items()}
    shard = pipeline.plan.shard_of(spec)
    try:
        ((_, rows),) = dataset.indexes(store, [shard.name])
    except FileNotFoundError:
        raise DatasetError(f"{sample_id} is not made yet: shard {shard.name} is not committed") from None
    row = next((row for row in rows if row.sample_id == sample_id), None)
    if row is None:
        raise DatasetError(f"{store.url(layout.index(shard.name))} lacks sample {sample_id}; see lesionforge verify")
    if row.status == "quarantined":
        out.stored_reason = row.reason
    else:
        stored = dataset.sample(store, shard.name, row)
        names = sorted(set(stored) | set(out.members))
        out.differing = [name for name in names if stored.get(name) != out.members.get(name)]
    return out
