"""One shard of a dataset, re-read byte by byte: what is amiss, and what would mend it.

A hash that is known is never outvoted by bytes: one stands in the shard's commit record, another in a manifest for
which ``_SUCCESS`` vouches. Bytes that have neither are not what was committed, whatever they look like.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lesionforge.engine.dataset import DatasetDescription
from lesionforge.engine.finalise import vouched
from lesionforge.engine.plan import Shard
from lesionforge.sinks import index, layout, manifest, tar
from lesionforge.sinks.commit import rebuilt_rows
from lesionforge.sinks.dali import dali
from lesionforge.sinks.encode import decode
from lesionforge.sinks.index import Record, Row
from lesionforge.sinks.limits import INDEX, TAR
from lesionforge.sinks.store import Store

FIX = "verify --repair"

# ``dali``, ``index``: write that file anew from the tar. ``shard``: make the shard again. ``person``: nothing here can
# tell what is right.
Remedy = Literal["dali", "index", "shard", "person"]


@dataclass
class Finding:
    """What is known of a shard: ``problems`` in one line each, and what mends them all."""

    shard: Shard
    problems: list[str] = field(default_factory=list)
    remedy: Remedy | None = None
    record: Record | None = None  # as its index says, or as that would be made from the tar
    rows: list[Row] = field(default_factory=list)

    @property
    def counts(self) -> bool:
        """Whether it is committed, however its bytes are by now."""
        return self.record is not None and self.remedy in (None, "dali", "shard", "person")

    @property
    def lost(self) -> bool:
        """Whether reasons of quarantined samples are known to nobody."""
        return any(row.reason == UNKNOWN for row in self.rows)

    def add(self, problem: str, remedy: Remedy) -> Finding:
        """Add a problem; what mends more stands."""
        order: tuple[Remedy | None, ...] = (None, "dali", "index", "shard", "person")
        self.problems.append(problem)
        self.remedy = max(self.remedy, remedy, key=order.index)
        return self


UNKNOWN = "unknown: the index was rebuilt from the tar"


class Inspector:
    """Looks at the shards of one dataset; safe to use from several threads."""

    def __init__(self, store: Store, doc: DatasetDescription) -> None:
        self._store, self._doc, self._plan = store, doc, doc.plan
        self.known: Mapping[str, str] = manifest.hashes(store)  # SHA-256 of tars
        self._vouched = vouched(store)

    def look(self, shard: Shard, indexed: bool) -> Finding:
        """Re-read a shard.

        Args:
            indexed: whether there is an index, as listed.
        """
        found, path = Finding(shard), layout.tar(shard.name)
        self._read_index(found, indexed)
        if found.remedy == "person":
            return found
        try:
            data = self._store.get(path, TAR)
        except FileNotFoundError:
            return found.add(f"{path}: missing, though committed; {FIX} makes it again", "shard")
        sha, told, known = index.sha256(data), found.record and found.record.tar_sha256, self.known.get(shard.name)
        if told and known and told != known and (self._vouched or sha == known):
            return found.add(
                f"{path}: its index says SHA-256 {told[:12]}, {layout.MANIFEST} {known[:12]}: two known hashes "
                f"disagree, and nothing here tells which is right; `redo --shard {shard.name}` makes it again",
                "person",
            )
        if (told or known or sha) != sha:
            size = f"the {found.record.tar_bytes} that" if found.record else "those that"
            return found.add(
                f"{path}: its {len(data)} bytes are not {size} were committed; {FIX} makes it again", "shard"
            )
        if not (told or known):
            return found.add(
                f"{path}: neither an index nor {layout.MANIFEST} knows its SHA-256, so that nothing vouches for its "
                f"bytes; {FIX} makes it again",
                "shard",
            )
        self._read_tar(found, data, sha)
        return found

    def _read_index(self, found: Finding, indexed: bool) -> None:
        """The record and the rows of the index, where it is one."""
        shard, name = found.shard, layout.index(found.shard.name)
        if not indexed:
            return
        try:
            record, rows = index.read(self._store.get(name, INDEX))
            if record.shard != shard.name:
                raise ValueError(f"is about shard {record.shard}")
        except (ValueError, FileNotFoundError) as error:
            found.add(f"{name}: {error}; {FIX} makes it anew from the tar", "index")
            return
        found.record, found.rows = record, rows
        if record.recipe != self._doc.identity:
            where = f"{record.recipe[:12]}, not {self._doc.identity[:12]}"
            found.add(f"{name}: belongs to recipe {where}: take it away, with its tar", "person")
            return
        for row, spec in zip(rows, self._plan.specs(shard), strict=False):
            if (row.sample_id, row.split, row.case, row.target) != (spec.sample_id, spec.split, spec.case, spec.target):
                what = f"{row.sample_id} stands where the plan has {spec.sample_id} of class {spec.target}"
                found.add(f"{name}: {what}; {FIX} makes it anew from the tar", "index")
                break
        kept = sum(row.status == "ok" for row in rows)
        if (len(rows), kept, len(rows) - kept) != (len(shard), record.samples, record.quarantined):
            found.add(
                f"{name}: {len(rows)} rows, {kept} of them samples; the plan has {len(shard)}, its totals say "
                f"{record.samples}; {FIX} makes it anew from the tar",
                "index",
            )

    def _read_tar(self, found: Finding, data: bytes, sha: str) -> None:
        """A tar of the right hash: its members decoded, and what its index and DALI's must be."""
        shard, path = found.shard, layout.tar(found.shard.name)
        if problems := contents(data, path, self._doc.identity):
            for problem in problems:
                found.add(f"{problem}; {FIX} makes the shard again", "shard")
            return
        planned = [Row(s.sample_id, s.split, s.variant, s.source, s.case, s.target) for s in self._plan.specs(shard)]
        try:
            rows = rebuilt_rows(data, planned, UNKNOWN, self._doc.identity)
        except (ValueError, KeyError, TypeError) as error:
            found.add(f"{path}: {error}; {FIX} makes the shard again", "shard")
            return
        kept = [row for row in rows if row.status == "ok"]
        if found.record is None and found.remedy is None:
            found.add(f"{path}: not committed (its index is missing); {FIX} makes it anew from the tar", "index")
        elif found.remedy is None and kept != [row for row in found.rows if row.status == "ok"]:
            found.add(f"{path}: its samples are not those of its index; {FIX} makes that anew", "index")
        if found.remedy == "index":
            lost, version = len(rows) - len(kept), self._doc.versions["lesionforge"]
            record = Record(shard.name, self._doc.identity, sha, len(data), len(kept), lost, version)
            found.record, found.rows = record, rows
            return
        name = layout.dali(shard.name)
        try:
            if self._store.get(name) != dali(found.rows):
                found.add(f"{name}: is not that of its tar; {FIX} writes it anew", "dali")
        except FileNotFoundError:
            found.add(f"{name}: missing; {FIX} writes it anew", "dali")


def contents(data: bytes, path: str, recipe: str) -> list[str]:
    """What is amiss with a tar's samples: every member decoded, each told by its ``json``."""
    try:
        entries = list(tar.read(data))
        rows = index.from_tar(data, recipe)
    except (ValueError, KeyError, TypeError) as error:
        return [f"{path}: {error}"]
    problems = []
    doubled = [key for key, count in Counter(row.sample_id for row in rows).items() if count > 1]
    if doubled:
        problems.append(f"{path}: sample {doubled[0]} stands in it twice")
    schema = None
    for entry in entries:
        shape = []
        for member in entry.members:
            try:
                value = decode(member.name, data[member.offset : member.offset + member.size])
            except ValueError as error:
                problems.append(f"{path}: {entry.key}.{error}")
                continue
            # Edge lengths are a sample's own: a volume may be thinner than the crop that was asked for.
            shape.append((member.name, getattr(value, "ndim", None), str(getattr(value, "dtype", ""))))
        schema = schema or shape
        if shape != schema:
            problems.append(f"{path}: {entry.key} has members {shape}, others {schema}")
    return problems
