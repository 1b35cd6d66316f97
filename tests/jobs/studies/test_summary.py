"""The one statistic: against scipy where scipy knows the answer, by simulation where nobody does."""

import numpy as np
import pytest
from scipy import stats

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies import summary as summing
from lesionforge.jobs.studies.summary import caution, draws, estimate, plain, summarise
from lesionforge.jobs.studies.tables import Table
from lesionforge.jobs.tasks.detection.metrics import average_precision, match
from lesionforge.jobs.tasks.detection.task import Detection
from lesionforge.jobs.tasks.segmentation.task import Segmentation
from tests.jobs.studies.toy_task import Toy
from tests.jobs.tasks.detection.worlds import random_world


class Mean:
    """Mean over subjects, NaN where one does not hold it."""

    def __init__(self, values):
        self.table = np.array(values, float)
        self.held = {"mean": int(np.isfinite(self.table).sum())}

    def values(self, times=None):
        times, there = np.ones(len(self.table)) if times is None else times, np.isfinite(self.table)
        total = times[there].sum()
        return {"mean": float(times[there] @ self.table[there] / total) if total else float("nan")}


def of_means(*differences):
    """The gain of arms whose subjects differ by these, one table a seed."""
    made = [Mean(d) for d in differences]
    n = made[0].held["mean"]
    return estimate([m.values()["mean"] for m in made], [draws(m, len(m.table))["mean"] for m in made], n)


@pytest.mark.parametrize("n", [5, 12, 60])
def test_of_a_mean_over_subjects_it_is_scipy_s_paired_t_test(n, monkeypatch):
    monkeypatch.setattr(summing, "DRAWS", 20_000)  # without the draws' noise
    rng = np.random.default_rng(n)
    real, other = rng.uniform(0.2, 0.7, n), rng.uniform(0.25, 0.8, n)
    theirs = stats.ttest_rel(other, real)
    ours = of_means(other - real)
    assert ours.value == pytest.approx((other - real).mean())
    assert ours.p == pytest.approx(theirs.pvalue, rel=0.1, abs=1e-4)
    low, high = theirs.confidence_interval()
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.02 * (high - low))
    assert (ours.n, ours.seeds, ours.sd) == (n, 1, None)


def test_seeds_are_averaged_before_subjects_are_compared(monkeypatch):
    monkeypatch.setattr(summing, "DRAWS", 20_000)
    rng = np.random.default_rng(0)
    tables = rng.normal(0.02, 0.1, (3, 30))
    ours, theirs = of_means(*tables), stats.ttest_1samp(tables.mean(0), 0)
    assert ours.value == pytest.approx(tables.mean())
    assert ours.sd == pytest.approx(tables.mean(1).std(ddof=1))
    assert ours.p == pytest.approx(theirs.pvalue, rel=0.1)
    assert ours.seeds == 3


def test_average_precision_s_standard_error_is_scipy_s_bootstrap(monkeypatch):
    monkeypatch.setattr(summing, "DRAWS", 1000)
    """Of a measure that no subject has of its own, with two frames a subject."""
    frames, detections = random_world(np.random.default_rng(3), frames=60)
    whole = match(frames, detections, 0.5)
    subjects = np.unique([frame.subject for frame in frames], return_inverse=True)[1]
    count = int(subjects.max()) + 1

    class Ap:
        def values(self, times=None):
            return {"ap": average_precision(whole, None if times is None else times[subjects])}

    def resampled(numbers):
        return average_precision(whole, np.bincount(numbers, minlength=count)[subjects].astype(float))

    theirs = stats.bootstrap(
        (np.arange(count),), resampled, n_resamples=400, vectorized=False, method="percentile",
        rng=np.random.default_rng(1),
    )  # fmt: skip
    ours = estimate([Ap().values()["ap"]], [draws(Ap(), count)["ap"]], count)
    error = theirs.standard_error * np.sqrt(count / (count - 1))
    assert ours.high - ours.low == pytest.approx(2 * stats.t.ppf(0.975, count - 1) * error, rel=0.12)
    assert ours.value - ours.low == pytest.approx(ours.high - ours.value)


def test_a_null_result_is_called_significant_as_often_as_it_says(monkeypatch):
    """Twelve subjects, two seeds; the percentile interval that stood here before held 91 of 100."""
    monkeypatch.setattr(summing, "DRAWS", 100)
    rng = np.random.default_rng(5)
    found = [of_means(*rng.normal(0, 0.1, (2, 12))) for _ in range(400)]
    assert np.mean([g.p < 0.05 for g in found]) == pytest.approx(0.05, abs=0.03)
    assert np.mean([g.low < 0 < g.high for g in found]) == pytest.approx(0.95, abs=0.03)


def test_where_nothing_varies_or_one_subject_holds_it_there_is_no_p():
    same = of_means(np.full(5, 0.1))
    assert same.p is None
    assert (same.low, same.value, same.high) == pytest.approx((0.1, 0.1, 0.1))
    alone = of_means([0.3, np.nan, np.nan])
    assert (alone.value, alone.n, alone.low, alone.p) == (pytest.approx(0.3), 1, None, None)


def result(arm, seed, values, size=None, digest="d"):
    """A run file's content of a measure ``right`` by subject."""
    m = Mean(values)
    return {
        "run": {"model": "threshold", "size": size, "arm": arm, "seed": seed},
        "scores": plain({"right": m.values()["mean"]}),
        "held": {"right": m.held["mean"]},
        "draws": plain({"right": draws(m, len(m.table))["mean"]}),
        "test": {"digest": digest},
    }


def test_arms_are_paired_by_seed_and_compared_with_real_alone(monkeypatch):
    monkeypatch.setattr(summing, "DRAWS", 1000)
    rng = np.random.default_rng(6)
    real, other = rng.uniform(0, 1, (3, 20)), rng.uniform(0, 1, (2, 20))
    runs = [result("real", seed, real[seed]) for seed in range(3)]
    runs += [result("made", seed + 1, other[seed]) for seed in range(2)]
    told = summarise(runs, Toy())
    base, cell = (told.cell("threshold", None, arm, "right") for arm in ("real", "made"))
    assert base.gain is None
    assert base.level.seeds == 3
    assert (cell.level.seeds, cell.gain.seeds, cell.gain.n) == (2, 2, 20)
    assert cell.gain.value == pytest.approx((other - real[1:]).mean())
    assert cell.gain.p == pytest.approx(stats.ttest_rel(other.mean(0), real[1:].mean(0)).pvalue, rel=0.5)
    assert told.arms == ("real", "made")
    assert told.cell("threshold", 5, "made", "right") is None
    assert len(told.body()) == 2


def test_an_interval_ends_where_its_measure_ends():
    """Newcomers: an average precision from -.04 on."""

    class Shares(Toy):
        def bounds(self, measure):
            return 0, 1

    runs = [result("real", 0, [0, 0, 0, 0.1]), result("made", 0, [1, 1, 1, 0.9])]
    for task, inside in ((Toy(), False), (Shares(), True)):
        told = summarise(runs, task)
        low, high = (told.cell("threshold", None, arm, "right").level for arm in ("real", "made"))
        assert (low.low == 0, high.high == 1) == (inside, inside)
        assert low.p == summarise(runs, Toy()).cell("threshold", None, "real", "right").level.p
    assert (Detection().bounds("ap50"), Detection().bounds("fp_negative")) == ((0, 1), (0, np.inf))
    assert Segmentation().bounds("false_positives/mean") == (0, np.inf)


def test_a_dash_is_explained_and_so_are_items_without_a_patient():
    assert "no run is there" in Table("t", ["a"], [["–"]]).markdown().splitlines()[-1]
    assert Table("t", ["a"], [["1"]]).markdown().splitlines()[-1] == "| 1 |"
    assert "frames of one run" in caution({"items": 9, "subjects": 9})
    assert caution({"items": 9, "subjects": 4}) == caution({"items": 1, "subjects": 1}) == ""


def test_runs_on_other_items_are_refused():
    with pytest.raises(UsageError, match="scored on other items"):
        summarise([result("real", 0, [1, 2]), result("made", 0, [1, 2], digest="e")], Toy())


def test_four_of_five_studies_see_the_gain_that_is_said_to_be_seen():
    """Subjects differ by .1, three seeds by .01; a true gain as large as ``seen`` is found with p < .05 by 80 %."""
    rng = np.random.default_rng(3)
    n, seeds, sizes = 20, 3, []
    found = []
    times = rng.multinomial(n, np.full(n, 1 / n), 300) / n
    for gain in (0.0, None):
        ps = []
        for _ in range(250):
            true = np.mean(sizes) if gain is None else gain
            values = true + rng.normal(0, 0.1, n)[None] + rng.normal(0, 0.01, seeds)[:, None]
            told = estimate(values.mean(1).tolist(), (values @ times.T).tolist(), n)
            ps.append(told.p < 0.05)
            if gain is not None:
                sizes.append(told.seen)
        found.append(np.mean(ps))
    assert found[0] < 0.1
    assert found[1] == pytest.approx(0.8, abs=0.08)
