"""A whole study in small: arms, resuming, tables."""

import json

import numpy as np
import pytest
from lesionforge.jobs.tasks.detection.report import report, tables
from lesionforge.jobs.tasks.detection.study import Place, Run, Study, StudyError, conduct, runs
from lesionforge.jobs.tasks.detection.summary import summarise

from lesionforge.jobs.tasks.detection import study as studying
from tests.jobs.tasks.detection.worlds import HERE, TEST, TRAIN

SOURCE = f"{HERE}.ToySource:here"


def small(toy, **changes):
    options = {"steps": 2, "batch": 2}
    return Study(Place(SOURCE, TRAIN), Place(SOURCE, TEST), toy, options=options, **changes)


def test_runs_come_seed_by_seed():
    todo = runs([50, 100], ["real", "x4"], 2)
    assert [run.name for run in todo[:3]] == ["n0050-real-s00", "n0050-x4-s00", "n0100-real-s00"]
    assert len(todo) == 8
    with pytest.raises(ValueError, match="y4"):
        runs([50], ["y4"], 1)


def test_a_study_goes_on_where_it_was_cut_off_and_ends_in_a_report(toy, tmp_path):
    pytest.importorskip("torch")
    todo = runs([4], ["real", "x2", "x2-placebo", "x1-synthetic"], 1)
    told = []
    assert conduct(small(toy), todo[:2], tmp_path, 1, told.append) == 2
    assert conduct(small(toy), todo, tmp_path, 2, told.append) == 2  # in processes of their own
    assert conduct(small(toy), todo, tmp_path, 1, told.append) == 0
    by = {r["run"]["arm"]: r for r in studying.results(tmp_path)}
    assert {name: (r["real"], r["synthetic"]) for name, r in by.items()} == {
        "real": (4, 0),
        "x2": (4, 8),
        "x2-placebo": (4, 8),
        "x1-synthetic": (0, 4),
    }
    assert by["x2"]["boxes"] == by["x2-placebo"]["boxes"]
    assert by["x2"]["boxes"]["drawn"] == 8
    assert by["x2"]["scores"] != by["x2-placebo"]["scores"]
    assert by["real"]["test"] == {"frames": 8, "lesions": 6}
    body = report(tmp_path)
    assert body["runs"] == 4
    json.dumps(body, allow_nan=False)
    assert (tmp_path / "report.png").stat().st_size > 10_000
    assert "x2-placebo" in (tmp_path / "report.md").read_text()
    with pytest.raises(StudyError, match="real_share"):
        conduct(small(toy, real_share=0.25), todo, tmp_path, 1)


def test_training_and_test_subjects_must_differ(toy, tmp_path):
    shared = Study(Place(SOURCE, TRAIN), Place(SOURCE, TRAIN), toy)
    with pytest.raises(StudyError, match="training pool"):
        conduct(shared, [Run(0, 4, "real")], tmp_path, 1)


def result(arm, seed, score, draws, size=50):
    names = [*_scores()]
    return {
        "run": {"seed": seed, "size": size, "arm": arm},
        "scores": dict.fromkeys(names, score),
        "draws": dict.fromkeys(names, draws),
        "test": {"frames": 200, "lesions": 376},
        "fit_cpu_s": 60.0,
        "dataset": "d" if arm != "real" else None,
    }


def _scores():
    from lesionforge.jobs.tasks.detection.metrics import Scores
    from tests.jobs.tasks.detection.worlds import found, frame

    return Scores([frame([[0, 0, 9, 9]], [0])], [found()]).values()


def test_means_spread_and_paired_gains():
    rng = np.random.default_rng(0)
    rows, gains = [], []
    for seed in range(6):
        base, gain = rng.normal(0.1, 0.02), rng.normal(0.07, 0.01)
        subjects = rng.normal(0, 0.02, 400)  # which test subjects: the same for both arms
        rows.append(result("real", seed, base, (base + subjects).tolist()))
        rows.append(result("x4", seed, base + gain, (base + gain + subjects).tolist()))
        gains.append(gain)
    cell = summarise(rows).cell(50, "x4", "ap50")
    real = summarise(rows).cell(50, "real", "ap50")
    assert cell.gain == pytest.approx(np.mean(gains))
    assert cell.gain_se == pytest.approx(np.std(gains, ddof=1) / np.sqrt(6))
    assert cell.gain_total_se == pytest.approx(cell.gain_se)  # the subjects' part cancels
    assert cell.gain_low < cell.gain < cell.gain_high
    assert cell.gain_high - cell.gain_low < cell.high - cell.low
    assert real.gain is None
    assert real.sd == pytest.approx(np.std([r["scores"]["ap50"] for r in rows[::2]], ddof=1))


def test_tables_have_the_paper_s_shape_and_numbers():
    arms = ["real", "x1", "x2", "x4", "x4-natural", "x4-placebo", "x4-synthetic"]
    rows = [
        result(arm, seed, 0.1 + k / 100, [0.1 + k / 100] * 10, size)
        for k, arm in enumerate(arms)
        for seed in (0, 1)
        for size in (50, 200)
    ]
    two, balance, sizes, *arms_of = tables(summarise(rows))
    assert [row[:2] for row in two.rows[:4]] == [["50", "× 0"], ["50", "× 1"], ["50", "× 2"], ["50", "× 4"]]
    assert two.rows[0][-4:] == [".500", ".464", ".436", ".492"]
    assert two.rows[3][-4:] == [".513", ".492", ".438", ".546"]
    assert two.rows[3][2] == ".130±.000"
    assert [row[1] for row in balance.rows] == ["balanced", "imbalanced"] * 2
    assert [row[-1] for row in balance.rows[:2]] == [".717", ".707"]
    assert [row[0] for row in sizes.rows] == ["50", "200"]
    assert sizes.rows[0][-1] == "+.030±.000"
    assert [row[0] for row in arms_of[0].rows] == ["real", *(n for arm in arms[1:] for n in (arm, "  − real"))]
    assert two.markdown().count("\n| ") == 2 + len(two.rows)


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(StudyError, match="no finished run"):
        report(tmp_path)
