"""What the driver and its workers say to each other: a task, what is in a worker's hands, and how an attempt ended."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from lesionforge.engine.trial import Failures
from lesionforge.sinks.quarantine import Quarantined


@dataclass
class Task:
    """A shard to make, and what is known of earlier attempts."""

    shard: int
    identity: str = ""  # of the dataset, as the driver knows it
    skip: dict[str, Quarantined] = field(default_factory=dict)  # sample id -> why it is not tried again
    careful: bool = False  # one sample in hand at a time, so that a death blames exactly one
    proven: bool = False  # others came out well since: a shard without any good sample is committed all the same
    tries: int = 0  # that its surroundings have failed
    suspects: frozenset[str] = frozenset()  # samples at which each of them may have failed
    avoid: frozenset[str] = frozenset()  # workers and GPUs on which they did
    well_before: int = 0  # shards that had come out well by the first of them
    others_well: bool = False  # whether more have since


@dataclass
class Report:
    """What a worker has made of a shard."""

    shard: int
    samples: int
    quarantined: int
    bytes: int
    seconds: dict[str, float] = field(default_factory=dict)  # busy seconds per stage, and "wall"
    batch_halvings: int = 0  # times that memory ran out and a batch was made in two halves
    redraws: int = 0  # samples drawn again because they missed a limit
    kinds: dict[str, int] = field(default_factory=dict)  # quarantined samples by kind of reason
    staged: str = ""  # the attempt that the driver is to publish, where the place needs that (sinks.commit)
    failures: Failures | None = None  # all failed for one reason, and the recipe is not proven: nothing was committed


@dataclass(eq=False)
class Work:
    """One stage at work on some samples, and by when (``time.monotonic`` of the node) it must be done."""

    stage: str
    samples: list[str]
    until: float = float("inf")


@dataclass
class InHand:
    """What a worker has, or a dead one had, in hand.

    ``samples``: those between the start of their reading and the end of their encoding. ``work``: those of them that
    a stage was busy with. ``late``: the alarm ended the process. ``done``: samples of this attempt that came out well.
    ``paused``: the process was stopped when its time ran out, so that the alarm rang late.
    """

    samples: list[str] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)
    late: bool = False
    done: int = 0
    paused: bool = False

    @property
    def sole(self) -> tuple[str, str] | None:
        """The stage and sample that alone can be to blame, if there is one."""
        if len(self.work) == 1 and len(self.work[0].samples) == 1:
            return self.work[0].stage, self.work[0].samples[0]
        if not self.work and len(self.samples) == 1:
            return "passing on", self.samples[0]
        return None

    def overdue(self) -> float:
        """Seconds since the alarm ought to have rung; negative before. Ask on the worker's own node."""
        return time.monotonic() - min((work.until for work in self.work), default=float("inf"))


@dataclass
class Event:
    """The end of an attempt: a report, a worker's death with the samples it had in hand, or an error.

    ``task`` is ``None`` for a worker that died before it had one, ``in_hand`` for one whose shard had not begun.
    ``where``: names of the worker that it was given to, and of its GPUs.
    """

    task: Task | None
    report: Report | None = None
    died: str | None = None
    in_hand: InHand | None = None
    error: Exception | None = None
    where: frozenset[str] = frozenset()

    @property
    def taken_back(self) -> bool:
        """Whether a task ended without a report or an error, so that somebody must be given it again."""
        return self.task is not None and self.report is None and self.error is None
