"""The segmentation commands, as a person calls them."""

import json

import pytest

pytest.importorskip("torch")

from lesionforge.jobs.tasks.segmentation.summary import SCORES
from typer.testing import CliRunner

from lesionforge.jobs.cli import app
from tests.jobs.tasks.segmentation.worlds import HERE, TINY

FEW = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]


def answer(*words):
    got = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert got.exit_code == 0, got.output
    return json.loads(got.stdout)


def test_train_then_score(balls, tmp_path):
    model = tmp_path / "models" / "model.safetensors"
    data = ["--real", balls["real"], "--synthetic", balls["made"], "--preset", "tiny"]
    body = answer("train", "segmentation", "--out", model, *data, *FEW)
    assert (body["real"], body["synthetic"]) == (6, 4)
    assert body["classes"] == ["calcified", "non_calcified"]
    body = answer("score", "segmentation", model, "--test", balls["real"])
    assert (body["scans"], len(body["subjects"])) == (3, 3)
    assert body["scores"].keys() == set(SCORES)
    source = ["--test", f"{HERE}.ToySource:here", "--test-option", "labelled=true", "--test-option", "count=2"]
    assert answer("score", "segmentation", model, *source)["scans"] == 2
    shown = CliRunner().invoke(app, ["score", "segmentation", str(model), "--test", balls["real"]])
    assert "3 scans of 3 subjects" in shown.stdout
    assert "lesion_dsc" in shown.stdout


def test_study_then_report(balls, tmp_path):
    words = ["--real", balls["real"], "--test", balls["real"], "--synthetic", f"made={balls['made']}"]
    words += ["--out", tmp_path, "--networks", "unet", "--seeds", "2", "--processes", "1", *FEW]
    assert answer("study", "segmentation", *words)["runs"] == 4
    assert answer("report", "segmentation", tmp_path)["runs"] == 4
    assert len(list((tmp_path / "runs").glob("*.json"))) == 4


def test_data_must_be_given(tmp_path):
    got = CliRunner().invoke(app, ["train", "segmentation", "--out", str(tmp_path / "m.safetensors")])
    assert got.exit_code == 2
    assert "--synthetic" in got.output
