"""``study`` of the real tasks, killed inside a training and continued: the same as undisturbed.

``train``: tests/jobs/learning/test_training.py.
"""

import json

import pytest

pytest.importorskip("torch")

from typer.testing import CliRunner

from lesionforge.jobs.cli import app
from tests.jobs.killed import killed_at
from tests.jobs.learning.test_training import DETECTION, SEGMENTATION

TIMES = {"fit_cpu_s", "wall_s"}
FRAMES = ["--test", DETECTION[2], "--test-option", "cases=2", "--test-option", "first=100"]
SCANS = ["--test", SEGMENTATION[2], "--test-option", "labelled=true", "--test-option", "count=2"]
SCANS += ["--test-option", "first=100", "--models", "unet"]


def finish(words, out):
    got = CliRunner().invoke(app, [*words, "--out", str(out)])
    assert got.exit_code == 0, got.output
    return {
        f.name: {k: v for k, v in json.loads(f.read_text()).items() if k not in TIMES} for f in out.glob("runs/*.json")
    }


@pytest.mark.parametrize(
    ("task", "test"), [(DETECTION, FRAMES), (SEGMENTATION, SCANS)], ids=["detection", "segmentation"]
)
def test_a_study_killed_inside_a_training_ends_as_if_undisturbed(task, test, tmp_path):
    words = ["study", *task, *test, "--sizes", "all"]
    words += ["--seeds", "1", "--arms", "real", "--in-process"]
    whole = finish(words, tmp_path / "whole")
    out = tmp_path / "cut"
    killed_at(4, *words, "--out", out)
    assert not list(out.glob("runs/*.json"))
    assert list(out.glob("checkpoints/*/*.safetensors"))
    assert finish(words, out) == whole
    assert sorted(path.name for path in out.iterdir()) == [
        "report.json",
        "report.md",
        "report.png",
        "runs",
        "study.json",
    ]
