"""What the engine tells Prometheus: one list of metrics, and the one place that counts.

Ray exports them on the metrics port of each node, with ``ray_`` before the name and ``_total`` after a counter's, and
with labels of its own beside ours. The driver counts what the workers report, so samples are counted when their shard
is committed, each once; only the GPU is read where it is. An in-process run counts nothing and needs no Ray.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from lesionforge.engine.worker import Report

STAGES = ("read", "generate", "encode", "commit")
#: Kinds of reasons for quarantine: what a reason begins with, and the label it is counted under.
KINDS = {
    **{kind + ":": kind for kind in ("source", "error", "output", "quality", "encode", "memory", "time")},
    "killed its worker": "killed",
}
OTHER = "other"

GPU_PERIOD = 1.0  # seconds between looks at a GPU
GPU_WINDOW = 10  # looks that make one value


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
    Metric("lesionforge_gpu_busy_ratio", "gauge", "share of the last seconds in which the GPU was busy", ("gpu",)),
)  # fmt: skip


def kind(reason: str) -> str:
    """The label under which a reason for quarantine is counted; one of few, whatever the reason says."""
    return next((label for start, label in KINDS.items() if reason.startswith(start)), OTHER)


class Meters:
    """The metrics of one job, counted in its driver. Ray must be initialised."""

    def __init__(self, dataset: str, planned: int, done: int) -> None:
        """Begin.

        Args:
            dataset: the recipe's name.
            planned: samples of the whole plan.
            done: samples that earlier runs made or quarantined.
        """
        self._ray = {metric.name: _ray_metric(metric) for metric in METRICS}
        self._dataset, self._planned, self._done = dataset, planned, done

    def report(self, report: Report) -> None:
        """A shard was committed."""
        self._add("lesionforge_shards", 1)
        self._add("lesionforge_samples", report.samples)
        self._add("lesionforge_bytes", report.bytes)
        self._add("lesionforge_redraws", report.redraws)
        self._add("lesionforge_batch_halvings", report.batch_halvings)
        # A shard that somebody else had committed comes without reasons.
        unknown = max(0, report.quarantined - sum(report.kinds.values()))
        for label, count in report.kinds.items():
            self._add("lesionforge_quarantined", count, kind=label)
        self._add("lesionforge_quarantined", unknown, kind=OTHER)
        for stage in STAGES:
            self._add("lesionforge_stage_seconds", report.seconds.get(stage, 0), stage=stage)
        self._done += report.samples + report.quarantined

    def died(self) -> None:
        """A worker died."""
        self._add("lesionforge_worker_deaths", 1)

    def again(self) -> None:
        """A shard will be handed out again."""
        self._add("lesionforge_retries", 1)

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


def watch_gpus(dataset: str, gpus: Sequence[str], nvml: Any = None) -> threading.Thread | None:
    """Begin to export how busy a worker's GPUs are; nothing where NVML cannot be read.

    Args:
        dataset: the recipe's name.
        gpus: their numbers, as Ray gives them to the worker.
        nvml: a module like pynvml; Ray's own copy where ``None``.
    """
    if not gpus:
        return None
    if nvml is None:
        from ray._private.thirdparty import pynvml  # comes with Ray

        nvml = pynvml
    try:
        nvml.nvmlInit()
        handles = {gpu: nvml.nvmlDeviceGetHandleByIndex(int(gpu)) for gpu in gpus}
        looks = {gpu: deque([_busy(nvml, handle)], GPU_WINDOW) for gpu, handle in handles.items()}
    except (nvml.NVMLError, ValueError):  # no driver, or a slice of a GPU that has no number
        return None
    gauge = _ray_metric(next(m for m in METRICS if m.name == "lesionforge_gpu_busy_ratio"))
    pause = threading.Event()

    def look() -> None:
        while True:
            for gpu, handle in handles.items():
                try:
                    looks[gpu].append(_busy(nvml, handle))
                except nvml.NVMLError:
                    return  # a GPU that fell off the bus: the series ends
                gauge.set(sum(looks[gpu]) / len(looks[gpu]), {"dataset": dataset, "gpu": gpu})
            pause.wait(GPU_PERIOD)

    thread = threading.Thread(target=look, daemon=True, name="lesionforge-gpu")
    thread.start()
    return thread


def _busy(nvml: Any, handle: Any) -> float:
    return float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100


def _ray_metric(metric: Metric) -> Any:
    from ray.util import metrics

    kinds = {"counter": metrics.Counter, "gauge": metrics.Gauge}
    return kinds[metric.type](metric.name, metric.help, ("dataset", *metric.labels))
