"""The task in a study: its arms, its runs, CORE320's tables."""

import json

import numpy as np
import pytest

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.places import DataPlace, read
from lesionforge.jobs.studies.report import report
from lesionforge.jobs.studies.runs import Study, runs, scores
from lesionforge.jobs.studies.task import find
from lesionforge.jobs.studies.workers import Room, conduct
from lesionforge.jobs.tasks.severity import paper
from lesionforge.jobs.tasks.severity.arms import training_set
from lesionforge.jobs.tasks.severity.images import Verdict, images
from lesionforge.jobs.tasks.severity.task import Severity
from tests.jobs.tasks.severity.worlds import HERE, make_dataset, run

SOURCE = f"{HERE}.ToySource:here"


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("toy"))


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr("lesionforge.jobs.studies.summary.DRAWS", 20)


class Sure:
    """Says what it is told to."""

    def __init__(self, p):
        self.p = p

    def predict(self, item):
        ill = self.p(item)
        n = len(item.full)
        return Verdict(
            np.tile([1 - ill, ill], (n, 1)), [box.copy() for box in item.boxes], [np.ones(len(b)) for b in item.boxes]
        )


def test_levels_count_frames_arteries_and_patients():
    task = Severity()
    items = [
        images(run(60.0, 0, "a"), task.choice),
        images(run(0.0, 1, "a", side="right"), task.choice),
        images(run(0.0, 2, "b"), task.choice),
        images(run(60.0, 3, "b", visible=False), task.choice),
    ]
    found = scores(task, Sure(lambda item: 0.9 if item.grades.any() else 0.1), items)
    got = found["scores"]
    assert got["image/accuracy"] == got["image-LCA/accuracy"] == got["image/auc"] == 1
    assert got["artery-LCA/accuracy"] == got["patient/accuracy"] == 0.5  # b's lesion is in no image
    assert got["artery-LCA/base"] == got["patient/base"] == 1
    assert got["artery-RCA/accuracy"] == 1
    assert got["cam20/recall"] == got["cam10-LCA/precision"] == got["cam20/most_severe"] == 1
    assert got["cam20/distance_px"] == 0
    assert got["cam20-RCA/recall"] is None
    assert found["held"]["patient/auc"] == 2
    assert found["held"]["artery-RCA/kappa"] == found["held"]["cam20/recall"] == 1


def test_arms_add_redundancy_or_synthetic_runs():
    task = Severity()
    items = [images(run(60.0 * (n % 2), n), task.choice) for n in range(6)]
    made = [images(run(60.0 * (n % 2), n), task.choice) for n in range(6, 9)]
    assert task.arms(["", "b"]) == ["redundancy", "x1", "x1-alone", "b", "b-alone"]
    known = ("real", "redundancy", "x1-alone", "b-alone-redundancy")
    assert [task.data_of_arm(arm, ["", "b"]) for arm in known] == [None, None, "", "b"]
    with pytest.raises(UsageError, match="arm 'c' is unknown; give real, redundancy, b, b-alone, or one with"):
        task.data_of_arm("c", ["b"])

    def drawn(arm, size=None, seed=0):
        got = task.training_set(arm, size, seed, items, made)
        return len(got.real), len(got.synthetic), sum(len(one.empty) > 0 for one in [*got.real, *got.synthetic])

    assert drawn("x1") == (6, 3, 0)
    assert drawn("x1-redundancy") == (6, 3, 9)
    assert drawn("x1-alone", 4) == (0, 3, 0)
    assert [one.subject for one in task.training_set("real", 4, 1, items, []).real] == [
        one.subject for one in task.training_set("x1", 4, 1, items, made).real
    ]
    with pytest.raises(UsageError, match="no run has one"):
        training_set("redundancy", None, 0, [one.without_redundancy() for one in items], [], 0.5)
    with pytest.raises(UsageError, match="7 subjects are asked for; there are 6"):
        drawn("real", 7)


def test_a_study_reads_runs_trains_and_reports(toy, tmp_path):
    pytest.importorskip("torch")
    changes = {"steps": 2, "batch": 4, "size": 64, "cut": 50}
    study = Study("severity", DataPlace(toy), DataPlace(toy, "test"), {}, changes)
    conduct(study, runs(study, seeds=1), tmp_path, Room(in_process=True))
    body = report(tmp_path, "severity").body
    assert body["runs"] == 2
    text = (tmp_path / "report.md").read_text()
    assert "Images (CORE320's Table 3), <50, ≥50 %DS" in text
    assert "Boxes from class activation" in text
    made = json.loads(next((tmp_path / "runs").glob("*redundancy*")).read_text())
    assert made["real"] == 12
    assert {row["artery"] for row in made["rows"]} == {"LCA", "RCA"}
    assert all(np.allclose(np.sum(row["probabilities"], 1), 1, atol=1e-4) for row in made["rows"])


def test_frames_of_a_source_are_read_and_ungraded_ones_refused(toy):
    items = read(Severity("50/70"), DataPlace(SOURCE)).items
    assert [one.grades.tolist() for one in items] == [[0], [1], [0], [1]]
    only = [one for one in read(Severity("60"), DataPlace(SOURCE)).items if not one.known]
    assert len(only) == 2  # moderate: 50 to 70
    with pytest.raises(UsageError, match="no image has a known class with the cut 60"):
        Severity("60").check(only, "--test")


def test_the_tables_have_the_paper_s_numbers():
    assert paper.IMAGES[(25.0,), "RCA", True] == (0.83, 0.90, 0.80, 0.63, 0.89)
    assert paper.base("patient", (25.0,)) == 0.8
    assert paper.base("image-LCA", (25.0, 100.0)) == pytest.approx(4522 / 7999)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"cut": "x"}, "cut is 'x'"),
        ({"preset": "big"}, "preset is"),
        ({"frames": 0}, "frames is 0"),
        ({"redundant": -1}, "redun"),
    ],
)
def test_options_that_will_not_do_are_refused(options, named):
    with pytest.raises(UsageError, match=named):
        Severity(**options)


def test_it_is_a_task():
    assert find("severity") is Severity
    assert Severity(preset="paper").settings("attention").network == "inception"
    assert Severity(preset="paper").choice.frames == 10
    with pytest.raises(UsageError, match="learner 'x' is unknown"):
        Severity().settings("x")
