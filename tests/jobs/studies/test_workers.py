"""Runs as Ray tasks: killed and continued with the same result, each on its own CPU, over the nodes of a cluster."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies import workers
from lesionforge.jobs.studies.places import DataPlace
from lesionforge.jobs.studies.runs import Study, runs
from lesionforge.jobs.studies.workers import Room, conduct
from tests.clusters import LEAN
from tests.jobs.studies.toy_task import TOY
from tests.jobs.tasks.detection.worlds import HERE, TEST, TRAIN

ROOT = Path(__file__).resolve().parents[3]
SOURCE = f"{HERE}.ToySource:here"
STEPS = 4
TIMES = {"fit_cpu_s", "wall_s", "node", "settings"}  # settings name the log


def waiting(folder):
    """A study whose trainings log their steps and wait half way: on a busy machine nothing hangs on who is faster."""
    changes = {"steps": STEPS, "log": str(folder / "log"), "go": str(folder / "go")}
    return Study(TOY, DataPlace(SOURCE, options=TRAIN), DataPlace(SOURCE, options=TEST), {}, changes)


def found(out):
    """Every run's result but for its times."""
    files = sorted((out / "runs").glob("*.json"))
    return {f.name: {k: v for k, v in json.loads(f.read_text()).items() if k not in TIMES} for f in files}


def waiters(folder):
    """Process and seed of every training that got half way."""
    log = folder / "log"
    steps = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [(int(pid), seed) for pid, seed, step in steps if int(step) == STEPS // 2]


def wait_for(condition, seconds=250):
    """What ``condition`` finds; the time is for a machine with much else to do."""
    end = time.monotonic() + seconds
    while not (got := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return got


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "go").touch()
    study = waiting(folder)
    conduct(study, runs(study, seeds=2), folder / "out", Room(in_process=True))
    return found(folder / "out")


@pytest.fixture
def few_draws():
    """Not here: other processes would have as many as ever."""


def test_a_worker_and_then_the_driver_are_killed_half_way(undisturbed, tmp_path):
    out = tmp_path / "out"
    script = (
        "from pathlib import Path\n"
        "from lesionforge.jobs.studies.runs import runs\n"
        "from lesionforge.jobs.studies.workers import Room, conduct\n"
        "from tests.jobs.studies.test_workers import waiting\n"
        f"study = waiting(Path({str(tmp_path)!r}))\n"
        f"conduct(study, runs(study, seeds=2), Path({str(out)!r}), Room(2))\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        pid, seed = wait_for(lambda: waiters(tmp_path) or (driver.poll() is not None and pytest.fail("it ended")))[0]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: [one for one in waiters(tmp_path) if one[0] != pid and one[1] == seed])  # Ray runs it again
    finally:
        driver.kill()
        driver.wait(60)
    (tmp_path / "go").touch()
    study = waiting(tmp_path)
    conduct(study, runs(study, seeds=2), out, Room(in_process=True))
    assert found(out) == undisturbed
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    for seed in ("0", "1"):
        done = [int(step) for _, one, step in lines if one == seed]
        assert sorted(set(done)) == list(range(STEPS))
        assert done.count(0) == 1  # gone on with, not begun again, after each kill
    assert not (out / "checkpoints").exists()


def test_two_runs_are_on_two_nodes(undisturbed, tmp_path, monkeypatch):
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **LEAN})
    try:
        cluster.add_node(num_cpus=1)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)

        def both_wait():
            wait_for(lambda: len({seed for _, seed in waiters(tmp_path)}) == 2)
            (tmp_path / "go").touch()

        study, told = waiting(tmp_path), []
        watch = threading.Thread(target=both_wait, daemon=True)
        watch.start()
        conduct(study, runs(study, seeds=2), tmp_path / "out", None, told.append)
        assert len({result["node"] for result in told}) == 2
        assert found(tmp_path / "out") == undisturbed
        with pytest.raises(UsageError, match=r"a run wants 1 CPUs and 1 GPUs, the nodes have 1 CPUs, 0 GPUs; 1 CPUs"):
            conduct(study, runs(study, seeds=3), tmp_path / "out", Room(gpus=1))
        shared = Study(TOY, study.real, study.real)
        with pytest.raises(UsageError, match="12 test subjects are also learnt from"):  # in its own words
            conduct(shared, runs(shared, seeds=2), tmp_path / "shared")
        assert not (tmp_path / "shared").exists()
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.parametrize(("needs", "room"), [((1, 0), 5), ((2, 0), 2), ((1, 1), 2), ((1, 0.5), 4)])
def test_room_is_counted_node_by_node(needs, room):
    nodes = [{"Alive": True, "Resources": r} for r in ({"CPU": 4.0, "GPU": 2.0}, {"CPU": 1.0})]
    dead = {"Alive": False, "Resources": {"CPU": 64.0}}
    assert workers._fits([*nodes, dead], dict(zip(("CPU", "GPU"), needs, strict=True))) == room
