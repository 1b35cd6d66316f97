"""Which samples go into which split of an export; where one is missing, subjects are dealt out, never samples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from lesionforge.sinks.index import Row
from lesionforge.sinks.reader import Samples
from lesionforge.sinks.store import Store

SHARE = 0.2  # of the subjects, to validate on


@dataclass(frozen=True)
class Part:
    """A split of an export: of the dataset's ``split`` the samples of ``chosen`` subjects, or of all where None."""

    split: str
    subjects: int
    chosen: frozenset[str] | None = None

    def keeps(self, row: Row) -> bool:
        """Whether a sample is in it."""
        return self.chosen is None or _who(row.subject, row.sample_id) in self.chosen


def parts(store: Store, splits: Sequence[str], deal: bool) -> dict[str, Part]:
    """The splits of an export by name.

    Args:
        store: the dataset.
        splits: of it, those to export.
        deal: where there is no train or no val, a fifth of the other's subjects (at least one) is val and the rest is
            train, by a hash of the subject, which no order of shards changes; where neither is there, test's.

    Raises:
        ValueError: where there is but one subject to deal.
    """
    who = {split: _subjects(store, split) for split in splits}
    whole = {split: Part(split, len(found)) for split, found in who.items()}
    if not deal or {"train", "val"} <= whole.keys():
        return whole
    source = next(split for split in ("train", "val", "test") if split in whole)
    order = sorted(who[source], key=lambda subject: hashlib.blake2b(subject.encode(), digest_size=8).digest())
    if len(order) < 2:
        raise ValueError(
            f"split {source} is of one subject, and there is no other to validate on: YOLO needs train and val, and "
            "one subject in both would be no test. Generate more subjects, or export as coco"
        )
    count = max(1, round(SHARE * len(order)))
    val, train = frozenset(order[:count]), frozenset(order[count:])
    dealt = {"train": Part(source, len(train), train), "val": Part(source, len(val), val)}
    return dealt | {split: part for split, part in whole.items() if split != source}


def _subjects(store: Store, split: str) -> set[str]:
    samples = Samples(store, split, [])
    return {_who(subject, key) for subject, key in zip(samples.column("subject"), samples.keys, strict=True)}


def _who(subject: str | None, sample_id: str) -> str:
    return subject or sample_id  # a generator of one's own may say none: then each sample is somebody
