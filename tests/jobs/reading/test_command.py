"""``lesionforge read``: on real runs with baselines, and with a model of every task plugged in."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lesionforge.jobs.cli import app
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.task import find
from lesionforge.jobs.tasks.detection.frames import labelled
from lesionforge.jobs.tasks.runs import stored_runs
from lesionforge.sinks.exports import export_runs
from lesionforge.sinks.reader import Samples
from lesionforge.sinks.store import Store
from tests.engine.sources.angio_runs import wrapped
from tests.jobs.tasks import cine

TINY = {"steps": 2, "batch": 2}


def read(*words):
    return CliRunner().invoke(app, ["read", *map(str, words)])


def said(done):
    assert done.exit_code == 0, done.output + repr(done.exception)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    here = tmp_path_factory.mktemp("cine")
    cine.write(Store(str(here / "made")), 4)
    export_runs(here / "made", here / "dicom")
    return here


@pytest.fixture(scope="module")
def models(place):
    """A file of every task, each trained for a moment."""
    runs = list(stored_runs(Samples(Store(str(place / "made")))))
    frames = [
        labelled(run.film[run.begin], [{"box": (10, 10, 40, 40), "severity_class": "severe", "synthetic": True}],
                 subject=run.subject, source_id=run.source_id)
        for run in runs
    ]  # fmt: skip
    out = {}
    for name, options, changes in (
        ("frames", {}, {"run_steps": 2, "run_batch": 2, "copies": 1}),
        ("view", {"what": "side"}, {}),
        ("severity", {}, {}),
        ("detection", {}, {}),
    ):
        task = find(name)(**options)
        learner = task.learner(task.changed(task.models[0], TINY | changes), "cpu")
        items = frames if name == "detection" else runs
        if name == "severity":
            items = list(task.items_of_dataset(Samples(Store(str(place / "made")))))
            items = [replace(one, grades=one.grades + n % 2) for n, one in enumerate(items)]
        learner.fit([], items, 0.5, seed=0)
        out[name] = place / f"{name}.safetensors"
        learner.save(out[name])
    return out


@pytest.mark.timeout(300)
def test_models_of_all_tasks_plug_in(place, models, monkeypatch, tmp_path):
    monkeypatch.setattr("lesionforge.jobs.reading.parts.LEAST", 0.0)  # what has learnt nothing is sure of nothing
    run = place / "dicom" / "train" / "train-0000-00000000.dcm"
    given = [w for n in ("frames", "view", "severity") for w in (f"--{n}", models[n])]
    body = said(read(run, *given, "--detector", models["detection"], "--out", tmp_path / "out", "--json"))
    (one,) = body["runs"]
    assert (one["contrast"]["by"], one["view"]["side_by"]) == ("frames model", "side model")
    assert (one["stenoses"]["by"], one["grade"]["by"]) == ("detector", "severity model")
    assert one["view"]["side"] in ("left", "right")
    assert 0.5 <= one["view"]["side_probability"] <= 1
    assert all(0 <= v <= cine.SIDE for box in one["stenoses"]["boxes"] for v in box["box"])
    assert sum(one["grade"]["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert body["arteries"][one["view"]["artery"]]["class"] == body["patient"]["class"] == one["grade"]["class"]
    assert json.loads((tmp_path / "out" / "reading.json").read_text()) == body
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"reading.json", "run1.png", "run1.webp"}
    twice = read(run, "--view", models["view"], "--view", models["view"])
    assert "both models learnt the side" in str(twice.exception)
    other = read(run, "--frames", models["view"])
    assert "is no file that lesionforge train frames wrote" in str(other.exception)


def test_generated_runs_come_back_as_they_were_made(place):
    """The round trip: shard, XA DICOM, reading; truth from the json beside the file."""
    for path in sorted((place / "dicom" / "train").glob("*.dcm"))[:3]:
        truth = json.loads(path.with_suffix(".json").read_text())
        (one,) = said(read(path, "--json", "--side", truth["side"]))["runs"]
        assert one["angles_deg"] == {
            "primary": truth["view"]["primary_deg"],
            "secondary": truth["view"]["secondary_deg"],
        }
        assert one["fps"] == truth["fps"]
        assert one["pixel_mm"] == pytest.approx(0.15, abs=1e-4)
        assert one["view"]["side_by"] == "told"
        assert abs(one["contrast"]["begin"] - 1 - truth["begin"]) <= 1
        assert abs(one["contrast"]["end"] - 1 - truth["end"]) <= 1


def test_real_runs_are_read(data_dir, tmp_path):
    """Begin and end beside our own reading of the film; the phantom's contrast never changes."""
    patient = [wrapped(data_dir, name, tmp_path / f"{name}.dcm") for name in ("p1c1", "p1c2")]
    body = said(read(*patient, "--out", tmp_path / "out", "--side", "right", "--json"))
    for one, begin, end in zip(body["runs"], (8, 9), (16, 21), strict=True):
        assert abs(one["contrast"]["begin"] - begin) <= 3
        assert abs(one["contrast"]["end"] - end) <= 3
    assert [one["view"]["view"] for one in body["runs"]] == ["LAO 32 CRA 3", "RAO 32 CRA 2"]
    assert body["arteries"]["RCA"]["runs"] == [1, 2]
    with Image.open(tmp_path / "out" / "run2.webp") as film:
        assert film.n_frames == 21
    assert np.asarray(Image.open(tmp_path / "out" / "run1.png")).ndim == 3
    (phantom,) = said(read(data_dir / "xa_dicom" / "IM5.dcm", "--json"))["runs"]
    assert (phantom["contrast"]["begin"], phantom["contrast"]["end"]) == (None, None)
    assert "hardly changes" in phantom["contrast"]["why"]
    (folder,) = said(read(data_dir / "clinical_biplane" / "sample2" / "proj0", "--json"))["runs"]
    assert abs(folder["contrast"]["begin"] - 18) <= 3  # by eye 18 to the end
    assert folder["contrast"]["end"] >= 35
    assert folder["unknown"].keys() == {"fps", "angles", "pixel_mm"}


def test_mistakes_are_named(place, tmp_path):
    run = place / "dicom" / "train" / "train-0000-00000000.dcm"
    assert "give left or right" in read(run, "--side", "middle").output
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    done = read(run, "--out", tmp_path / "there")
    assert isinstance(done.exception, UsageError)
    assert "not an empty folder" in str(done.exception)
    assert "PatientIDs" in str(read(run, run.with_name("train-0000-00000003.dcm")).exception)
