"""``lesionforge replay``: one sample made again and held against the stored bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from lesionforge.engine import dataset as document
from lesionforge.engine.dataset import DatasetDescription, DatasetError
from lesionforge.engine.pipeline import SEAL, Pipeline
from lesionforge.engine.plugins import PluginError
from lesionforge.engine.sample import Maker
from lesionforge.jobs import console, progress
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
    sources: Mapping[int, str] | None = None,
    weights: Mapping[str, str] | None = None,
) -> Replay:
    """Make a sample of a dataset again, from its recipe and sources alone.

    Args:
        place: where the dataset lies, or a store.
        sample_id: which sample.
        sources: number -> URI of each source whose place is an address, which datasets do not hold (promise P8).
        weights: generator parameter -> where the weights lie, which datasets do not hold either.

    Raises:
        DatasetError: where there is no dataset, a source or weights have no place, or is not the one it was made from.
        PlanError: for an unknown sample id.
    """
    store = place if isinstance(place, Store) else Store(str(place))
    doc = document.read(store)
    for n, uri in (sources or {}).items():
        _check_place(doc, n, uri)
    recipes = [
        source.model_copy(update={"uri": (sources or {}).get(n, source.uri)})
        for n, source in enumerate(doc.recipe.sources)
    ]
    for n, source in enumerate(recipes):
        if source.uri == f"{source.scheme}:":
            raise DatasetError(
                f"where source {n} lies is written into no dataset: give --source {n}={source.scheme}:PLACE"
            )
    generator = doc.recipe.generator
    params = {**generator.params, **(weights or {})}
    for name, value in params.items():
        if str(value).startswith(SEAL):
            raise DatasetError(
                f"where weights lie is written into no dataset: give --set generator.params.{name}=FOLDER"
            )
    generator = generator.model_copy(update={"params": params})
    try:
        recipe = doc.recipe.model_copy(update={"sources": tuple(recipes), "generator": generator})
        pipeline = Pipeline(recipe, doc.links)
    except PluginError as error:  # a recipe in YAML has been held against its plug-ins; this not
        raise DatasetError(f"{store.url(layout.RECIPE)}: {error}") from None
    spec = doc.plan.find(sample_id)
    progress.digests(pipeline.files)
    if pipeline.identity != doc.identity:
        same_sources = pipeline.fingerprints == [source.fingerprint for source in doc.sources]
        raise DatasetError(
            f"the {'weights' if same_sources else 'sources'} are not those that {store.url()} was made from (identity "
            f"{pipeline.identity[:12]}, dataset {doc.identity[:12]}); give the right place with --source N=URI or "
            "--set generator.params.weights=FOLDER"
        )
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


def _check_place(doc: DatasetDescription, n: int, uri: str) -> None:
    """Hold ``--source N=URI`` against the dataset; the URI may hold a name and is not said again (promise P8)."""
    schemes = [source.scheme for source in doc.recipe.sources]
    if n not in range(len(schemes)):
        last = len(schemes) - 1
        raise DatasetError(f"--source {n}: the dataset has {'source 0 alone' if not last else f'sources 0 to {last}'}")
    if not str(uri).startswith(f"{schemes[n]}:"):
        raise DatasetError(f"--source {n}: source {n} is of kind {schemes[n]}: write --source {n}={schemes[n]}:PLACE")


def placed(changes: Sequence[str]) -> dict[str, str]:
    """``["generator.params.weights=/models/a"]`` as ``{"weights": "/models/a"}``.

    Raises:
        DatasetError: for what is nothing of that kind: all else is the dataset's own.
    """
    out = {}
    for change in changes:
        path, equals, place = change.partition("=")
        name = path.removeprefix("generator.params.")
        if not equals or name == path:
            raise DatasetError(
                f"--set {change}: a sample is made again by its dataset's recipe; only where its weights lie can be "
                "set, as generator.params.weights=FOLDER"
            )
        out[name] = place
    return out


def moved(sources: Sequence[str]) -> dict[int, str]:
    """``["0=ct:/data"]`` as ``{0: "ct:/data"}``.

    Raises:
        DatasetError: for what is not N=URI.
    """
    out = {}
    for source in sources:
        number, equals, uri = source.partition("=")
        if not equals or not (number.isascii() and number.isdigit() and len(number) < 10):
            raise DatasetError("--source: write it as N=URI, e.g. --source 0=imagecas:/data/imagecas")
        out[int(number)] = uri
    return out
