"""Making one sample again and holding it against the stored bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from lesionforge.engine import dataset as document
from lesionforge.engine.dataset import DatasetError
from lesionforge.engine.pipeline import Job
from lesionforge.engine.plugins import PluginError
from lesionforge.engine.sample import Maker
from lesionforge.sinks import dataset, layout
from lesionforge.sinks.encode import encode
from lesionforge.sinks.store import Store


@dataclass
class Replay:
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


def replay(store: Store, sample_id: str, sources: dict[int, str] | None = None) -> Replay:
    """Make a sample of a dataset again, from its recipe and sources alone.

    Args:
        store: where the dataset lies.
        sample_id: which sample.
        sources: number -> URI of each source whose place is an address, which datasets do not hold (promise P8).

    Raises:
        DatasetError: where there is no dataset, a source has no place, or is not the one it was made from.
        PlanError: for an unknown sample id.
    """
    doc = document.read(store)
    recipes = [
        source.model_copy(update={"uri": (sources or {}).get(n, source.uri)})
        for n, source in enumerate(doc.recipe.sources)
    ]
    for n, source in enumerate(recipes):
        if source.uri == f"{source.scheme}:":
            raise DatasetError(
                f"where source {n} lies is written into no dataset: give --source {n}={source.scheme}:PLACE"
            )
    try:
        job = Job(doc.recipe.model_copy(update={"sources": tuple(recipes)}))
    except PluginError as error:  # a recipe in YAML has been held against its plug-ins; this not
        raise DatasetError(f"{store.url(layout.RECIPE)}: {error}") from None
    spec = doc.plan.find(sample_id)
    if job.identity != doc.identity:
        raise DatasetError(
            f"the sources are not those that {store.url()} was made from (identity {job.identity[:12]}, "
            f"dataset {doc.identity[:12]}); give the right place with --source N=URI"
        )
    locate = getattr(job.sources[spec.source], "locate", None)
    out = Replay(sample_id, file=locate(spec.case) if locate else "")
    maker = Maker(job)
    case = maker.read(spec)
    if isinstance(case, str):
        out.reason = case
    else:
        (sample,) = maker.make([case], [spec])
        if isinstance(sample, str):
            out.reason = sample
        else:
            members = maker.members(sample, maker.row(spec, case))
            out.members = {name: encode(name, value) for name, value in members.items()}
    shard = job.plan.shard_of(spec)
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
