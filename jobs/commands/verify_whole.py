"""What describes a dataset, held against its shards: manifest, ``wids``, card, pictures, ``_SUCCESS``, splits.

Everything is worked out anew from the shards' records and compared; the first difference of a file is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lesionforge.engine.dataset import DatasetDescription
from lesionforge.engine.finalise import Account, shortfall, vouched
from lesionforge.jobs.commands.verify_shard import FIX
from lesionforge.sinks import layout
from lesionforge.sinks.encode import decode
from lesionforge.sinks.index import Record, Row, summarise
from lesionforge.sinks.limits import parsed
from lesionforge.sinks.store import Store

LIMITS = "\n## Known limits\n"  # of the card: what follows is the generator's word, and nothing here asks it
LARGER = 4  # times as large as it should be, a file is not read


class Whole:
    """The shards of a dataset as they are added up; ``problems`` grow meanwhile."""

    def __init__(self, store: Store, doc: DatasetDescription) -> None:
        self._store, self._doc = store, doc
        self.account = Account(doc, self._compare)
        self._described = store.exists(layout.MANIFEST)
        self._shards: list[str] = []
        self._sheets: set[str] = set()
        self.problems: list[str] = []

    def add(self, k: int, record: Record, rows: Sequence[Row]) -> None:
        """Add shard ``k`` of the plan, in the plan's order."""
        self.account.add(k, record, summarise(rows))
        self._shards.append(record.shard)

    def check(self, sound: bool) -> None:
        """Hold the whole against what is there; ``sound``: whether nothing is amiss with any shard."""
        doc, totals = self._doc, self.account.totals
        short = shortfall(doc, totals)
        if short:
            self.problems.append(short)
        if both := self.account.overlap(self._store, self._shards):
            self.problems.append(both)
        self._check_quotas(short)
        if not self._described:
            if not short:
                self.problems.append(f"{layout.MANIFEST} is missing; {FIX} writes it anew")
            return
        body = self.account.manifest()
        self._compare(layout.MANIFEST, body)
        self._compare(layout.WIDS, b"".join(self.account.wids()))
        shown = self.account.shown(self._store)
        self._look(layout.CARD, lambda data: _lines(data, self.account.card(body, shown, ()).split(LIMITS.encode())[0]))
        for split in shown:
            self._look(layout.sheet(split), _picture)
        self._sheets = {layout.sheet(split) for split in shown}
        if self._store.exists(layout.SUCCESS):
            if short or not vouched(self._store):
                self.problems.append(f"{layout.SUCCESS}: vouches for another manifest; {FIX} writes it anew")
        elif sound and not self.problems:
            self.problems.append(f"{layout.SUCCESS}: missing; {FIX} writes it anew")

    def extra(self) -> list[str]:
        """Contact sheets and parts of the manifest that are of nothing that is there; once `check` was called."""
        if not self._described:
            return []
        sheets = (entry.name for entry in self._store.list(layout.PICTURES) if entry.name not in self._sheets)
        return [*sheets, *self.account.contents.extra(self._store)]

    def _check_quotas(self, short: str) -> None:
        totals = self.account.totals
        if totals.quarantined or short:
            return
        counts: dict[str, dict[str, int]] = {}
        for (split, target), n in totals.per_class.items():
            counts.setdefault(split, {})[target] = n
        wanted = {s: {c: n for c, n in classes.items() if n} for s, classes in self._doc.plan.counts().items()}
        if counts != {split: classes for split, classes in wanted.items() if classes}:
            self.problems.append(f"class quotas are {counts}; the plan has {wanted}")

    def _compare(self, path: str, body: bytes) -> None:
        """Hold a JSON file against what it should be; where nothing describes the dataset yet, there is nothing to."""
        if self._described:
            self._look(path, lambda data: "" if data == body else _difference(data, body), len(body))

    def _look(self, path: str, fault: Callable[[bytes], str], size: int = 2**24) -> None:
        try:
            large = self._store.size(path) > LARGER * size + 2**16
            why = "it is far larger than it should be" if large else fault(self._store.get(path))
        except FileNotFoundError:
            why = "missing"
        if why:
            self.problems.append(f"{path}: {why}; {FIX} writes it anew")


def _difference(data: bytes, body: bytes) -> str:
    try:
        return _first(parsed(data), parsed(body)) or "it is not written as it should be"
    except (ValueError, RecursionError):
        return "it is no JSON"


def _first(held: Any, true: Any, at: str = "") -> str:
    """Where two JSON values differ first; an empty string where they are one."""
    if (isinstance(held, dict) and isinstance(true, dict)) or (isinstance(held, list) and isinstance(true, list)):
        mine, own = (dict(enumerate(v)) if isinstance(v, list) else v for v in (held, true))
        for name in [*own, *(name for name in mine if name not in own)]:
            where = f"{at}.{name}" if at else str(name)
            if name not in mine:
                return f"{where[:100]} is missing"
            if name not in own:
                return f"{where[:100]!r} is more than there should be"
            if found := _first(mine[name], own[name], where):
                return found
        return ""
    return (
        ""
        if held == true and type(held) is type(true)
        else f"{at[:100] or 'it'} is {_shown(held)}, by the shards {_shown(true)}"
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _lines(data: bytes, true: bytes) -> str:
    """The first line that a text lacks; more lines are a person's own."""
    there = set(data.decode("utf-8", "replace").splitlines())
    missing = next((line for line in true.decode().splitlines() if line not in there), None)
    return "" if missing is None else f"lacks the line {_shown(missing)}"


def _picture(data: bytes) -> str:
    try:
        decode("image.png", data)
    except ValueError:
        return "it is no picture"
    return ""
