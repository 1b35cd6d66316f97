"""The task in a study: its arms, its runs, the paper's tables."""

import json

import numpy as np
import pytest

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.places import DataPlace
from lesionforge.jobs.studies.report import gains, report
from lesionforge.jobs.studies.runs import Study, runs
from lesionforge.jobs.studies.summary import summarise
from lesionforge.jobs.studies.workers import Room, conduct
from lesionforge.jobs.tasks.detection.metrics import Scores
from lesionforge.jobs.tasks.detection.task import Detection
from tests.jobs.tasks.detection.worlds import HERE, TEST, TRAIN, found, frame

SOURCE = f"{HERE}.ToySource:here"
NAMES = [*Scores([frame([[0, 0, 9, 9]], [0])], [found()]).values()]


def test_arms_have_an_order_and_need_their_dataset():
    task = Detection()
    arms = ["x4-natural", "x4", "b-x2", "real", "x1", "x4-placebo", "b-x1"]
    assert task.order(arms) == ["real", "x1", "x4", "x4-natural", "x4-placebo", "b-x1", "b-x2"]
    assert [task.data_of_arm(arm, ["", "b-"]) for arm in ("real", "x4", "b-x2")] == [None, "", "b-"]
    with pytest.raises(UsageError, match="needs a dataset of synthetic samples: give --synthetic DATA"):
        task.data_of_arm("x4", [])
    assert task.arms([]) == []


def test_a_study_trains_every_arm_on_its_frames(toy, tmp_path):
    pytest.importorskip("torch")
    changes = {"steps": 2, "batch": 2, "real_share": 0.25}
    places = [DataPlace(SOURCE, options=options) for options in (TRAIN, TEST)]
    study = Study("detection", *places, {"": DataPlace(toy)}, changes)
    todo = runs(study, sizes=[4], arms=["real", "x2", "x2-placebo", "x1-synthetic"], seeds=1)
    results = []
    conduct(study, todo, tmp_path, Room(in_process=True), results.append)
    by = {result["run"]["arm"]: result for result in results}
    assert {name: (r["real"], r["synthetic"]) for name, r in by.items()} == {
        "real": (4, 0),
        "x2": (4, 8),
        "x2-placebo": (4, 8),
        "x1-synthetic": (0, 4),
    }
    assert by["x2"]["notes"] == by["x2-placebo"]["notes"]
    assert by["x2"]["notes"]["boxes"]["drawn"] == 8
    assert by["x2"]["scores"] != by["x2-placebo"]["scores"]
    assert sum(row["lesions"] for row in by["real"]["rows"]) == 6
    body = report(tmp_path, "detection").body
    assert body["runs"] == 4
    assert "x2-placebo" in (tmp_path / "report.md").read_text()


def result(arm, seed, score, size=50):
    return {
        "run": {"model": "centre", "seed": seed, "size": size, "arm": arm},
        "scores": dict.fromkeys(NAMES, score),
        "held": dict.fromkeys(NAMES, 200),
        "draws": dict.fromkeys(NAMES, np.random.default_rng(0).normal(score, 0.01, 50).tolist()),
        "test": {"digest": "d"},
    }


def test_tables_have_the_paper_s_shape_and_numbers():
    arms = ["real", "x1", "x2", "x4", "x4-natural", "x4-placebo", "x4-synthetic"]
    rows = [
        result(arm, seed, 0.1 + k / 100, size) for k, arm in enumerate(arms) for seed in (0, 1) for size in (50, 200)
    ]
    task = Detection()
    summary = summarise(rows, task)
    two, balance, sizes = task.tables(summary)
    assert [row[:2] for row in two.rows[:4]] == [["50", "× 0"], ["50", "× 1"], ["50", "× 2"], ["50", "× 4"]]
    assert two.rows[0][-4:] == [".500", ".464", ".436", ".492"]
    assert two.rows[3][-4:] == [".513", ".492", ".438", ".546"]
    assert two.rows[3][2] == ".130±.000"
    assert [row[1] for row in balance.rows] == ["balanced", "imbalanced"] * 2
    assert [row[-1] for row in balance.rows[:2]] == [".717", ".707"]
    assert [row[0] for row in sizes.rows] == ["50", "200"]
    assert sizes.rows[0][-1] == "+.030±.000"
    first, _ = gains(summary, task)
    assert [row[0] for row in first.rows[:: len(task.shown)]] == [f"+ {arm}" for arm in arms[1:]]
    assert first.rows[0][:5] == ["+ x1", "AP50", ".100±.000", ".110±.000", "+.010±.000"]
    assert first.rows[0][-3:-1] == ["200", "2"]
    assert two.markdown().count("\n| ") == 2 + len(two.rows)
    json.dumps(summary.body(), allow_nan=False)
