"""``study`` of the real tasks, killed inside a training and continued: the same as undisturbed.

``train``: tests/jobs/learning/test_training.py.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.jobs.tasks.detection.worlds import HERE
from tests.jobs.tasks.segmentation import worlds

ROOT = Path(__file__).resolve().parents[3]
TIMES = {"fit_cpu_s", "wall_s"}


@pytest.fixture(scope="module")
def data(toy, tmp_path_factory):
    """What each task is given: real data, test data, settings that make a training of a few seconds."""
    balls = worlds.make_dataset(tmp_path_factory.mktemp("balls"), "real")
    frames, real, test = f"{HERE}.ToySource:here", ["--real-option", "cases=12"], ["--test-option", "cases=4"]
    test += ["--test-option", "first=100"]
    few = ["--set", "patch=16", "--set", "channels=[8,16,16]", "--set", "batch=4", "--set", "steps=60"]
    return {
        "detection": (["--real", frames, *real], ["--test", frames, *test], ["--set", "steps=20", "--set", "batch=2"]),
        "segmentation": (["--real", balls], ["--test", balls, "--models", "unet"], few),
    }


def start(*words):
    """One thread, so that sums are the same in every process."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from lesionforge.jobs.cli import main; main()", *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(*words):
    process = start(*words)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


def kill_at_half(words, checkpoint):
    """SIGKILL once there is a checkpoint of a training that goes on."""
    process = start(*words)
    deadline = time.monotonic() + 300
    while not (found := list(checkpoint())):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    process.stderr.close()
    return found


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_a_study_killed_inside_a_training_ends_as_if_undisturbed(data, task, tmp_path):
    real, test, few = data[task]
    words = ["study", task, *real, *test, *few, "--seeds", "1", "--arms", "real", "--in-process", "--out"]
    words[-1:-1] = ["--sizes", "4"]
    finish(*words, tmp_path / "whole")
    out = tmp_path / "cut"
    kill_at_half([*words, out], lambda: out.glob("checkpoints/*/*.safetensors"))
    assert not list(out.glob("runs/*.json"))
    finish(*words, out)
    one, other = (
        {f.name: {k: v for k, v in json.loads(f.read_text()).items() if k not in TIMES} for f in p.glob("runs/*.json")}
        for p in (tmp_path / "whole", out)
    )
    assert one == other
    assert not list((out / "checkpoints").iterdir())
