"""The observer passes everything on as it is, and tells what it saw."""

import json

import pytest

from lesionforge.engine import log
from lesionforge.engine.observer import Observer
from lesionforge.engine.pipeline import Job
from lesionforge.engine.pool import Event, Task
from lesionforge.engine.watchdog import Found, Work
from lesionforge.engine.worker import Report
from tests.engine.conftest import toy


class Pool:
    """Gives back what it is told to."""

    def __init__(self):
        self.events, self.closed, self.tasks = [], False, []

    def room(self):
        return 7

    def submit(self, task):
        self.tasks.append(task)

    def wait(self, timeout):
        return self.events

    def close(self):
        self.closed = True


class Meters:
    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        return lambda *arguments: self.told.append((name, *arguments))


@pytest.fixture
def observed():
    pool, meters = Pool(), Meters()
    yield pool, meters, Observer(pool, Job(toy()), meters, lambda: {"placed": 2})
    log.start("driver", None)


def test_it_passes_everything_on(observed):
    pool, _, observer = observed
    task = Task(3)
    observer.submit(task)
    pool.events = [Event(task, Report(3, 8, 0, 100))]
    assert observer.room() == 7
    assert pool.tasks == [task]
    assert observer.wait(1.0) is pool.events
    observer.close()
    assert pool.closed


def test_it_tells_what_it_saw(observed, capsys):
    pool, meters, observer = observed
    log.start("driver", "debug")
    tasks = [Task(k) for k in range(4)]
    for task in tasks:
        observer.submit(task)
    report = Report(0, 7, 1, 100)
    found = Found(in_hand=["train-0000-00000009"], work=[Work("making", ["train-0000-00000009"], 0.0)])
    pool.events = [
        Event(tasks[0], report),
        Event(tasks[1], died="the actor died", found=found),
        Event(tasks[2], died=""),  # it had not begun: nobody died of it
        Event(tasks[3], error=ValueError("no such thing")),
        Event(None, died="it never began"),
    ]
    observer.wait(1.0)
    assert [name for name, *_ in meters.told] == ["report", "died", "again", "again", "died", "fleet"]
    assert meters.told[-1] == ("fleet", {"placed": 2}, 0)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line.get("shard"), line.get("sample")) for line in lines] == [
        ("committed", "train-000000", None),
        ("worker died", "train-000001", "train-0000-00000009"),
        ("taken back", "val-000000", None),
        ("failed", "train-000002", None),
        ("worker died", None, None),
    ]
    assert lines[3]["said"] == "ValueError: no such thing"
