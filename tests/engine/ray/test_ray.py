"""The promises under Ray: same bytes for any number of workers, and after any death."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from unittest import mock

import pytest

from tests.chaos.toy import undisturbed
from tests.clusters import LEAN
from tests.command_line import inside
from tests.conftest import heed_sigint
from tests.engine.conftest import ROOT, shas, toy
from tests.engine.test_worker import run

MAIN = "from lesionforge.jobs.cli import main; main()"


def generate(path, out, *more, **popen):
    """The command line in a process of its own, as a user runs it."""
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, "generate", str(path), "--out", str(out), *more],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=heed_sigint, **popen,
    )  # fmt: skip


def finish(process):
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def made(log) -> Counter:
    """How often each sample was made, and by how many processes."""
    return Counter(line for file in log.iterdir() for line in file.read_text().split())


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def index_count(out):
    return len(list(out.glob("index/*.parquet")))


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The undisturbed dataset, made in process."""
    folder = tmp_path_factory.mktemp("clean")
    run(toy(), folder)
    return shas(folder)


@pytest.fixture(scope="module")
def node():
    """A cluster of one node, for all: most of a run's time would go into starting its own."""
    from ray.cluster_utils import Cluster

    with mock.patch.dict(os.environ, RAY_USAGE_STATS_ENABLED="0"):
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **LEAN})
    yield cluster.address
    cluster.shutdown()


@pytest.fixture
def on_node(node, monkeypatch):
    """Commands work on that node."""
    monkeypatch.setenv("RAY_ADDRESS", node)


def test_the_number_of_workers_changes_no_byte(clean, on_node, tmp_path, recipe_path):
    done = inside("generate", recipe_path(toy()), "--out", tmp_path / "out", "--workers", 1, "--json")
    assert json.loads(done.stdout)["samples"] == 40
    assert shas(tmp_path / "out") == clean


def test_a_run_that_starts_ray_itself_changes_no_byte_either(clean, tmp_path, recipe_path):
    code, out, err = finish(generate(recipe_path(toy()), tmp_path / "out", "--workers", "3", "--json"))
    assert code == 0, err
    assert json.loads(out)["samples"] == 40
    assert shas(tmp_path / "out") == clean


def slow(tmp_path, **changes):
    log = tmp_path / "log"
    log.mkdir()
    return toy(generator__params={"seconds": 0.3, "log": str(log)} | changes.pop("params", {}), **changes), log


def test_a_killed_worker_costs_at_most_a_shard(on_node, tmp_path, recipe_path):
    recipe, log = slow(tmp_path)
    undisturbed(recipe, tmp_path / "clean")
    for file in log.iterdir():
        file.unlink()
    process = generate(recipe_path(recipe), tmp_path / "out", "--workers", "2", "--json")
    wait_for(lambda: index_count(tmp_path / "out") >= 2 and len(list(log.iterdir())) >= 2)
    os.kill(int(next(iter(log.iterdir())).name), signal.SIGKILL)
    code, out, err = finish(process)
    assert code == 0, err
    assert json.loads(out)["worker_deaths"] == 1
    assert json.loads(out)["quarantined"] == 0
    assert shas(tmp_path / "out") == shas(tmp_path / "clean")
    counts = made(log)
    assert len(counts) == 40
    assert sum(counts.values()) - 40 <= 8  # redone: at most the one shard in hand


def test_ctrl_c_leaves_a_state_to_continue(node, tmp_path, recipe_path, monkeypatch):
    recipe, _ = slow(tmp_path)
    process = generate(recipe_path(recipe), tmp_path / "out", "--workers", "1")
    wait_for(lambda: index_count(tmp_path / "out") >= 1)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert "run the same command again" in err
    assert "Traceback" not in err
    before, committed = index_count(tmp_path / "out"), shas(tmp_path / "out")
    monkeypatch.setenv("RAY_ADDRESS", node)
    done = inside("generate", recipe_path(recipe), "--out", tmp_path / "out", "--workers", 2, "--json")
    assert json.loads(done.stdout)["shards_found"] == before
    assert shas(tmp_path / "out").items() >= committed.items()


def test_raising_killing_and_unreadable_each_cost_themselves_alone(on_node, tmp_path, recipe_path):
    recipe = toy(
        sources__0__options={"count": 20, "unreadable": [4]},
        generator__params={"raise_at": ["train-0000-00000003"], "kill_at": ["train-0001-00000006"]},
        multiply=2,
    )
    done = inside("generate", recipe_path(recipe), "--out", tmp_path / "out", "--workers", 2, "--json", code=3)
    body = json.loads(done.stdout[done.stdout.index("{\n") :])  # Ray tells of deaths there, where nobody stops it
    assert body["samples"] == 36
    assert body["quarantined"] == 4
    assert body["quota_met"] is False
    assert "quota not met: 36 of 40 samples" in body["problem"]
    reasons = " | ".join(body["reasons"])
    for words in (
        "source: case 4 is unreadable",
        "error: RuntimeError: ordered to fail",
        "killed its worker (3 times)",
    ):
        assert words in reasons
    assert 3 <= body["worker_deaths"] <= 4  # the first may find several samples at work, and so blame none


def test_a_vain_run_ends_early_over_several_workers(on_node, tmp_path, recipe_path):
    recipe = toy(
        sources__0__options={"count": 500}, shard__samples=1000, quality__limits={"mean": {"min": 1e9}},
        quality__redraws=0,
    )  # fmt: skip
    done = inside("generate", recipe_path(recipe), "--out", tmp_path / "out", "--workers", 2, code=1)
    last = done.stderr.splitlines()[-1]
    assert "samples all failed for one reason (quality: mean is" in last
    assert "widen quality.limits" in last
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".tmp"]


def test_an_impossible_placement_is_refused_at_once(on_node, tmp_path, recipe_path):
    start = time.monotonic()
    recipe = recipe_path(toy(resources__gpus=1))
    done = inside("generate", recipe, "--out", tmp_path / "out", "--workers", 2, code=1)
    assert "2 workers of 0.5 CPUs and 1 GPUs each were asked for; the cluster has 1 nodes" in done.stderr
    assert time.monotonic() - start < 60
