"""A folder belongs to one study from its first finished run on; what is there is not run again."""

import json
from dataclasses import replace

import pytest

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.places import DataPlace
from lesionforge.jobs.studies.report import report
from lesionforge.jobs.studies.runs import Run, Study, runs
from lesionforge.jobs.studies.workers import Room, conduct
from tests.jobs.studies.toy_task import TOY, Threshold, Toy
from tests.jobs.tasks.detection.worlds import HERE, TEST, TRAIN, make_dataset

SOURCE = f"{HERE}.ToySource:here"
HERE_ALONE = Room(in_process=True)


def small(toy, **changes):
    study = Study(TOY, DataPlace(SOURCE, options=TRAIN), DataPlace(SOURCE, options=TEST), {"made": DataPlace(toy)})
    return replace(study, **changes)


def test_runs_come_seed_by_seed_and_are_checked_before_anything_is_read(toy):
    todo = runs(small(toy), sizes=[4, None], seeds=2)
    names = ["threshold-n0004-real-s00", "threshold-n0004-made-s00", "threshold-all-real-s00", "threshold-all-made-s00"]
    assert [run.name for run in todo[:4]] == names
    assert len(todo) == 8
    for wrong in ({"arms": ["blue"]}, {"models": ["wizard"]}):
        with pytest.raises(UsageError, match=r"blue|wizard"):
            runs(small(toy), **wrong)
    with pytest.raises(UsageError, match="--set stepz: no such setting; there are margin, steps"):
        runs(small(toy, changes={"stepz": 1}))


def test_a_study_goes_on_where_it_was_cut_off_and_ends_in_a_report(toy, tmp_path):
    told, todo = [], runs(small(toy), seeds=2)
    assert conduct(small(toy), todo[:1], tmp_path, HERE_ALONE, told.append) == 1
    first = (tmp_path / "runs" / f"{todo[0].name}.json").read_bytes()
    assert conduct(small(toy), todo, tmp_path, HERE_ALONE, told.append) == 3
    assert conduct(small(toy), todo, tmp_path, HERE_ALONE, told.append) == 0
    assert (tmp_path / "runs" / f"{todo[0].name}.json").read_bytes() == first
    assert [r["synthetic"] for r in told] == [0, 48, 0, 48]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "study.json"]  # nothing else is left
    body = report(tmp_path, "tests.jobs.studies.toy_task:Toy").body
    assert body["runs"] == 4
    assert body["test"]["items"] == 8
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(body, allow_nan=False))
    assert (tmp_path / "report.png").stat().st_size > 10_000
    assert "| gain | 95 % | p | n | seeds |" in (tmp_path / "report.md").read_text()
    with pytest.raises(UsageError, match=r"holds a study of tests.*report tests"):
        report(tmp_path, "detection")


def test_a_folder_holds_one_study(toy, tmp_path):
    first, todo = small(toy), runs(small(toy), seeds=1)
    conduct(small(toy, changes={"margin": 9}), [], tmp_path, HERE_ALONE)  # it may be claimed anew until a run is done
    conduct(first, todo, tmp_path, HERE_ALONE)
    with pytest.raises(UsageError, match="a study with other options"):
        conduct(small(toy, changes={"margin": 9}), todo, tmp_path, HERE_ALONE)
    with pytest.raises(UsageError, match=r"run threshold-all-.* with other steps"):
        conduct(small(toy, changes={"steps": 9}), todo, tmp_path, HERE_ALONE)
    with pytest.raises(UsageError, match="a study with other test"):
        conduct(small(toy, test=DataPlace(SOURCE, options={"cases": 3, "first": 50})), todo, tmp_path, HERE_ALONE)
    other = make_dataset(tmp_path, keep_source=False)
    with pytest.raises(UsageError, match=r"run threshold-all-made-s00 on another dataset 'made'"):
        conduct(small(toy, synthetic={"made": DataPlace(other)}), todo, tmp_path, HERE_ALONE)
    more = small(toy, synthetic={"made": DataPlace(toy), "other": DataPlace(other)})
    assert conduct(more, runs(more, seeds=1), tmp_path, HERE_ALONE) == 1  # a dataset may be added
    assert "here" not in (tmp_path / "study.json").read_text()  # places may name a patient


@pytest.mark.parametrize("left", ["", '{"run": {"seed"', "[]", '{"run": {}}', "no draws", "another's"])
def test_a_damaged_run_is_named_and_made_again(toy, tmp_path, left):
    study = small(toy, synthetic={})
    todo = runs(study, seeds=2)
    conduct(study, todo, tmp_path, HERE_ALONE)
    file, other = (tmp_path / "runs" / f"{run.name}.json" for run in todo)
    whole = json.loads(file.read_text())
    damaged = {"no draws": json.dumps(whole | {"draws": {}}), "another's": other.read_text()}
    file.write_text(damaged.get(left, left))
    with pytest.raises(UsageError, match=f"^{file} is damaged: run the same lesionforge study again, which makes"):
        report(tmp_path, TOY)
    kept = other.stat().st_mtime_ns
    assert conduct(study, todo, tmp_path, HERE_ALONE) == 1
    assert json.loads(file.read_text())["scores"] == whole["scores"]
    assert other.stat().st_mtime_ns == kept
    assert report(tmp_path, TOY).body["runs"] == 2


@pytest.mark.parametrize("left", [None, "", '{"task": 1}'])
def test_a_damaged_study_is_named(toy, tmp_path, left):
    study = small(toy, synthetic={})
    conduct(study, runs(study, seeds=1), tmp_path, HERE_ALONE)
    file = tmp_path / "study.json"
    file.unlink() if left is None else file.write_text(left)
    with pytest.raises(
        UsageError, match=f"^{file} is damaged or not there: remove it and run the same lesionforge study again"
    ):
        report(tmp_path, TOY)
    file.unlink(missing_ok=True)
    assert conduct(study, runs(study, seeds=1), tmp_path, HERE_ALONE) == 0
    assert report(tmp_path, TOY).body["runs"] == 1


def test_training_and_test_subjects_must_differ(toy, tmp_path):
    shared = small(toy, test=DataPlace(SOURCE, options=TRAIN))
    out, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    for place in (out, other):
        with pytest.raises(UsageError, match="12 test subjects are also learnt from"):
            conduct(shared, [Run(0, "threshold", None, "real")], place, HERE_ALONE)
    assert not out.exists()  # what is refused leaves nothing behind
    assert not any(other.iterdir())


def test_a_test_that_the_task_refuses_costs_no_training(toy, tmp_path, monkeypatch):
    def refuse(self, test, train):
        raise UsageError(f"{len(test)} of another kind than {len(train)}")

    monkeypatch.setattr(Toy, "check_test", refuse)
    monkeypatch.setattr(Threshold, "fit", lambda *_, **__: pytest.fail("it is learnt from"))
    with pytest.raises(UsageError, match="8 of another kind than 60"):
        conduct(small(toy), [Run(0, "threshold", None, "made")], tmp_path, HERE_ALONE)
    assert not any(tmp_path.iterdir())


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(UsageError, match="no finished run: run lesionforge study detection"):
        report(tmp_path, "detection")
