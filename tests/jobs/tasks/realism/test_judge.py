"""The judge tells what differs, cannot tell what does not, and never sees a frame twice."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score

from lesionforge.jobs.tasks.realism.crops import EDGE, Crops
from lesionforge.jobs.tasks.realism.judge import auc, judge

pytest.importorskip("torch")


def noise(rng, n, sigma):
    x = gaussian_filter(rng.normal(size=(n, EDGE, EDGE)), (0, sigma, sigma))
    return np.clip(128 + 30 * x / x.std(), 0, 255).astype(np.uint8)


def crops(sigma_generated):
    rng = np.random.default_rng(3)
    frames = np.repeat(np.arange(20), 4)
    sigmas = {"generated": sigma_generated, "before": 1.0, "lesion": 1.0, "healthy": 1.0}
    grades = {"generated": np.tile([40.0, 80.0], 40)}
    return {
        kind: Crops(noise(rng, 80, sigma), frames, grades.get(kind, np.full(80, np.nan)))
        for kind, sigma in sigmas.items()
    }


def test_auc_is_the_usual_one():
    rng = np.random.default_rng(0)
    high, low = rng.integers(0, 9, 50).astype(float), rng.integers(0, 7, 70).astype(float)
    truth = np.r_[np.ones(50), np.zeros(70)]
    assert auc(high, low) == pytest.approx(roc_auc_score(truth, np.r_[high, low]))


def test_a_difference_is_found_and_sameness_is_not():
    rows = {row["told"]: row for row in judge(crops(2.0), steps=25, views=["as they are"]).rows}
    assert rows.keys() == {"generated", "mild", "severe", "before", "lesion"}
    assert all(rows[told]["auc"] > 0.9 for told in ("generated", "mild", "severe"))
    assert 0.35 < rows["before"]["auc"] < 0.65
    assert 0.35 < rows["lesion"]["auc"] < 0.65
    assert rows["lesion"]["auc"] == rows["lesion"]["auc_healthy"]
    assert rows["lesion"]["auc_lesion"] is None


def test_a_judge_cut_off_goes_on_to_the_same_network(tmp_path, monkeypatch):
    from lesionforge.jobs.learning import checkpoint
    from lesionforge.jobs.tasks.realism import network

    rng = np.random.default_rng(1)
    pixels = {kind: rng.normal(size=(20, EDGE, EDGE)).astype(np.float32) for kind in ("generated", "lesion", "healthy")}
    whole = network.fit(pixels, "generated", 5, 6, None).state_dict()
    real, saves = checkpoint.save, []

    def cut(*given):
        real(*given)
        saves.append(given)
        if len(saves) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        network.fit(pixels, "generated", 5, 6, tmp_path)
    parts = network.fit(pixels, "generated", 5, 6, tmp_path).state_dict()
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)
