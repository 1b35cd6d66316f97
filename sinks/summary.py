"""What a shard's rows add up to: small enough for the footer of its index, so that many are read without their rows."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lesionforge.sinks.limits import parsed
from lesionforge.sinks.quarantine import Reasons
from lesionforge.sinks.reservoir import ranked

Group = tuple[str, str]  # (split, class)
SHOWN = 12  # samples of each group that a contact sheet may choose from


@dataclass
class Summary:
    """Counts of a shard, and the ids that an even choice over the whole dataset may fall on."""

    counts: Counter[Group] = field(default_factory=Counter)
    burned_in: int = 0  # samples of frames that seem to carry writing
    reasons: Reasons = field(default_factory=Reasons)
    ids: dict[Group, list[str]] = field(default_factory=dict)
    marks: bytes = b""  # eight for each of what must be in no other split

    def add(self, sample_id: str, group: Group, burned_in: bool) -> None:
        """Count a sample."""
        self.counts[group] += 1
        self.burned_in += burned_in
        self.ids.setdefault(group, []).append(sample_id)

    def to_bytes(self) -> bytes:
        """As it is stored: the same for the same rows in any order."""
        groups = [[*group, n, ranked(self.ids[group])[:SHOWN]] for group, n in sorted(self.counts.items())]
        marks = base64.b64encode(self.marks).decode()
        body = {"groups": groups, "burned_in_text": self.burned_in, "reasons": self.reasons.to_json(), "marks": marks}
        return json.dumps(body, separators=(",", ":")).encode()

    @classmethod
    def read(cls, data: bytes) -> Summary:
        """The inverse of ``to_bytes``.

        Raises:
            ValueError, KeyError, TypeError: for what is no summary.
        """
        body: dict[str, Any] = parsed(data)
        out = cls(burned_in=_count(body["burned_in_text"]), reasons=Reasons.read(body["reasons"]))
        out.marks = base64.b64decode(body["marks"])
        if len(out.marks) % 8:
            raise ValueError("the marks of its summary are none")
        for split, target, n, ids in body["groups"]:
            if not all(isinstance(text, str) for text in (split, target, *ids)) or len(ids) > SHOWN:
                raise ValueError("a group of its summary is none")
            out.counts[split, target] = _count(n)
            out.ids[split, target] = ids
        return out


def identifiers(source_id: str | None, subject: str | None) -> Iterator[tuple[str, str]]:
    """What of a sample must be in no other split."""
    yield from ((kind, value) for kind, value in (("source_id", source_id), ("subject", subject)) if value)


def mark(kind: str, value: str) -> int:
    """Eight bytes that stand for one of its ``identifiers``."""
    return int.from_bytes(hashlib.blake2b(f"{kind} {value}".encode(), digest_size=8).digest(), "little")


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError("a count of its summary is none")
    return value
