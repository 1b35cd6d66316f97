"""The detection commands, as a person calls them."""

import json

import pytest
import typer
from typer.testing import CliRunner

from lesionforge.jobs.tasks.detection import cli
from tests.jobs.tasks.detection.worlds import HERE

pytest.importorskip("torch")

SOURCE = f"{HERE}.ToySource:here"
app = typer.Typer()
for command in (cli.train, cli.score, cli.study, cli.report):
    app.command()(command)


def call(*words):
    got = CliRunner().invoke(app, [str(word) for word in words])
    assert got.exit_code == 0, got.output
    return got


def answer(*words):
    return json.loads(call(*words, "--json").stdout)


def test_train_then_score(toy, tmp_path):
    model = tmp_path / "model.safetensors"
    few = ["--set", "steps=2", "--set", "batch=2"]
    source = ["--real", SOURCE, "--real-option", "cases=4"]
    body = answer("train", "--out", model, *source, "--synthetic", toy, *few)
    assert (body["real"], body["synthetic"]) == (4, 48)
    body = answer("score", model, "--test", SOURCE, "--test-option", "cases=4", "--test-option", "first=100")
    assert (body["frames"], body["lesions"]) == (4, 3)
    assert {"ap50", "map50", "f1", "recall_1fp", "ap_centre"} <= body["scores"].keys()


def test_study_then_report(toy, tmp_path):
    words = ["--real", SOURCE, "--real-option", "cases=12", "--test", SOURCE, "--synthetic", toy, "--out", tmp_path]
    words += ["--test-option", "cases=4", "--test-option", "first=100", "--sizes", "4", "--arms", "real,x2"]
    words += ["--set", "steps=2", "--set", "batch=2", "--processes", "1", "--seeds", "2"]
    assert answer("study", *words)["runs"] == 4
    assert answer("report", tmp_path)["runs"] == 4


def test_options_are_read_as_yaml_and_a_bad_one_is_named():
    assert cli.pairs(["a=1", "b=x", "c=[1, 2]", "d=true"]) == {"a": 1, "b": "x", "c": [1, 2], "d": True}
    with pytest.raises(typer.BadParameter, match="oops"):
        cli.pairs(["oops"])
