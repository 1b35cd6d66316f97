"""train, score, study and report of every task, as a person calls them."""

import json

import pytest

pytest.importorskip("torch")

from typer.testing import CliRunner

from lesionforge.jobs.cli import app
from lesionforge.jobs.options import pairs
from lesionforge.jobs.tasks.segmentation.measures import MEAN, SCORES
from tests.jobs.studies.test_places import LEFT, TORN
from tests.jobs.tasks.detection.worlds import HERE
from tests.jobs.tasks.segmentation import worlds
from tests.jobs.tasks.segmentation.worlds import TINY

FRAMES = f"{HERE}.ToySource:here"
TRAIN, TEST = ["--real-option", "cases=12"], ["--test-option", "cases=4", "--test-option", "first=100"]
FEW = ["--set", "steps=2", "--set", "batch=2"]
FEW_PATCHES = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture(scope="session")
def balls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("balls")
    only = {"split": {"train": 1.0, "val": 0, "test": 0}, "first": 100, "count": 4}
    return {name: worlds.make_dataset(folder, name, **given) for name, given in (("real", {}), ("made", only))}


def call(*words):
    got = CliRunner().invoke(app, [*map(str, words)])
    assert got.exit_code == 0, got.output
    return got


def answer(*words):
    return json.loads(call(*words, "--json").stdout)


def test_detection_from_training_to_report(toy, tmp_path):
    model, out = tmp_path / "models" / "model.safetensors", tmp_path / "study"
    real, test = ["--real", FRAMES, *TRAIN], ["--test", FRAMES, *TEST]
    got = call("train", "detection", "--out", model, *real, "--synthetic", toy, *FEW, "--json")
    begun = ["reading --real: 12 cases", "reading --synthetic: 48 samples", "learning from 12 real, 48 synthetic items"]
    assert got.stderr.splitlines()[:3] == begun  # before the first step
    assert (json.loads(got.stdout)["real"], json.loads(got.stdout)["synthetic"]) == (12, 48)
    assert [path.name for path in model.parent.iterdir()] == ["model.safetensors"]  # no checkpoint is left
    missing = CliRunner().invoke(app, ["score", "detection", str(model), "--test", toy])
    assert str(missing.exception) == f"--test: {toy} has no split test; it has train"
    got = call("score", "detection", model, *test, "--json")
    body = json.loads(got.stdout)
    assert "Every item counts as a subject of its own: if several are of one patient" in got.stderr
    assert all(m["interval"][0] >= 0 for m in body["scores"].values() if m["interval"])
    assert body["test"]["items"] == 4
    assert sum(row["lesions"] for row in body["rows"]) == 3
    assert {"ap50", "map50", "f1", "recall_1fp", "ap_centre"} <= body["scores"].keys()
    words = [*real, *test, "--synthetic", toy, "--sizes", "4", "--arms", "real,x2", "--seeds", "2", *FEW]
    none = CliRunner().invoke(app, ["study", "detection", "--out", out, *words, "--sizes", "4,0"])
    assert none.exit_code == 2
    assert "--sizes holds '0'" in none.output
    got = call("study", "detection", "--out", out, *words, "--in-process", "--json")
    assert json.loads(got.stdout)["runs"] == 4
    held = "--real: 12 cases, --test: 4 cases, --synthetic: 48 samples"
    assert got.stderr.splitlines()[0] == f"4 of 4 runs to make; {held}"
    assert sorted(path.name for path in out.iterdir() if "report" not in path.name) == ["runs", "study.json"]
    assert answer("report", "detection", out)["runs"] == 4
    assert "ARCADE validation" not in (out / "report.md").read_text()


def test_segmentation_from_training_to_report(balls, tmp_path):
    model, out = tmp_path / "model.safetensors", tmp_path / "study"
    body = answer(
        "train", "segmentation", "--out", model, "--real", balls["real"], "--synthetic", balls["made"], *FEW_PATCHES
    )
    assert (body["real"], body["synthetic"]) == (6, 4)
    body = answer("score", "segmentation", model, "--test", balls["real"], "--set", "tolerance_mm=1")
    assert len(body["rows"]) == body["test"]["subjects"] == 3
    assert {f"{score}/{MEAN}" for score in SCORES[:4]} <= body["scores"].keys()
    source = ["--test", f"{worlds.HERE}.ToySource:here", "--test-option", "labelled=true", "--test-option", "count=2"]
    assert answer("score", "segmentation", model, *source)["test"]["items"] == 2
    shown = call("score", "segmentation", model, "--test", balls["real"]).stdout
    assert "3 items of 3 subjects" in shown
    assert "lesion_dsc/mean" in shown
    words = ["--real", balls["real"], "--test", balls["real"], "--synthetic", f"made={balls['made']}", "--seeds", "2"]
    words += ["--models", "unet", *FEW_PATCHES]
    assert answer("study", "segmentation", "--out", out, *words, "--in-process")["runs"] == 4
    shown = call("report", "segmentation", out).stdout
    assert shown.count("### ") == (out / "report.md").read_text().count("### ")
    assert len(list((out / "runs").glob("*.json"))) == 4


def test_cases_that_cannot_be_read_are_told_by_every_command(tmp_path):
    """House A4: they were passed over without a word."""
    model, out = tmp_path / "model.safetensors", tmp_path / "study"
    real = ["--real", TORN, *TRAIN]
    test = ["--test", TORN, *TEST]
    reasons = {"read": 8, "unreadable": 4, "reasons": {"truncated after … bytes": 4}, "left_over": LEFT}
    got = call("train", "detection", "--out", model, *real, *FEW, "--json")
    assert json.loads(got.stdout)["places"] == {"--real": reasons}
    assert "--real: 4 of 12 cases cannot be read and are left out: 4 x truncated" in got.stderr
    got = call("score", "detection", model, *test, "--json")
    assert json.loads(got.stdout)["places"]["--test"]["unreadable"] == 2
    assert "--test: 2 of 4 cases cannot be read" in got.stderr
    words = [*real, *test, "--sizes", "4", "--arms", "real", "--seeds", "1", *FEW, "--in-process"]
    got = call("study", "detection", "--out", out, *words)
    assert "--real: 4 of 12 cases cannot be read" in got.stderr
    assert "--test: 2 of 4 cases cannot be read" in (out / "report.md").read_text()
    assert "--real: files in no case: 2 label maps without an image" in (out / "report.md").read_text()
    got = call("report", "detection", out, "--json")
    assert json.loads(got.stdout)["places"]["--real"] == reasons
    assert "--real: 4 of 12 cases cannot be read" in got.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "detection"], "give --real, --synthetic or both"),
        (["study", "detection", "--real", "a", "--test", "b", "--synthetic", "x4=c"], "does not end in xN"),
        (["study", "detection", "--real", "a", "--test", "b", "--synthetic", "c", "--synthetic", "d"], "given twice"),
    ],
)
def test_wrong_usage_is_named(words, message, tmp_path):
    got = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert got.exit_code == 2
    assert message in " ".join(got.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "detection", "--real", "nowhere"], "--real: nowhere holds no dataset with samples"),
        (["study", "detection", "--real", FRAMES, "--test", "TOY"], "has no split test; it has train"),
        (["study", "detection", "--real", "arcade:nowhere", "--test", FRAMES], "--real (arcade): no such folder"),
    ],
)
def test_what_is_missing_is_told_and_leaves_nothing_behind(words, message, toy, tmp_path):
    """Newcomers: a missing folder or split was called a dataset of another generator, and left an empty runs/."""
    out = tmp_path / "out"
    got = CliRunner().invoke(app, [word.replace("TOY", toy) for word in words] + ["--out", str(out)])
    assert message in str(got.exception)
    assert not out.exists()


def test_options_are_read_as_yaml_and_a_bad_one_is_named():
    import typer

    assert pairs(["a=1", "b=x", "c=[1, 2]", "d=true"]) == {"a": 1, "b": "x", "c": [1, 2], "d": True}
    with pytest.raises(typer.BadParameter, match="oops"):
        pairs(["oops"])
