"""What scores of volumes say together: reckoned by hand."""

import numpy as np
import pytest

from lesionforge.jobs.studies.summary import draws, estimate
from lesionforge.jobs.studies.task import Scored
from lesionforge.jobs.tasks.segmentation.measures import VolumeMeasures

CLASSES = ["calcified", "non_calcified"]


def scores(dsc, lesions=1, found=1, false_positives=0, predicted=5):
    """One class of one volume; ``dsc`` None where it holds no lesion."""
    if dsc is None:
        told = dict.fromkeys(("nsd", "lesion_dsc")) | {"dsc": 0.0 if predicted else None, "lesions": 0, "found": 0}
    else:
        told = {"dsc": dsc, "nsd": dsc / 2, "lesion_dsc": dsc / 4, "lesions": lesions, "found": found}
    return told | {"false_positives": false_positives, "voxels": 9, "predicted": predicted}


def measures(volumes, classes=CLASSES):
    """``volumes``: (subject, scores of each class)."""
    return VolumeMeasures(
        [Scored(s, {"scores": dict(zip(classes, each, strict=True))}) for s, each in volumes], classes
    )


def test_means_reckoned_by_hand():
    """Patient a has two volumes, b no non-calcified lesion: .8 and .4 are averaged first, b counts for one class."""
    a1, a2 = [scores(0.8), scores(0.2)], [scores(0.4), scores(0.4)]
    got = measures([("a", a1), ("b", [scores(0.2), scores(None, predicted=7, false_positives=3)]), ("a", a2)])
    values, held = got.values(), got.held
    assert values["dsc/calcified"] == pytest.approx((0.6 + 0.2) / 2)
    assert values["dsc/non_calcified"] == pytest.approx(0.3)
    assert values["dsc/mean"] == pytest.approx(0.35)
    assert values["nsd/mean"] == pytest.approx(0.175)
    assert (held["dsc/calcified"], held["dsc/non_calcified"], held["dsc/mean"]) == (2, 1, 1)
    assert values["false_alarms/non_calcified"] == 1.0
    assert np.isnan(values["false_alarms/calcified"])
    assert held["false_alarms/mean"] == 1  # of the one class that some volume lacks
    assert values["false_positives/non_calcified"] == 1.5  # a: none, b: 3
    assert values.keys() == held.keys()


def test_found_is_averaged_by_volume_not_pooled():
    many, one = [scores(0.5, lesions=4, found=1)] * 2, [scores(0.5, lesions=1, found=1)] * 2
    assert measures([("a", many), ("b", one)]).values()["found/mean"] == pytest.approx((1 / 4 + 1) / 2)


def holed(rng, subjects=40):
    """A table where one class is everywhere and the others in a half and in a tenth."""
    out = rng.normal(0.5, 0.1, (subjects, 3))
    out[rng.random(subjects) < 0.5, 1] = np.nan
    out[4:, 2] = np.nan
    return out


def of_table(table):
    rows = [[scores(None, predicted=0) if np.isnan(v) else scores(float(v)) for v in row] for row in table]
    return measures([(f"p{n:02d}", row) for n, row in enumerate(rows)], ["a", "b", "c"])


def test_the_mean_over_classes_is_the_mean_of_their_means_however_often_subjects_count():
    table = holed(np.random.default_rng(3))
    by_class = [table[np.isfinite(table[:, n]), n].mean() for n in range(3)]
    assert of_table(table).values()["dsc/mean"] == pytest.approx(np.mean(by_class))
    times = np.random.default_rng(4).integers(1, 4, 40)
    copies = of_table(np.repeat(table, times, axis=0)).values()
    assert of_table(table).values(times.astype(float)) == pytest.approx(copies, nan_ok=True)


def test_a_null_result_of_a_rare_class_is_not_called_significant_too_often(monkeypatch):
    """Four subjects carry the third class, and so the mean: its n and degrees of freedom are theirs."""
    monkeypatch.setattr("lesionforge.jobs.studies.summary.DRAWS", 40)
    rng = np.random.default_rng(5)
    found = []
    for _ in range(60):
        holes = holed(rng)
        real, other = (of_table(np.where(np.isnan(holes), np.nan, rng.normal(0.5, 0.1, holes.shape))) for _ in range(2))
        by_draw = np.subtract(*(draws(m, 40)["dsc/mean"] for m in (other, real)))
        value = other.values()["dsc/mean"] - real.values()["dsc/mean"]
        found.append(estimate([value], [by_draw.tolist()], real.held["dsc/mean"]))
    assert all(g.n == 4 for g in found)
    assert np.mean([g.p < 0.05 for g in found]) < 0.1
