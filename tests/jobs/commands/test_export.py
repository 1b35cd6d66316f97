"""``lesionforge export --format nnunet`` and ``dicom``: what is written, and what is said of it."""

import json

import pytest
from typer.testing import CliRunner

from lesionforge.jobs.cli import app
from lesionforge.sinks.store import Store
from tests.sinks import cines, lesions, stenoses

TUMOURS = ["liver_tumour", "kidney_tumour", "pancreas_tumour"]


@pytest.fixture
def made(tmp_path, monkeypatch):
    meta = lesions.meta
    monkeypatch.setattr(lesions, "meta", lambda *told: meta(*told) | {"origin_lps_mm": [1.0, 2.0, 3.0]})
    lesions.write(Store(str(tmp_path / "made")), 4)
    return tmp_path


def run(made, *options, to="out"):
    return CliRunner().invoke(
        app, ["export", str(made / "made"), "--to", str(made / to), "--format", "nnunet", *options]
    )


def labels(made, to="out"):
    return json.loads((made / to / "dataset.json").read_text())["labels"]


def test_the_classes_that_segmentation_learns_are_the_default(made):
    told = json.loads(run(made, "--json").stdout)
    assert labels(made) == {"background": 0, "liver_tumour": 1, "kidney_tumour": 2, "pancreas_tumour": 3}
    assert told["held"] == {"train": {"liver_tumour": 2, "kidney_tumour": 2, "pancreas_tumour": 2}}
    assert run(made, "--organs", to="organs").exit_code == 0
    assert list(labels(made, "organs")) == ["background", "liver", "kidney", "pancreas", *TUMOURS]


def test_classes_are_named_and_merged(made):
    done = run(made, "--class", "organ=liver,kidney", "--class", "liver_early")
    assert labels(made) == {"background": 0, "organ": 1, "liver_early": 2}
    assert "as background: kidney_early, in 2 volumes" in done.stdout


def test_another_dataset_is_added(made):
    lesions.write(Store(str(made / "drawn")), 2, first=8)
    told = json.loads(run(made, "--add", str(made / "drawn"), "--json").stdout)
    assert (told["images"], told["added"]) == ({"train": 6}, 2)
    assert {path.name[:2] for path in (made / "out" / "imagesTr").iterdir()} == {"0-", "1-"}
    done = CliRunner().invoke(app, ["export", str(made / "made"), "--to", "x", "--format", "yolo", "--add", "y"])
    assert "--add is for --format nnunet" in str(done.exception) + done.output


def test_mistakes_are_named(made):
    for options, reason in (
        (("--class", "spleen"), "no label spleen in its legend"),
        (("--class", "liver", "--organs"), "--organs is for"),
        (("--image", "source_ct"), "volumes need an array source_ct and an array label"),
    ):
        done = run(made, *options)
        assert done.exit_code != 0
        assert reason in str(done.exception) + done.output
        assert not (made / "out").exists()
    done = CliRunner().invoke(app, ["export", str(made / "made"), "--to", str(made / "x"), "--format", "nnU-Net"])
    assert "no export format 'nnU-Net'; there are coco, dicom, nnunet, yolo" in str(done.exception) + done.output
    stenoses.write(Store(str(made / "frames")), 2)
    done = CliRunner().invoke(app, ["export", str(made / "frames"), "--to", str(made / "x"), "--format", "nnunet"])
    assert "no sample has a plaque or tumour" in str(done.exception) + done.output


def test_runs_become_dicom(tmp_path):
    cines.write(Store(str(tmp_path / "made")))
    words = ["export", str(tmp_path / "made"), "--format", "dicom", "--to"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "refused"), "--class", "severe"])
    assert "DICOM takes runs as they are" in str(done.exception) + done.output
    done = CliRunner().invoke(app, [*words, str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert done.output.split()[-3:] == ["train", "4", "17"]
    assert len(list((tmp_path / "out" / "train").glob("*.dcm"))) == 4
