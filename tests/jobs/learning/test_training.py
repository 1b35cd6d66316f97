"""Trainings of the commands: killed, they go on to the same model; several processes share them."""

import os
import signal
import subprocess
import sys
import time

import pytest

torch = pytest.importorskip("torch")

from typer.testing import CliRunner  # noqa: E402

from lesionforge.jobs.cli import app  # noqa: E402
from tests.jobs.tasks.detection.worlds import HERE as FRAMES  # noqa: E402
from tests.jobs.tasks.segmentation.worlds import HERE as SCANS  # noqa: E402

DETECTION = ["detection", "--real", f"{FRAMES}.ToySource:here", "--real-option", "cases=8"]
DETECTION += ["--set", "steps=40", "--set", "batch=2"]
SEGMENTATION = ["segmentation", "--real", f"{SCANS}.ToySource:here", "--real-option", "labelled=true"]
SEGMENTATION += ["--real-option", "count=3", "--set", "preset=tiny", "--set", "steps=40", "--set", "patch=16"]
SEGMENTATION += ["--set", "batch=2", "--set", "channels=[4, 8, 16]"]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def command(words, out):
    return ["train", *words, "--out", str(out)]


@pytest.mark.parametrize("words", [DETECTION, SEGMENTATION], ids=lambda words: words[0])
def test_killed_at_half_and_continued_the_model_is_the_same(tmp_path, words):
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    log = tmp_path / "parts.safetensors.training" / "losses.jsonl"
    code = "from lesionforge.jobs.cli import main; main()"
    run = subprocess.Popen(
        [sys.executable, "-c", code, *command(words, parts)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    while run.poll() is None and not (log.is_file() and len(log.read_text().splitlines()) >= 20):
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    _, said = run.communicate(timeout=60)
    assert run.returncode == -signal.SIGKILL, said
    assert not parts.exists()
    for out in (parts, whole):
        got = CliRunner().invoke(app, command(words, out))
        assert got.exit_code == 0, got.output
        assert ("continued from step" in got.stderr) == (out == parts)
    assert parts.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [parts.name, whole.name]  # no checkpoint is left
