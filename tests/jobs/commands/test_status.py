"""Status comes from storage alone; watching reads what is new, and ends when nothing more can come."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lesionforge.engine import dataset, finalise
from lesionforge.engine.messages import Task
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.worker import Worker
from lesionforge.jobs import console
from lesionforge.jobs.commands import status
from lesionforge.sinks import layout
from lesionforge.sinks.store import Store, lease
from tests.conftest import heed_sigint
from tests.engine.conftest import toy

ROOT = Path(__file__).resolve().parents[3]


class Making:
    """A dataset that grows by one shard whenever the watcher pauses, and is finished a pause later."""

    def __init__(self, place, recipe):
        self.store, self.job = Store(str(place)), Pipeline(recipe)
        self.doc, _ = dataset.claim(self.store, dataset.describe(self.job))
        self.worker = Worker(recipe, self.store)
        self.left = list(range(self.job.plan.shards))

    def __call__(self, seconds):
        assert seconds >= status.EVERY
        if self.left:
            self.worker.make(Task(self.left.pop(0)))
        else:
            finalise.finalise(self.store, self.doc)


def test_a_look_says_whether_a_run_is_at_work(tmp_path, lines):
    making = Making(tmp_path / "out", toy())
    making(status.EVERY)
    making.store.probe()
    with lease.hold(making.store, "run"):
        body = status.Progress(str(tmp_path / "out")).look()
        status.show(body)
    assert body["run_at_work"]
    assert lines()[-1].endswith("a run is at work")
    body = status.Progress(str(tmp_path / "out")).look()
    status.show(body)
    assert not body["run_at_work"]
    assert lines()[-1].endswith("no run is at work: the same generate command continues")


@pytest.fixture
def lines(monkeypatch, tmp_path):
    """What is written to standard output."""
    file = (tmp_path / "out.txt").open("w+")
    monkeypatch.setattr(console.out, "_file", file)
    return lambda: (tmp_path / "out.txt").read_text().splitlines()


def test_watching_tells_each_change_once_and_ends_with_the_dataset(tmp_path, lines):
    making = Making(tmp_path / "out", toy())
    last = status.watch(str(tmp_path / "out"), as_json=True, pause=making)
    bodies = [json.loads(text) for text in lines()]
    assert [b["shards"] for b in bodies] == [0, 1, 2, 3, 4, 5, 6, 6]
    assert [b["state"] for b in bodies] == 7 * ["incomplete"] + ["complete"]
    assert bodies[-1] == last
    assert (last["samples"], last["samples_planned"], last["problem"]) == (40, 40, "")
    assert bodies[0]["samples_per_second"] is None
    assert last["seconds_left"] in (0, None)


def test_a_look_reads_only_what_is_new(tmp_path, monkeypatch):
    making = Making(tmp_path / "out", toy())
    progress, reads = status.Progress(str(tmp_path / "out")), []
    get = Store.get_range
    monkeypatch.setattr(Store, "get_range", lambda store, path, *span: reads.append(path) or get(store, path, *span))
    for shards in range(1, 7):
        making(status.EVERY)
        assert progress.look()["shards"] == shards
    assert sorted(set(reads)) == sorted(reads)
    assert len([path for path in reads if path.startswith(layout.INDEX)]) == 6


def test_watching_ends_where_the_quota_cannot_be_met(tmp_path, lines):
    making = Making(tmp_path / "out", toy(generator__params={"raise_at": ["train-0000-00000003"]}))
    body = status.watch(str(tmp_path / "out"), as_json=False, pause=making)
    assert body["state"] == "short"
    assert "1 quarantined" in lines()[-1]
    assert list(body["reasons"].values()) == [1]


def test_watching_ends_beside_a_dead_driver(tmp_path, lines):
    """And not before: a run that is at work, or begins a little later, is waited for."""
    making = Making(tmp_path / "out", toy())
    making(status.EVERY)
    waited: list[float] = []
    body = status.watch(str(tmp_path / "out"), as_json=False, pause=waited.append)
    assert (body["state"], body["run_at_work"]) == ("incomplete", False)
    assert status.ALONE < sum(waited) < status.ALONE + 30
    making.store.probe()
    with lease.hold(making.store, "run"):
        waited.clear()

        def wait(seconds):
            waited.append(seconds)
            if sum(waited) > 2 * status.ALONE:
                while making.left:
                    making(seconds)
                making(seconds)

        assert status.watch(str(tmp_path / "out"), as_json=False, pause=wait)["state"] == "complete"


def test_a_dataset_without_its_end_is_neither_short_nor_complete(tmp_path):
    making = Making(tmp_path / "out", toy())
    for _ in range(6):
        making(status.EVERY)
    body = status.Progress(str(tmp_path / "out")).look()
    assert (body["state"], body["shards"], body["problem"]) == ("incomplete", 6, "")
    making(status.EVERY)
    assert status.Progress(str(tmp_path / "out")).look()["state"] == "complete"


def test_the_rate_is_that_of_the_last_minutes():
    steady = [(10.0 * n, 50) for n in range(1, 200)]  # 50 samples every 10 s
    assert status.rate(steady, 1990.0) == pytest.approx(5, rel=0.05)
    assert status.rate(steady, 1990.0 + status.WINDOW / 2) == pytest.approx(2.5, rel=0.1)  # it has stalled
    assert status.rate(steady, 1990.0 + 2 * status.WINDOW) == 0
    night = [(t - 40_000, n) for t, n in steady]
    assert status.rate(night + steady[:3], 31.0) == pytest.approx(100 / 21)  # a pause overnight counts for nothing
    assert status.rate([], 5.0) is None
    assert status.rate([(4.0, 10)], 5.0) is None


def cli(*args, **popen):
    return subprocess.Popen(
        [sys.executable, "-c", "from lesionforge.jobs.cli import main; main()", "status", *map(str, args)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen,
    )  # fmt: skip


def test_ctrl_c_ends_the_watching(tmp_path):
    making = Making(tmp_path / "out", toy())
    making(status.EVERY)
    process = cli(tmp_path / "out", "--watch", preexec_fn=heed_sigint)
    first = process.stdout.readline()
    assert first.startswith("toy: incomplete, 8/40 samples, 0 quarantined")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_a_finished_dataset_is_told_once(tmp_path):
    making = Making(tmp_path / "out", toy())
    for _ in range(7):
        making(status.EVERY)
    out, err = cli(tmp_path / "out", "--watch", "--json").communicate(timeout=60)
    assert json.loads(out)["state"] == "complete", err
    assert len(out.splitlines()) == 1
