"""What the engine tells machines: log lines on standard error, and metrics for Prometheus.

Log: one JSON object a line. ``LESIONFORGE_LOG`` is ``debug``, ``info``, ``warning`` or ``error``. Where it is not set,
workers log from ``info`` on, into their own files under Ray's session folder
(``/tmp/ray/session_latest/logs/worker-*.err`` on their node), and the driver logs nothing, as its standard error talks
to a person. Every line about a shard or a sample names it. No line names a file of a source: reasons are those of the
dataset's own index.

Metrics: Ray exports them on the metrics port of each node, with ``ray_`` before the name and ``_total`` after a
counter's, and with labels of its own beside ours. The driver counts what the workers report, so samples are counted
when their shard is committed, each once. An in-process run counts nothing and needs no Ray. How busy GPUs are Ray
measures itself (``ray_node_gpus_utilization``).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lesionforge.engine.faults import Fault
from lesionforge.engine.messages import Event, Report
from lesionforge.generators.types import UserError

VARIABLE = "LESIONFORGE_LOG"
LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error")}

_logger = logging.getLogger("lesionforge")
_logger.addHandler(logging.NullHandler())  # silent in whatever process it is imported, until `start_log`

STAGES = ("read", "generate", "encode", "commit")


class LogError(UserError):
    """``LESIONFORGE_LOG`` holds no level."""


def log_level() -> str | None:
    """The level that the environment asks for.

    Raises:
        LogError: for a word that is no level.
    """
    requested = os.environ.get(VARIABLE, "").lower() or None
    if requested is not None and requested not in LEVELS:
        raise LogError(f"{VARIABLE}={requested} is no level: use {', '.join(LEVELS)}")
    return requested


def start_log(role: str, level: str | None) -> None:
    """Log from here on in this process.

    Args:
        role: ``driver`` or ``worker``.
        level: from which level on; nothing where ``None``.
    """
    _logger.propagate = False  # not into the handlers of whoever else lives in this process
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(role))
    _logger.handlers = [handler] if level else []
    _logger.setLevel(LEVELS[level] if level else logging.CRITICAL + 1)


def log(level: str, event: str, **fields: Any) -> None:
    """Log an event with its fields; those that are ``None`` are left out."""
    _logger.log(LEVELS[level], event, extra={"fields": {k: v for k, v in fields.items() if v is not None}})


def log_event(event: Event, shard: str | None) -> None:
    """Log how an attempt at a shard ended; ``shard``: its name, where there was one."""
    if event.died:
        sole = event.in_hand.sole if event.in_hand else None
        in_hand = list(event.in_hand.samples) if event.in_hand else None
        log("warning", "worker died", shard=shard, sample=sole and sole[1], in_hand=in_hand, message=event.died)
    elif event.taken_back:
        log("info", "taken back", shard=shard)
    elif event.error is not None:
        log("error", "failed", shard=shard, message=f"{type(event.error).__name__}: {event.error}")
    elif event.report is not None and event.report.failures:
        log("warning", "held back", shard=shard, reason=str(event.report.failures.first))
    elif event.report is not None:
        counts = {"samples": event.report.samples, "quarantined": event.report.quarantined}
        log("info", "committed", shard=shard, **counts, bytes=event.report.bytes)


class _Json(logging.Formatter):
    def __init__(self, role: str) -> None:
        super().__init__()
        self._fixed = {"role": role, "pid": os.getpid()}

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        head = {"time": when, "level": record.levelname.lower(), "event": record.getMessage(), **self._fixed}
        return json.dumps(head | getattr(record, "fields", {}), default=str)


@dataclass(frozen=True)
class Metric:
    """One metric. Every one carries the label ``dataset``: the recipe's name."""

    name: str
    type: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()

    @property
    def exported(self) -> str:
        """Its name on Ray's Prometheus endpoint."""
        return f"ray_{self.name}" + ("_total" if self.type == "counter" else "")


METRICS = (
    Metric("lesionforge_samples", "counter", "samples in committed shards"),
    Metric("lesionforge_quarantined", "counter", "samples that could not be made, by kind of reason", ("kind",)),
    Metric("lesionforge_shards", "counter", "shards committed"),
    Metric("lesionforge_bytes", "counter", "bytes of committed shards"),
    Metric("lesionforge_stage_seconds", "counter", "busy seconds of the workers' stages", ("stage",)),
    Metric("lesionforge_redraws", "counter", "samples drawn again because they missed a limit"),
    Metric("lesionforge_batch_halvings", "counter", "batches made in halves because memory ran out"),
    Metric("lesionforge_retries", "counter", "shards handed out again"),
    Metric("lesionforge_worker_deaths", "counter", "workers that died"),
    Metric("lesionforge_planned_samples", "gauge", "samples of the whole plan"),
    Metric("lesionforge_done_samples", "gauge", "samples made or quarantined so far, by earlier runs too"),
    Metric("lesionforge_queue_depth", "gauge", "shards handed to workers and not yet ended"),
    Metric("lesionforge_workers", "gauge", "workers by state: placed, pending (no room yet), draining", ("state",)),
)  # fmt: skip


class Meters:
    """The metrics of one run, counted in its driver. Ray must be initialised."""

    def __init__(self, dataset: str, planned: int, done: int) -> None:
        """Begin.

        Args:
            dataset: the recipe's name.
            planned: samples of the whole plan.
            done: samples that earlier runs made or quarantined.
        """
        self._ray = {metric.name: _ray_metric(metric) for metric in METRICS}
        self._dataset, self._planned, self._done = dataset, planned, done

    def event(self, event: Event) -> None:
        """An attempt at a shard has ended."""
        if event.died:
            self._add("lesionforge_worker_deaths", 1)
        if event.taken_back or isinstance(event.error, Fault):
            self._add("lesionforge_retries", 1)
        if event.report is not None and event.report.failures is None:
            self._committed(event.report)

    def _committed(self, report: Report) -> None:
        self._add("lesionforge_shards", 1)
        self._add("lesionforge_samples", report.samples)
        self._add("lesionforge_bytes", report.bytes)
        self._add("lesionforge_redraws", report.redraws)
        self._add("lesionforge_batch_halvings", report.batch_halvings)
        # A shard that somebody else had committed comes without reasons.
        unknown = max(0, report.quarantined - sum(report.kinds.values()))
        for label, count in report.kinds.items():
            self._add("lesionforge_quarantined", count, kind=label)
        self._add("lesionforge_quarantined", unknown, kind="other")
        for stage in STAGES:
            self._add("lesionforge_stage_seconds", report.seconds.get(stage, 0), stage=stage)
        self._done += report.samples + report.quarantined

    def fleet(self, states: Mapping[str, int], depth: int) -> None:
        """How many workers there are in each state, how many shards they hold, how far it all is.

        To be called again and again: Ray forgets a gauge that nobody sets for 20 seconds.
        """
        self._set("lesionforge_planned_samples", self._planned)
        self._set("lesionforge_done_samples", self._done)
        for state, count in states.items():
            self._set("lesionforge_workers", count, state=state)
        self._set("lesionforge_queue_depth", depth)

    def _add(self, name: str, value: float, **labels: str) -> None:
        if value > 0:  # Ray refuses to add nothing
            self._ray[name].inc(value, {"dataset": self._dataset, **labels})

    def _set(self, name: str, value: float, **labels: str) -> None:
        self._ray[name].set(value, {"dataset": self._dataset, **labels})


def _ray_metric(metric: Metric) -> Any:
    from ray.util import metrics

    kinds = {"counter": metrics.Counter, "gauge": metrics.Gauge}
    return kinds[metric.type](metric.name, metric.help, ("dataset", *metric.labels))
