"""Whose fault is a failure? What may be a sample's own fault or its surroundings' is settled here.

Only what stays with the sample alone on a healthy place is the sample's:

- what may be either (no permission, a GPU or memory that fails at one sample), where the same samples have failed in
  each of ``OWN_TRIES`` tries while others of their shard came out well in the last of them;
- a second overrun of its time, if it was alone in hand each time and others come to their end without it;
- the third death of a worker that had it alone in hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from lesionforge.engine.faults import Fault
from lesionforge.engine.messages import InHand, Task
from lesionforge.sinks.quarantine import Quarantined

OWN_TRIES = 3
OVERRUNS = 2
# Not two: operators and the kernel kill too, and a shard is soon made again, so that one sample may be hit by chance.
DEATHS_AT_ONE_SAMPLE = 3


@dataclass(frozen=True)
class Suspect(Quarantined):
    """Why a sample could not be made, if it turns out to be its own fault (``settle``), and what it is else."""

    fault: Fault


def settle(task: Task, well: Mapping[str, bool], suspects: Mapping[str, Fault]) -> None:
    """Lay what may be the samples' own fault on them, or on the surroundings.

    Args:
        task: the shard, with what its earlier tries have shown.
        well: samples of the shard that were tried, in order, and whether each came out well.
        suspects: samples, and what happened at each.

    Raises:
        Fault: where it may still be that of the surroundings.
    """
    if not suspects:
        return
    names = frozenset(suspects)
    stayed = task.tries + 1 >= OWN_TRIES and names <= task.suspects
    # Where a GPU ends in the middle of a shard, all fail from there on: of several, some must come out well behind.
    behind = list(well).index(next(iter(suspects))) if len(suspects) > 1 else 0
    others_well = any(list(well.values())[behind:]) or (len(well) == 1 and task.others_well)
    if not (stayed and others_well):
        first = next(iter(suspects.values()))
        raise Fault(first.kind, first.text, True, names)


class Blame:
    """Whose fault is a worker's death? The sample that is alone in hand again and again, or that its alarm ended."""

    def __init__(self, limit: float | None) -> None:
        """``limit``: seconds that a sample may take."""
        self._limit = limit
        self._deaths: Counter[str] = Counter()
        self._overruns: Counter[str] = Counter()

    def find(self, task: Task, in_hand: InHand) -> bool:
        """Lay a death at somebody's door; true where the next attempt is any wiser.

        The next attempt is careful: one sample at a time in hand, so that the guilty one stands alone. A sample found
        guilty is skipped from then on.
        """
        wiser, task.careful = not task.careful, True
        if in_hand.sole is None:
            return wiser and bool(in_hand.samples)
        stage, sample_id = in_hand.sole
        if in_hand.paused:
            return True  # the machine stood still, and the sample with it
        if in_hand.late:
            self._late(task, stage, sample_id, in_hand.done > 0)
            return True
        self._deaths[sample_id] += 1
        if self._deaths[sample_id] >= DEATHS_AT_ONE_SAMPLE:
            task.skip[sample_id] = Quarantined("killed", f"its worker ({DEATHS_AT_ONE_SAMPLE} times)")
        return True

    def _late(self, task: Task, stage: str, sample_id: str, others_well: bool) -> None:
        """Count an overrun. Where none comes to its end even without those found guilty, they were not."""
        if not others_well and not task.others_well:
            for name in [name for name, why in task.skip.items() if why.kind == "time"]:
                del task.skip[name]
                self._overruns[name] = 1
        self._overruns[sample_id] += 1
        if self._overruns[sample_id] >= OVERRUNS:
            task.skip[sample_id] = Quarantined("time", f"{stage} took longer than {self._limit:g} s")


def overrun(in_hand: InHand) -> Fault:
    """What is said of a shard whose worker its alarm ended."""
    stage, sample_id = in_hand.sole or ("making", "one of its samples")
    stood = ", while the machine stood still" if in_hand.paused else ""
    return Fault("time", f"{stage} {sample_id} took too long{stood}", True)
