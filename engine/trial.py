"""Does one reason fail all? A run ends there: of its first samples, before it commits any; of many in a row, later.

Shards of failures only are held back until it shows: committed, they would never be made again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lesionforge.engine.plan import Plan
from lesionforge.sinks.index import Row
from lesionforge.sinks.quarantine import Kind, Quarantined

SAMPLES, CASES = 32, 8  # so many samples, of so many different cases, must have failed
ADVICE: dict[Kind, str] = {
    "source": "change sources (uri, options)",
    "error": "change generator.params, or mend the generator",
    "output": "mend the generator",
    "quality": "widen quality.limits or the tolerance that it names, or change generator.params",
    "encode": "mend the generator",
    "memory": "raise resources.memory, or ask for less in generator.params",
    "time": "raise resources.sample_seconds, or ask for less in generator.params",
    "killed": "give the workers more memory, or ask for less in generator.params",
}


@dataclass
class Failures:
    """The samples that have failed in a row, without one that came out well."""

    samples: int = 0
    cases: set[tuple[int, int]] = field(default_factory=set)  # (source, case), as many as matter
    groups: set[str] = field(default_factory=set)  # of their reasons: numbers aside
    first: Quarantined = field(default=Quarantined("other", ""))

    def add(self, row: Row) -> None:
        """Count a quarantined sample."""
        reason = Quarantined.read(row.reason or "")
        self.include(Failures(1, {(row.source, row.case)}, {reason.group}, reason))

    def include(self, other: Failures) -> None:
        """Count another shard's."""
        self.first = self.first if self.samples else other.first
        self.samples += other.samples
        self.groups |= other.groups
        if len(self.cases) < CASES:
            self.cases |= other.cases

    @property
    def alike(self) -> bool:
        """Whether there are some, all for one reason."""
        return len(self.groups) == 1

    def suffice(self, plan: Plan) -> bool:
        """Whether they are enough to end a run: 32 of 8 cases, or all the samples or cases there are."""
        enough = self.samples >= min(SAMPLES, len(plan)) and len(self.cases) >= min(CASES, plan.variant_samples)
        return self.alike and enough

    @property
    def advice(self) -> str:
        """What to do before all begins anew."""
        return f"{ADVICE.get(self.first.kind, 'mend that')} and run again"

    def __str__(self) -> str:
        return f"{self.samples} samples all failed for one reason ({self.first})"
