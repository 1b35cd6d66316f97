"""A cluster as operators have it: jobs submitted to it, placed on its nodes, told to leave one, seen by Prometheus."""

import json
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from pathlib import Path

import psutil
import pytest

from lesionforge.engine import telemetry
from lesionforge.sinks.quarantine import KINDS
from tests.chaos.toy import undisturbed
from tests.clusters import BIN, RayCluster
from tests.engine.conftest import shas, toy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cluster():
    """A head without work, a CPU node, and a node with a GPU (a number to Ray; nothing here computes on it)."""
    settings = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "100", "RAY_metrics_report_interval_ms": "1000"}
    one = RayCluster(**settings)
    try:
        one.add("--num-cpus=2")
        one.gpu_node = one.add("--num-cpus=2", "--num-gpus=1")
        yield one
    finally:
        one.close()


@pytest.fixture
def write(tmp_path):
    """A folder to submit: the recipe, and the toy generator that only this folder brings to the cluster."""
    folder = tmp_path / "work"
    (folder / "tests").mkdir(parents=True)
    for name in ("faulty.py", "weather.py"):
        shutil.copy(ROOT / "tests" / name, folder / "tests")

    def write(recipe):
        (folder / "recipe.json").write_text(json.dumps(recipe.model_dump(mode="json")))
        return folder

    return write


def wait_for(condition, seconds=200):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)
    return found


def indexes(out):
    return len(list(out.glob("index/*.parquet")))


def submit(cluster, folder, out, *options, wait=True, recipe="recipe.json"):
    """What a person types, in the folder of the recipe."""
    command = [BIN / "ray", "job", "submit", "--address", cluster.dashboard, "--working-dir", ".", *options]
    command += [] if wait else ["--no-wait"]
    command += ["--", "lesionforge", "generate", recipe, "--out", out, "--workers", "2", "--json"]
    return subprocess.run(command, cwd=folder, env=cluster.env, capture_output=True, text=True, timeout=250)


def result(text):
    """The JSON object among a job's lines."""
    return json.loads(re.search(r"^\{\n.*?^\}", text, re.DOTALL | re.MULTILINE)[0])


def generate(cluster, folder, out, *options, **env):
    """The command line on a machine of the cluster."""
    return subprocess.Popen(
        [BIN / "lesionforge", "generate", "recipe.json", "--out", out, "--json", *options],
        cwd=folder, env={**cluster.env, "PYTHONPATH": str(folder), **env},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process):
    out, err = process.communicate(timeout=250)
    return process.returncode, out, err


def lines(text):
    """The JSON lines of a log."""
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"time"')]


def worker_logs(cluster):
    """What all workers so far have logged, where Ray keeps it."""
    files = (cluster.folder / "session_latest" / "logs").glob("worker-*.err")
    return [entry for file in files for entry in lines(file.read_text())]


def test_a_submitted_job_runs_again_and_after_a_kill(cluster, write, tmp_path):
    """``ray job submit --working-dir . -- lesionforge generate ...``: what KubeRay runs, again and again if need be."""
    recipe = toy(name="submitted", generator__params={"seconds": 0.1})
    folder, out = write(recipe), tmp_path / "out"
    undisturbed(recipe, tmp_path / "clean")
    first = submit(cluster, folder, out, "--submission-id", "killed", wait=False)
    assert first.returncode == 0, first.stdout + first.stderr
    wait_for(lambda: indexes(out) >= 1)
    for driver in psutil.process_iter(["cmdline"]):
        words = driver.info["cmdline"] or []
        if "generate" in words and str(out) in words and "submit" not in words:
            driver.kill()
    status = [BIN / "ray", "job", "status", "--address", cluster.dashboard, "killed"]
    ended = re.compile("job 'killed' (failed|succeeded|stopped)", re.IGNORECASE)
    told = wait_for(
        lambda: ended.search(subprocess.run(status, env=cluster.env, capture_output=True, text=True).stdout)
    )
    assert told[1].lower() == "failed"
    assert 1 <= indexes(out) < 6
    before = shas(out)
    second = submit(cluster, folder, out)
    assert second.returncode == 0, second.stdout + second.stderr
    assert result(second.stdout)["shards_found"] == len([name for name in before if name.endswith("parquet")])
    assert shas(out) == shas(tmp_path / "clean")


def test_prometheus_sees_every_metric_and_the_logs_every_loss(cluster, write, tmp_path):
    recipe = toy(
        name="metered",
        sources__0__options={"count": 20, "unreadable": [4]},
        generator__params={"raise_at": ["train-0000-00000003"], "reject_twice": ["train-0001-00000006"],
                           "memory_limit": 1, "kill_at": ["train-0001-00000009"], "seconds": 0.05},
        resources__batch=2, quality__redraws=3, quality__max_quarantined=0.2,
    )  # fmt: skip
    process = generate(cluster, write(recipe), tmp_path / "out", "--workers", "2", LESIONFORGE_LOG="info")
    seen: dict[str, float] = {}  # the highest value of each series of ours

    def scrape():
        text = urllib.request.urlopen(f"http://127.0.0.1:{cluster.metrics_port}/metrics", timeout=20).read().decode()
        for name, labels, value in re.findall(r"^(ray_lesionforge_\w+)\{(.*?)\} (\S+)$", text, re.MULTILINE):
            tags = dict(re.findall(r'(\w+)="(.*?)"', labels))
            if tags["dataset"] == "metered":
                ours = {k: tags[k] for k in ("kind", "stage", "state", "gpu") if tags.get(k)}
                key = name + "".join(f" {k}={v}" for k, v in ours.items())
                seen[key] = max(seen.get(key, 0), float(value))
        return seen

    wait_for(lambda: scrape() and process.poll() is not None)
    code, out, err = finish(process)
    assert code == 0, err
    body = result(out)
    wait_for(lambda: scrape().get("ray_lesionforge_shards_total", 0) >= 6, seconds=30)
    assert seen["ray_lesionforge_samples_total"] == body["samples"] == 36
    assert seen["ray_lesionforge_bytes_total"] == body["bytes"]
    kinds = {key.partition("kind=")[2]: value for key, value in seen.items() if "kind=" in key}
    assert kinds == {"source": 2, "error": 1, "killed": 1}
    assert set(kinds) <= set(KINDS)
    assert seen["ray_lesionforge_redraws_total"] == 2
    assert seen["ray_lesionforge_worker_deaths_total"] == body["worker_deaths"] >= 2
    assert seen["ray_lesionforge_retries_total"] >= body["worker_deaths"]
    assert seen["ray_lesionforge_batch_halvings_total"] == body["batch_halvings"] > 0
    assert seen["ray_lesionforge_planned_samples"] == seen["ray_lesionforge_done_samples"] == 40
    assert 1 <= seen["ray_lesionforge_workers state=placed"] <= 2  # they need not start at the same time
    assert 1 <= seen["ray_lesionforge_queue_depth"] <= 4
    assert all(seen[f"ray_lesionforge_stage_seconds_total stage={stage}"] > 0 for stage in telemetry.STAGES)
    exported = {key.split()[0] for key in seen}
    assert exported == {m.exported for m in telemetry.METRICS}
    committed = [entry for entry in lines(err) if entry["event"] == "committed"]
    assert sum(entry["samples"] for entry in committed) == 36
    assert all(entry["role"] == "driver" and entry["shard"] for entry in committed)
    died = [entry for entry in lines(err) if entry["event"] == "worker died"]
    assert "train-0001-00000009" in {entry.get("sample") for entry in died}
    mine = pids(cluster, "metered")
    lost = [e for e in worker_logs(cluster) if e["event"] == "quarantined" and e["pid"] in mine]
    assert {entry["level"] for entry in lost} == {"warning"}
    assert {entry["shard"] for entry in lost} <= {entry["shard"] for entry in committed}
    reasons = {entry["sample"]: entry["reason"] for entry in lost}
    assert len(reasons) == 4
    assert reasons["train-0000-00000003"].startswith("error: RuntimeError: ordered to fail")
    assert reasons["train-0001-00000009"] == "killed its worker (3 times)"
    assert list(reasons.values()).count("source: case 4 is unreadable") == 2


def pids(cluster, dataset):
    """The workers of a dataset."""
    return {e["pid"]: e for e in worker_logs(cluster) if e["event"] == "placed" and e["dataset"] == dataset}


def test_two_workers_share_a_gpu_beside_a_cpu_node(cluster, write, tmp_path):
    recipe = toy(name="shared-gpu", resources__gpus=0.5)
    code, _, err = finish(generate(cluster, write(recipe), tmp_path / "out", "--workers", "2"))
    assert code == 0, err
    placed = pids(cluster, "shared-gpu").values()
    assert len(placed) == 2
    assert len({entry["node"] for entry in placed}) == 1  # the CPU node has none of it
    assert {tuple(entry["gpus"]) for entry in placed} == {("0",)}


@pytest.mark.parametrize(
    ("workers", "gpus", "words"),
    [
        (3, 0.5, "3 workers of 0.5 CPUs and 0.5 GPUs each were asked for; the cluster has 3 nodes"),
        (1, 2, "and room for 0."),
    ],
)
def test_what_cannot_be_placed_is_refused_with_what_there_is(cluster, write, tmp_path, workers, gpus, words):
    folder, began = write(toy(resources__gpus=gpus)), time.monotonic()
    code, _, err = finish(generate(cluster, folder, tmp_path / "out", "--workers", str(workers)))
    assert (code, words in err) == (1, True), err
    assert "2 CPUs, 1 GPUs" in err
    assert "--wait-for-nodes" in err
    assert time.monotonic() - began < 60


def test_a_cluster_without_room_is_waited_for_if_asked(cluster, write, tmp_path):
    """As with KubeRay's groups of `minReplicas: 0`: the node comes when somebody asks for it."""
    folder, out = write(toy(name="waited-for", resources__cpus=3)), tmp_path / "out"
    code, _, err = finish(generate(cluster, folder, out, "--workers", "2", "--wait-for-nodes", "1"))
    assert code == 1
    assert re.search(r"no room for \d s: 2 workers of 3 CPUs and 0 GPUs each were asked for", err), err
    assert indexes(out) == 0
    process = generate(cluster, folder, out, "--workers", "2", "--wait-for-nodes", "250")
    cluster.add("--num-cpus=3")  # for one of the two: work begins with it
    code, text, err = finish(process)
    assert code == 0, err
    assert result(text)["samples"] == 40
    assert len(pids(cluster, "waited-for")) == 1


def test_a_node_that_is_told_to_end_gets_no_more_shards_and_loses_none(cluster, write, tmp_path):
    """SIGTERM, as Kubernetes sends it to a pod of a spot node; another node comes in its place."""
    log, out = tmp_path / "log", tmp_path / "out"
    log.mkdir()
    recipe = toy(
        name="drained", resources__gpus=0.5, shard__samples=2, generator__params={"seconds": 0.25, "log": str(log)}
    )
    process = generate(cluster, write(recipe), out, "--workers", "2", LESIONFORGE_LOG="info")
    wait_for(lambda: len(pids(cluster, "drained")) == 2 and indexes(out) >= 2)
    first = pids(cluster, "drained")
    cluster.gpu_node.send_signal(signal.SIGTERM)
    cluster.add("--num-cpus=2", "--num-gpus=1")
    code, text, err = finish(process)
    assert code == 0, err
    assert (result(text)["samples"], result(text)["worker_deaths"]) == (40, 0), err + cluster.said()
    assert [entry for entry in lines(err) if entry["event"] == "taken back"]
    second = {pid: entry for pid, entry in pids(cluster, "drained").items() if pid not in first}
    assert len(second) == 2
    assert not {entry["node"] for entry in first.values()} & {entry["node"] for entry in second.values()}
    made = {int(file.name): file.read_text().split() for file in log.iterdir()}
    assert set(made) == first.keys() | second.keys()
    counts = Counter(sample for samples in made.values() for sample in samples)
    assert len(counts) == 40
    assert sum(counts.values()) - 40 <= 2 * 2  # a shard of each that began as it was taken back
    wait_for(lambda: cluster.gpu_node.poll() is not None, seconds=90)  # well before its 100 seconds are over
