"""The task in a study: its arms, its runs, its options."""

import pickle

import pytest

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.places import DataPlace
from lesionforge.jobs.studies.runs import Study, runs
from lesionforge.jobs.studies.workers import Room, conduct
from lesionforge.jobs.tasks.segmentation.task import Segmentation
from tests.jobs.tasks.segmentation.worlds import TINY


def test_arms_by_name():
    task = Segmentation()
    data = ["a", "maxx", "max", ""]
    assert [task.data_of_arm(arm, data) for arm in ("real", "a", "ax4", "maxx0.5", "x3")] == [None, "a", "a", "max", ""]
    assert task.arms(["a", ""]) == ["a", "x1"]
    for arm in ("b", "ax0", "realx2"):
        with pytest.raises(UsageError, match="real, NAME or NAMExN"):
            task.data_of_arm(arm, data)
    shares = [task.training_set(arm, None, 0, [1], [2]).real_share for arm in ("real", "a", "ax3", "ax0.5")]
    assert shares == pytest.approx([1, 1 / 2, 1 / 4, 2 / 3])
    assert task.order({"b", "texture", "real", "promptlesion-mask"}) == ["real", "texture", "promptlesion-mask", "b"]


def test_a_seed_draws_the_same_scans_for_every_arm():
    task, pool = Segmentation(), list(range(20))
    drawn = [task.training_set(arm, 5, seed, pool, [2]).real for seed in (0, 1) for arm in ("real", "a")]
    assert drawn[0] == drawn[1] != drawn[2] == drawn[3]
    with pytest.raises(UsageError, match="21 real scans are asked for; there are 20"):
        task.training_set("real", 21, 0, pool, [])


def test_options_and_settings_are_checked_before_anything_is_read():
    with pytest.raises(UsageError, match="domain 'chest' is unknown"):
        Segmentation(domain="chest")
    with pytest.raises(UsageError, match="preset 'huge'"):
        Segmentation(preset="huge").changed("unet", {})
    with pytest.raises(
        UsageError, match="--set stepz: no such setting; there are domain, preset, tolerance_mm, channels"
    ):
        Segmentation().changed("unet", {"stepz": 1})
    with pytest.raises(UsageError, match="patch is 17"):
        Segmentation().changed("unet", {"patch": 17})


def test_a_study_trains_every_arm_on_its_scans(balls, tmp_path):
    pytest.importorskip("torch")
    named = {"made": DataPlace(balls["made"]), "placebo": DataPlace(balls["healthy"])}
    study = Study("segmentation", DataPlace(balls["real"]), DataPlace(balls["real"], "test"), named, TINY)
    study, results = pickle.loads(pickle.dumps(study)), []  # as it comes to another process
    conduct(study, runs(study, ["unet"], arms=["real", "made", "placebox2"], seeds=1), tmp_path, Room(in_process=True),
            results.append)  # fmt: skip
    by = {result["run"]["arm"]: result for result in results}
    assert {arm: (r["real"], r["synthetic"]) for arm, r in by.items()} == {
        "real": (6, 0),
        "made": (6, 4),
        "placebox2": (6, 4),
    }
    for result in results:
        assert len(result["rows"]) == 3
        assert result["rows"][0]["scores"].keys() == {"calcified", "non_calcified"}
    assert by["real"]["rows"] != by["made"]["rows"]
    assert len({result["dataset"] for result in results}) == 3
