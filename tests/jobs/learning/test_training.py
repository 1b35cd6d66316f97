"""Trainings of the commands: killed, they go on to the same model."""

import pytest

pytest.importorskip("torch")

from typer.testing import CliRunner

from lesionforge.jobs.cli import app
from tests.jobs.killed import killed_at
from tests.jobs.tasks.detection.worlds import HERE as FRAMES
from tests.jobs.tasks.segmentation.worlds import HERE as SCANS

DETECTION = ["detection", "--real", f"{FRAMES}.ToySource:here", "--real-option", "cases=4"]
DETECTION += ["--set", "steps=6", "--set", "batch=2"]
SEGMENTATION = ["segmentation", "--real", f"{SCANS}.ToySource:here", "--real-option", "labelled=true"]
SEGMENTATION += ["--real-option", "count=3", "--set", "preset=tiny", "--set", "steps=6", "--set", "patch=16"]
SEGMENTATION += ["--set", "batch=2", "--set", "channels=[4, 8, 16]"]


@pytest.mark.parametrize("words", [DETECTION, SEGMENTATION], ids=lambda words: words[0])
def test_killed_at_half_and_continued_the_model_is_the_same(tmp_path, words):
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    killed_at(4, "train", *words, "--out", parts)
    assert not parts.exists()
    for out in (parts, whole):
        got = CliRunner().invoke(app, ["train", *words, "--out", str(out)])
        assert got.exit_code == 0, got.output
        assert ("continued from step 3" in got.stderr) == (out == parts)
    assert parts.read_bytes() == whole.read_bytes()
    (tmp_path / "plain").touch()
    assert whole.stat().st_mode == (tmp_path / "plain").stat().st_mode  # the umask's, not its owner's alone
    (tmp_path / "plain").unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == [parts.name, whole.name]  # no checkpoint is left
