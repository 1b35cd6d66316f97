"""One list of metrics, few labels, and a GPU that is read where it can be. The endpoint: tests/jobs/test_cluster.py."""

import re
import threading

import pytest

from lesionforge.engine import telemetry
from lesionforge.engine.sample import MEMORY, QUALITY
from lesionforge.engine.telemetry import KINDS, METRICS, OTHER, Meters, kind
from lesionforge.engine.worker import Report, Worker
from lesionforge.sinks.store import Store
from tests.engine.conftest import toy


class Fake:
    """Stands in for a Ray metric."""

    def __init__(self):
        self.values = {}

    def inc(self, value, tags):
        assert value > 0
        key = tuple(sorted(tags.items()))
        self.values[key] = self.values.get(key, 0) + value

    def set(self, value, tags):
        self.values[tuple(sorted(tags.items()))] = value


@pytest.fixture
def made(monkeypatch):
    """The metrics that are made, by name."""
    made = {}

    def make(metric):
        made[metric.name] = Fake()
        return made[metric.name]

    monkeypatch.setattr(telemetry, "_ray_metric", make)
    return made


def test_names_are_prometheus_names():
    names = [m.name for m in METRICS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("lesionforge_[a-z_]+", name) for name in names)
    assert not any(name.endswith("_total") for name in names)  # Ray puts it there


@pytest.mark.parametrize(
    ("reason", "label"),
    [
        ("source: case 4 is unreadable", "source"),
        (f"{QUALITY} value is 3, above 2 (drawn 4 times)", "quality"),
        (f"{MEMORY} none left", "memory"),
        ("killed its worker (3 times)", "killed"),
        ("time: making took longer than 2 s", "time"),
        ("a patient's name", OTHER),
        ("", OTHER),
    ],
)
def test_reasons_become_a_bounded_set_of_labels(reason, label):
    assert kind(reason) == label
    assert label in {*KINDS.values(), OTHER}


def test_a_report_is_counted(made):
    meters = Meters("name", planned=100, done=40)
    report = Report(
        3,
        samples=7,
        quarantined=3,
        bytes=50,
        seconds={"read": 1.5, "wall": 9},
        redraws=2,
        kinds={"source": 1, "time": 1},
    )
    meters.report(report)
    meters.report(report)
    meters.fleet({"placed": 2, "pending": 1}, 4)
    name = ("dataset", "name")
    assert made["lesionforge_samples"].values == {(name,): 14}
    assert made["lesionforge_done_samples"].values == {(name,): 60}
    assert made["lesionforge_redraws"].values == {(name,): 4}
    assert made["lesionforge_stage_seconds"].values == {(name, ("stage", "read")): 3}
    kinds = {dict(tags)["kind"]: count for tags, count in made["lesionforge_quarantined"].values.items()}
    assert kinds == {"source": 2, "time": 2, OTHER: 2}  # one that another writer had committed, reason unread
    assert made["lesionforge_retries"].values == {}


def test_workers_say_what_they_drew_again_and_gave_up(tmp_path):
    recipe = toy(
        sources__0__options={"count": 20, "unreadable": [4]},
        generator__params={"reject_twice": ["train-0001-00000006"], "reject_always": ["train-0000-00000002"]},
        quality__redraws=3,
    )  # fmt: skip
    worker = Worker(recipe, Store(str(tmp_path)))
    reports = [worker.make(k) for k in range(worker.job.plan.shards)]
    totals = {}
    for report in reports:
        assert sum(report.kinds.values()) == report.quarantined
        for label, count in report.kinds.items():
            totals[label] = totals.get(label, 0) + count
    assert totals == {"source": 2, "quality": 1}
    assert sum(report.redraws for report in reports) == 2 + 3


class Nvml:
    """A driver with two GPUs."""

    class NVMLError(Exception):
        pass

    def __init__(self, works=True):
        self.works, self.looks, self.enough = works, 0, threading.Event()

    def nvmlInit(self):
        if not self.works:
            raise self.NVMLError("no driver")

    def nvmlDeviceGetHandleByIndex(self, number):
        if number > 1:
            raise self.NVMLError("no such GPU")
        return number

    def nvmlDeviceGetUtilizationRates(self, handle):
        self.looks += 1
        if self.looks == 4:
            self.enough.set()
        if self.looks > 4:
            raise self.NVMLError("fell off the bus")
        return type("Rates", (), {"gpu": 50 + 50 * handle})


def test_a_gpu_is_read_where_there_is_one(made, monkeypatch):
    monkeypatch.setattr(telemetry, "GPU_PERIOD", 0.001)
    nvml = Nvml()
    thread = telemetry.watch_gpus("name", ["1"], nvml)
    assert nvml.enough.wait(30)
    thread.join(30)  # ends when the GPU does
    assert made["lesionforge_gpu_busy_ratio"].values == {(("dataset", "name"), ("gpu", "1")): 1.0}


@pytest.mark.parametrize(("gpus", "works"), [([], True), (["0"], False), (["7"], True), (["MIG-3f2a"], True)])
def test_without_a_readable_gpu_there_is_no_series(made, gpus, works):
    assert telemetry.watch_gpus("name", gpus, Nvml(works)) is None
    assert made == {}


def test_this_machine_s_own_library_is_asked():
    """Ray's copy of pynvml; with no driver here it says so, and that is no error."""
    assert telemetry.watch_gpus("name", ["99"]) is None
