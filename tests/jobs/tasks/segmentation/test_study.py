"""A whole study in small: arms, resuming, refusals."""

import json
import pickle
from dataclasses import replace

import pytest

pytest.importorskip("torch")

from lesionforge.jobs.tasks.segmentation.study import Place, Run, Study, conduct, parse, runs

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.runs import StudyError, finished
from lesionforge.jobs.tasks.segmentation import settings
from tests.jobs.tasks.segmentation import worlds
from tests.jobs.tasks.segmentation.worlds import TINY


def small(balls, **changes):
    made = {"made": Place(balls["made"]), "placebo": Place(balls["healthy"])}
    return replace(Study(Place(balls["real"]), Place(balls["real"], "test"), made, changes=TINY), **changes)


def test_arms_by_name():
    assert parse("real", ["a"]) == (None, 0)
    assert parse("a", ["a"]) == ("a", 1)
    assert parse("ax4", ["a"]) == ("a", 4)
    assert parse("maxx0.5", ["max"]) == ("max", 0.5)
    for arm in ("b", "ax", "ax0", "realx2"):
        with pytest.raises(UsageError, match="real, NAME or NAMExN"):
            parse(arm, ["a"])


def test_runs_come_seed_by_seed_and_names_that_could_be_arms_are_refused(balls):
    study = small(balls)
    todo = runs(study, ["unet", "dynunet"], ["real", "made"], 2)
    assert [run.name for run in todo[:3]] == ["unet-real-s00", "unet-made-s00", "dynunet-real-s00"]
    assert len(todo) == 8
    for name in ("real", "madex2", "../made"):
        with pytest.raises(UsageError, match="plain word"):
            runs(replace(study, synthetic={name: Place(balls["made"])}), ["unet"], ["real"], 1)
    with pytest.raises(UsageError, match="vnet"):
        runs(study, ["vnet"], ["real"], 1)


def test_a_study_goes_on_where_it_was_cut_off(balls, tmp_path):
    study, told = pickle.loads(pickle.dumps(small(balls))), []  # as it comes to another process
    todo = runs(study, ["unet"], ["real", "made", "placebox2"], 1)
    assert conduct(study, todo[:1], tmp_path, 1, told.append) == 1
    first = (tmp_path / "runs" / "unet-real-s00.json").read_bytes()
    assert conduct(study, todo, tmp_path, 1, told.append) == 2
    assert conduct(study, todo, tmp_path, 1, told.append) == 0
    assert (tmp_path / "runs" / "unet-real-s00.json").read_bytes() == first
    assert len(finished(todo, tmp_path)) == len(told) == 3
    by = {run.arm: json.loads((tmp_path / "runs" / f"{run.name}.json").read_text()) for run in todo}
    assert {arm: (r["real"], r["synthetic"]) for arm, r in by.items()} == {
        "real": (6, 0),
        "made": (6, 4),
        "placebox2": (6, 4),
    }
    for result in by.values():
        assert (result["domain"], result["classes"]) == ("ccta", ["calcified", "non_calcified"])
        assert len(result["subjects"]) == 3
        assert result["subjects"][0]["scores"].keys() == {"calcified", "non_calcified"}
        assert result["parameters"] == by["real"]["parameters"] > 1000
    assert by["real"]["subjects"] != by["made"]["subjects"]
    assert len({result["dataset"] for result in by.values()}) == 3
    assert balls["real"] not in "".join(p.read_text() for p in tmp_path.rglob("*.json"))  # no place is written
    with pytest.raises(StudyError, match="another domain"):
        conduct(replace(study, domain="abdomen"), todo, tmp_path, 1)
    with pytest.raises(StudyError, match="unet-made-s00 on another dataset made"):
        conduct(replace(study, synthetic=study.synthetic | {"made": Place(balls["healthy"])}), todo, tmp_path, 1)


def test_a_run_again_finds_the_same(balls, tmp_path):
    study, run, told = small(balls), Run(0, "unet", "made"), []
    for folder in ("a", "b"):
        conduct(study, [run], tmp_path / folder, 1, told.append)
    assert told[0]["subjects"] == told[1]["subjects"]
    assert told[0]["loss"] == told[1]["loss"]


def test_a_size_draws_scans_by_seed(balls, tmp_path):
    told = []
    conduct(small(balls, size=2), [Run(0, "unet", "real")], tmp_path, 1, told.append)
    assert told[0]["real"] == 2
    with pytest.raises(UsageError, match="--size 7: there are 6 real scans"):
        conduct(small(balls, size=7), [Run(0, "unet", "real")], tmp_path / "more", 1)


def test_no_test_subject_is_learnt_from(balls, tmp_path):
    one = [Run(0, "unet", "real")]
    with pytest.raises(StudyError, match="6 test subjects are also learnt from"):
        conduct(small(balls, test=Place(balls["real"])), one, tmp_path / "real", 1)
    # The same volumes under another recipe: other hashes of subjects, the same of volumes.
    every = {"train": 1.0, "val": 0, "test": 0}
    again = worlds.make_dataset(tmp_path, "again", split=every, radius=3.0)
    study = small(balls, synthetic={"again": Place(again)})
    with pytest.raises(StudyError, match="3 test subjects"):
        conduct(study, [Run(0, "unet", "again")], tmp_path / "made", 1)
    assert conduct(study, one, tmp_path / "made", 1) == 1


def test_data_without_lesions_are_refused(balls, tmp_path):
    with pytest.raises(UsageError, match="--real shows no calcified"):
        conduct(small(balls, real=Place(balls["healthy"])), [Run(0, "unet", "real")], tmp_path, 1)


def test_a_preset_that_has_changed_is_another_study(balls, tmp_path, monkeypatch):
    """Runs of one name must be of one network, also where lesionforge was upgraded in between."""
    study = small(balls)
    conduct(study, [], tmp_path, 1)
    (tmp_path / "runs" / "unet-real-s00.json").write_text("{}")
    conduct(study, [], tmp_path, 1)
    preset = settings.PRESETS["unet", study.preset]
    monkeypatch.setattr(settings, "PRESETS", {**settings.PRESETS, ("unet", study.preset): replace(preset, decay=0.5)})
    with pytest.raises(StudyError, match="holds a study with another settings"):
        conduct(study, [], tmp_path, 1)
