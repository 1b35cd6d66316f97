"""``lesionforge verify --repair`` and ``redo``: shards made again, and what describes a dataset written anew.

A shard is dropped only once the sources that it is made from are opened and known to be those it was made from; what
follows is a run like any other, so that whatever cuts it short leaves a dataset that is not finished, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from lesionforge.engine import dataset as document
from lesionforge.engine import finalise
from lesionforge.engine import trust as trusted
from lesionforge.engine.dataset import DatasetDescription, DatasetError
from lesionforge.engine.plan import PlanError
from lesionforge.generators.types import UserError
from lesionforge.jobs import console
from lesionforge.jobs.commands import again
from lesionforge.jobs.commands.generate import RunResult, at_work, to_its_end
from lesionforge.jobs.commands.verify import Verdict, survey, verify, write
from lesionforge.jobs.commands.verify_shard import Finding
from lesionforge.sinks import dataset, layout
from lesionforge.sinks.card import counted
from lesionforge.sinks.commit import drop, remove
from lesionforge.sinks.listing import look
from lesionforge.sinks.store import Store


def repair(
    place: str | Path | Store,
    sources: Sequence[str] = (),
    changes: Sequence[str] = (),
    workers: int | None = None,
    in_process: bool = False,
    mix_versions: bool = False,
    trust: bool = False,
) -> Verdict:
    """Make again what a dataset lacks or holds wrongly, and check it once more.

    Args:
        place: where it lies, or a store.
        sources: ``N=URI`` of the sources whose place the dataset does not say, where shards must be made again.
        changes: ``generator.params.weights=FOLDER`` and ``resources.a=b``.
        workers, in_process, mix_versions: as of `generate`.
        trust: import and open whatever the dataset names: see ``engine.trust``.

    Returns:
        What is amiss now, and what was done.

    Raises:
        UserError: where there is no dataset, or somebody else is at work there.
    """
    store = place if isinstance(place, Store) else Store(str(place))
    doc = document.read(store)
    trusted.generator(doc, trust)  # which the end of a dataset makes
    given = again.moved(sources), *again.told(changes)
    kept: list[Finding] = []  # whose quarantined samples' reasons are lost with their index

    def mend(found: Finding) -> bool:
        if found.remedy == "index" and found.lost:
            kept.append(found)
            return False
        return write(store, found)

    with at_work(store, in_process) as held:
        verdict = survey(store, doc, mend)
        if verdict.unsure:
            verdict.add("nothing was made again: first mend what nothing here can tell the right form of")
            return verdict
        done = [f"{name}: index made anew from the tar" for name in verdict.rebuilt]
        for name in verdict.extra:
            store.delete(name)
            done.append(f"{name!r}: taken away")
        unmade = doc.plan.shards - sum(1 for _ in look(store, doc.plan).committed())
        bad = verdict.again.keys() - {found.shard.name for found in kept}
        if bad or kept or unmade:
            try:
                pipeline = again.opened(store, doc, *given, trust)
                document.claim(store, document.describe(pipeline), mix_versions)  # refuses before anything is dropped
            except UserError as error:
                done += [f"{found.shard.name}: index made anew from the tar" for found in kept if write(store, found)]
                if bad or unmade > len(kept):
                    verdict = verify(store)
                    verdict.add(f"{counted(len(bad | set(verdict.again)), 'shard')} cannot be made again: {error}")
                    verdict.repaired = done
                    return verdict
                finalise.finalise(store, doc)
            else:
                for name in sorted(bad):
                    remove(store, name)
                for found in kept:  # its tar stays: who makes the shard again finds it there, and tells the reasons
                    store.delete(layout.index(found.shard.name))
                to_its_end(pipeline, store, held, workers, in_process, mix_versions=mix_versions)
                done += _made(store, verdict)
        elif verdict.problems or done:
            finalise.finalise(store, doc)
    after = verify(store)
    after.repaired = done + [f"mended: {line}" for line in verdict.problems if line not in after.problems]
    return after


def _made(store: Store, verdict: Verdict) -> Iterator[str]:
    """What became of the shards that were made again."""
    for name, before in sorted(verdict.again.items()):
        try:
            ((record, _),) = dataset.indexes(store, [name])
        except FileNotFoundError:
            continue  # the check tells of it
        same = "" if before in (None, record.tar_sha256) else ", with other bytes than were committed before"
        yield f"{name}: made again{same}"


def redo(
    place: str | Path | Store,
    reasons: Sequence[str] = (),
    samples: Sequence[str] = (),
    shards: Sequence[str] = (),
    sources: Sequence[str] = (),
    changes: Sequence[str] = (),
    workers: int | None = None,
    in_process: bool = False,
    mix_versions: bool = False,
    trust: bool = False,
) -> RunResult:
    """Make chosen shards of a dataset again, and whatever else it lacks.

    Args:
        place: where it lies, or a store.
        reasons: parts of reasons, as ``status`` shows them: all shards with a sample quarantined for one of them.
        samples: ids of samples: their shards.
        shards: names of shards.
        sources, changes, workers, in_process, mix_versions, trust: as of `repair`.

    Raises:
        UserError: where nothing is chosen, or it cannot be made again.
    """
    store = place if isinstance(place, Store) else Store(str(place))
    doc = document.read(store)
    chosen = _chosen(store, doc, reasons, samples, shards)
    pipeline = again.opened(store, doc, again.moved(sources), *again.told(changes), trust)
    with at_work(store, in_process) as held:
        document.claim(store, document.describe(pipeline), mix_versions)
        console.note(
            f"{counted(len(chosen), 'shard')} made again: {', '.join(chosen[:3])}{', ...' * (len(chosen) > 3)}"
        )
        for name in chosen:
            drop(store, name, doc.identity)
        return to_its_end(pipeline, store, held, workers, in_process, mix_versions=mix_versions)


def _chosen(
    store: Store, doc: DatasetDescription, reasons: Sequence[str], samples: Sequence[str], shards: Sequence[str]
) -> list[str]:
    plan = doc.plan
    if not (reasons or samples or shards):
        raise DatasetError("say what to make again: --reason TEXT, --sample ID or --shard NAME")
    if unknown := next((name for name in shards if plan.number(name) is None), None):
        raise PlanError(f"--shard {unknown}: no shard of this plan; write it as {plan.shard(0).name}")
    chosen = {*shards, *(plan.shard_of(plan.find(sample)).name for sample in samples)}
    if reasons:
        told = [re.compile(".*".join(map(re.escape, reason.split("…")))) for reason in reasons]
        listing, found = look(store, plan), set[str]()
        sizes = ((plan.shard(k).name, listing.indexes[k]) for k in listing.committed())
        lost = (f[0].shard for f in dataset.footers(store, sizes) if f and f[0].quarantined)
        for record, rows in dataset.indexes(store, lost):
            if any(row.reason and one.search(row.reason) for row in rows for one in told):
                found.add(record.shard)
        if not found:
            raise DatasetError(
                f"--reason {', '.join(reasons)}: no sample of {store.url()} is quarantined for that; `lesionforge "
                "status` lists the reasons"
            )
        chosen |= found
    return sorted(chosen)
