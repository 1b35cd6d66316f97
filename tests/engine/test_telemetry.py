"""Log lines and metrics: few labels, one JSON object a line. The metrics' endpoint: tests/jobs/test_cluster.py."""

import json
import re
import subprocess
import sys

import pytest

from lesionforge.engine import telemetry
from lesionforge.engine.messages import Event, InHand, Report, Task, Work
from lesionforge.engine.telemetry import METRICS, Meters
from lesionforge.engine.trial import Failures
from lesionforge.engine.worker import Worker
from lesionforge.sinks.quarantine import Quarantined
from lesionforge.sinks.store import Store
from tests.engine.conftest import ROOT, toy


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
    meters.event(Event(Task(3), report))
    meters.event(Event(Task(3), report))
    meters.fleet({"placed": 2, "pending": 1}, 4)
    name = ("dataset", "name")
    assert made["lesionforge_samples"].values == {(name,): 14}
    assert made["lesionforge_done_samples"].values == {(name,): 60}
    assert made["lesionforge_redraws"].values == {(name,): 4}
    assert made["lesionforge_stage_seconds"].values == {(name, ("stage", "read")): 3}
    kinds = {dict(tags)["kind"]: count for tags, count in made["lesionforge_quarantined"].values.items()}
    assert kinds == {"source": 2, "time": 2, "other": 2}  # one that another writer had committed, reason unread
    assert made["lesionforge_retries"].values == {}


def test_workers_say_what_they_drew_again_and_gave_up(tmp_path):
    recipe = toy(
        sources__0__options={"count": 20, "unreadable": [4]},
        generator__params={"reject_twice": ["train-0001-00000006"], "reject_always": ["train-0000-00000002"]},
        quality__redraws=3,
    )  # fmt: skip
    worker = Worker(recipe, Store(str(tmp_path)))
    reports = [worker.make(Task(k)) for k in range(worker.pipeline.plan.shards)]
    totals = {}
    for report in reports:
        assert sum(report.kinds.values()) == report.quarantined
        for label, count in report.kinds.items():
            totals[label] = totals.get(label, 0) + count
    assert totals == {"source": 2, "quality": 1}
    assert sum(report.redraws for report in reports) == 2 + 3


@pytest.fixture(autouse=True)
def silence():
    yield
    telemetry.start_log("driver", None)


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_has_its_fields(capsys):
    telemetry.start_log("worker", "info")
    telemetry.log(
        "warning", "quarantined", shard="train-000001", sample="train-0000-00000012", reason='a "b"\nc', none=None
    )
    (line,) = lines(capsys)
    assert line.pop("time").endswith("Z")
    assert line.pop("pid") > 0
    assert line == {
        "level": "warning", "event": "quarantined", "role": "worker",
        "shard": "train-000001", "sample": "train-0000-00000012", "reason": 'a "b"\nc',
    }  # fmt: skip


def test_the_level_is_a_threshold(capsys):
    telemetry.start_log("worker", "warning")
    for level in telemetry.LEVELS:
        telemetry.log(level, level)
    assert [line["event"] for line in lines(capsys)] == ["warning", "error"]


def test_a_driver_that_was_not_asked_says_nothing(capsys):
    telemetry.start_log("driver", None)
    telemetry.log("error", "failed")
    assert lines(capsys) == []


def test_who_never_asked_hears_nothing():
    code = "from lesionforge.engine import telemetry; telemetry.log('error', 'failed')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_environment_asks(monkeypatch):
    monkeypatch.delenv(telemetry.VARIABLE, raising=False)
    assert telemetry.log_level() is None
    monkeypatch.setenv(telemetry.VARIABLE, "INFO")
    assert telemetry.log_level() == "info"
    monkeypatch.setenv(telemetry.VARIABLE, "loud")
    with pytest.raises(telemetry.LogError, match="LESIONFORGE_LOG=loud is no level: use debug, info, warning, error"):
        telemetry.log_level()


def test_how_attempts_end_is_logged_and_counted(made, capsys):
    telemetry.start_log("driver", "debug")
    meters = Meters("name", planned=100, done=0)
    tasks = [Task(k) for k in range(5)]
    in_hand = InHand(["train-0000-00000009"], [Work("making", ["train-0000-00000009"], 0.0)])
    reason = Quarantined("error", "ValueError: no")
    events = [
        Event(tasks[0], Report(0, 7, 1, 100)),
        Event(tasks[1], died="the actor died", in_hand=in_hand),
        Event(tasks[2], died=""),  # it had not begun: nobody died of it
        Event(tasks[3], error=ValueError("no such thing")),
        Event(tasks[4], Report(4, 0, 0, 0, failures=Failures(8, {(0, 1)}, {reason.group}, reason))),
        Event(None, died="it never began"),
    ]
    for event in events:
        telemetry.log_event(event, f"train-00000{event.task.shard}" if event.task else None)
        meters.event(event)
    meters.fleet({"placed": 2}, 0)
    found = lines(capsys)
    written = [(line["event"], line.get("shard"), line.get("sample")) for line in found]
    assert written == [
        ("committed", "train-000000", None),
        ("worker died", "train-000001", "train-0000-00000009"),
        ("taken back", "train-000002", None),
        ("failed", "train-000003", None),
        ("held back", "train-000004", None),
        ("worker died", None, None),
    ]
    assert found[3]["message"] == "ValueError: no such thing"
    name = (("dataset", "name"),)
    counts = {metric: made[f"lesionforge_{metric}"].values[name] for metric in ("worker_deaths", "retries", "shards")}
    assert counts == {"worker_deaths": 2, "retries": 2, "shards": 1}
