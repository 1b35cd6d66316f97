"""Means, pairing and tests of a study against cases reckoned by hand, scipy and simulation."""

import json

import numpy as np
import pytest
from lesionforge.jobs.tasks.segmentation.summary import MEAN, gain, over_all, summarise
from scipy import stats

from lesionforge.jobs.studies.runs import StudyError
from lesionforge.jobs.tasks.segmentation import summary as summing

CLASSES = ["calcified", "non_calcified"]


def scores(dsc, lesions=1, found=1, false_positives=0, predicted=5):
    """One class of one volume; ``dsc`` None where it holds no lesion."""
    if dsc is None:
        told = dict.fromkeys(("nsd", "lesion_dsc")) | {"dsc": 0.0 if predicted else None, "lesions": 0, "found": 0}
    else:
        told = {"dsc": dsc, "nsd": dsc / 2, "lesion_dsc": dsc / 4, "lesions": lesions, "found": found}
    return told | {"false_positives": false_positives, "voxels": 9, "predicted": predicted}


def result(arm, seed, volumes, network="unet", classes=CLASSES, domain="ccta"):
    """A run file's content; ``volumes``: (subject, scores of each class)."""
    return {
        "run": {"network": network, "arm": arm, "seed": seed},
        "domain": domain,
        "classes": classes,
        "subjects": [
            {"subject": s, "sample": f"{n}", "spacing_mm": [1, 1, 1], "scores": dict(zip(classes, each, strict=True))}
            for n, (s, each) in enumerate(volumes)
        ],
        "fit_cpu_s": 60.0,
    }


def volumes(table):
    """One volume a subject; NaN: no lesion of the class and none predicted."""
    return [
        (f"p{n}", [scores(None, predicted=0) if np.isnan(v) else scores(float(v)) for v in row])
        for n, row in enumerate(table)
    ]


def test_means_and_gains_reckoned_by_hand():
    """Patient a has two volumes, b no non-calcified lesion: .8 and .4 are averaged first, b counts for one class."""

    def runs(arm, seed, plus):
        a1, a2 = [scores(0.8 + plus), scores(0.2)], [scores(0.4 + plus), scores(0.4)]
        b = [scores(0.2), scores(None, predicted=7, false_positives=3)]
        return result(arm, seed, [("a", a1), ("b", b), ("a", a2)])

    made = [runs("real", 0, 0.0), runs("real", 1, 0.1), runs("texture", 0, 0.1), runs("texture", 1, 0.1)]
    told = summarise(made)
    real = {column: told.cell("unet", "real", "dsc", column) for column in told.columns}
    assert real["calcified"].values == pytest.approx(((0.6 + 0.2) / 2, (0.7 + 0.2) / 2))
    assert real["non_calcified"].values == pytest.approx((0.3, 0.3))
    assert real[MEAN].values == pytest.approx((0.35, 0.375))
    assert real[MEAN].mean == pytest.approx(0.3625)
    assert real[MEAN].sd == pytest.approx(0.025 / 2**0.5)
    assert (real["calcified"].subjects, real["non_calcified"].subjects, real[MEAN].subjects) == (2, 1, 2)
    assert real[MEAN].gain is None
    texture = told.cell("unet", "texture", "dsc", "calcified").gain
    assert texture.value == pytest.approx(np.mean([0.1 / 2, 0.0]))
    assert texture.sd == pytest.approx(0.05 / 2**0.5)
    assert texture.p == pytest.approx(stats.ttest_rel([0.7, 0.2], [0.65, 0.2]).pvalue)
    assert (texture.subjects, texture.seeds) == (2, 2)
    assert told.cell("unet", "texture", "dsc", MEAN).gain.value == pytest.approx(0.0125)
    alone = told.cell("unet", "texture", "dsc", "non_calcified").gain
    assert (alone.subjects, alone.p, alone.low, alone.high) == (1, None, None, None)
    assert told.cell("unet", "real", "false_alarms", "non_calcified").mean == 1.0
    assert np.isnan(told.cell("unet", "real", "false_alarms", "calcified").mean)
    assert told.cell("unet", "real", "false_positives", "non_calcified").mean == 1.5  # a: none, b: 3
    assert told.cell("unet", "real", "nsd", "calcified").mean == pytest.approx(0.425 / 2)
    json.dumps(told.body(), allow_nan=False)


def test_found_is_averaged_by_volume_not_pooled():
    many, one = [scores(0.5, lesions=4, found=1)] * 2, [scores(0.5, lesions=1, found=1)] * 2
    told = summarise([result("real", 0, [("a", many), ("b", one)])])
    assert told.cell("unet", "real", "found", MEAN).mean == pytest.approx((1 / 4 + 1) / 2)


def test_p_is_scipy_s_paired_t_test():
    rng = np.random.default_rng(0)
    real, other = rng.uniform(0.2, 0.7, (12, 2)), rng.uniform(0.2, 0.8, (12, 2))
    told = summarise([result("real", 0, volumes(real)), result("x", 0, volumes(other))])
    for n, name in enumerate(CLASSES):
        assert told.cell("unet", "x", "dsc", name).gain.p == pytest.approx(
            stats.ttest_rel(other[:, n], real[:, n]).pvalue
        )
    mean = told.cell("unet", "x", "dsc", MEAN).gain
    assert mean.p == pytest.approx(stats.ttest_rel(other.mean(1), real.mean(1)).pvalue)
    assert mean.value == pytest.approx((other - real).mean())


def test_interval_is_scipy_s_bootstrap():
    difference = np.random.default_rng(1).normal(0.03, 0.1, (25, 2))
    ours = gain({0: difference}, {0: np.zeros((25, 2))})
    theirs = stats.bootstrap(
        (difference.mean(1),), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.002)


def holed(rng, subjects=40):
    """A table where one class is everywhere and the others in a half and in a tenth."""
    out = rng.normal(0, 0.1, (subjects, 3))
    out[rng.random(subjects) < 0.5, 1] = np.nan
    out[4:, 2] = np.nan
    return out


def test_the_mean_over_classes_is_the_mean_of_their_means():
    out = holed(np.random.default_rng(3))
    by_class = [out[np.isfinite(out[:, n]), n].mean() for n in range(3)]
    assert over_all(out)[0] == pytest.approx(np.mean(by_class))
    out[:, 2] = np.nan
    assert over_all(out)[0] == pytest.approx(np.mean(by_class[:2]))
    times = np.random.default_rng(4).integers(1, 4, (3, 40))
    copies = [over_all(np.repeat(out, row, axis=0))[0] for row in times]
    assert over_all(out, times) == pytest.approx(copies)


def test_a_null_result_is_called_significant_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(summing, "DRAWS", 200)
    rng = np.random.default_rng(5)
    found = [gain({0: holed(rng)}, {0: np.zeros((40, 3))}) for _ in range(500)]
    assert 0.02 < np.mean([g.p < 0.05 for g in found]) < 0.09
    assert 0.85 < np.mean([g.low < 0 < g.high for g in found]) < 0.99  # four subjects carry the third class


def test_with_twelve_subjects_p_is_right_and_the_interval_short_as_documented(monkeypatch):
    monkeypatch.setattr(summing, "DRAWS", 400)
    rng, none = np.random.default_rng(7), {0: np.zeros((12, 2))}
    found = [gain({0: rng.normal(0, 0.1, (12, 2))}, none) for _ in range(1000)]
    assert np.mean([g.p < 0.05 for g in found]) == pytest.approx(0.05, abs=0.025)
    assert np.mean([g.low < 0 < g.high for g in found]) == pytest.approx(0.91, abs=0.03)


def test_a_gain_without_spread_has_no_p():
    same = {0: np.full((5, 2), 0.4)}
    told = gain(same, {0: np.full((5, 2), 0.3)})
    assert (told.p, told.sd) == (None, None)
    assert told.value == told.low == told.high == pytest.approx(0.1)
    assert gain(same, {1: same[0]}) is None  # no seed in common
    assert gain({0: np.full((5, 2), np.nan)}, same) is None


def test_only_shared_seeds_are_paired():
    rng = np.random.default_rng(6)
    real, other = rng.uniform(0, 1, (3, 8, 2)), rng.uniform(0, 1, (2, 8, 2))
    runs = [result("real", s, volumes(real[s])) for s in range(3)]
    runs += [result("x", s + 1, volumes(other[s])) for s in range(2)]
    cell = summarise(runs).cell("unet", "x", "dsc", MEAN)
    assert (cell.seeds, cell.gain.seeds) == (2, 2)
    assert cell.gain.value == pytest.approx((other - real[1:]).mean())


def test_runs_on_other_volumes_are_refused():
    one, two = result("real", 0, volumes([[0.1, 0.2]])), result("x", 0, volumes([[0.1, 0.2], [0.3, 0.4]]))
    with pytest.raises(StudyError, match="run unet-x-s0 was scored on other volumes"):
        summarise([one, two])
