"""Scores against scikit-learn and by hand; the hierarchy of images, arteries and patients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lesionforge.jobs.tasks.severity.localisation import counts, values
from lesionforge.jobs.tasks.severity.metrics import Graded
from lesionforge.jobs.tasks.severity.pooling import pooled, worst_of

skm = pytest.importorskip("sklearn.metrics")


def random_grades(classes, n=200, seed=0):
    rng = np.random.default_rng(seed)
    truths = rng.integers(0, classes, n)
    p = rng.dirichlet(np.ones(classes), n).round(2)  # some ties
    p[np.arange(n), truths] += 0.3
    return truths, p / p.sum(1, keepdims=True), rng.integers(0, 3, n).astype(float)


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_scikit_learn_s_for_any_weights(classes):
    truths, p, weights = random_grades(classes)
    named, ill = p.argmax(1), truths > 0
    got = Graded(truths, p).values(weights)
    w = {"sample_weight": weights}
    assert got["accuracy"] == pytest.approx(skm.accuracy_score(truths, named, **w))
    assert got["sensitivity"] == pytest.approx(skm.recall_score(ill, named > 0, **w))
    assert got["specificity"] == pytest.approx(skm.recall_score(~ill, named == 0, **w))
    assert got["f1"] == pytest.approx(skm.f1_score(truths, named, average="weighted", **w))
    assert got["kappa"] == pytest.approx(skm.cohen_kappa_score(truths, named, **w))
    assert got["auc"] == pytest.approx(skm.roc_auc_score(ill, p[:, 1:].sum(1), **w))
    assert got["base"] == pytest.approx(max(np.average(truths == k, weights=weights) for k in range(1, classes)))
    if classes == 3:
        share = p[ill, 2] / p[ill, 1:].sum(1)
        assert got["auc_worst"] == pytest.approx(skm.roc_auc_score(truths[ill] == 2, share, sample_weight=weights[ill]))


def test_always_diseased_scores_the_base_rate_and_a_sensitivity_of_1():
    """CORE320's patients: 184 of 230 are diseased, so that this alone has an accuracy of .80."""
    truths = np.repeat([0, 1], [46, 184])
    got = Graded(truths, np.tile([0.1, 0.9], (230, 1))).values(np.ones(230))
    assert got["accuracy"] == got["base"] == 0.8
    assert (got["sensitivity"], got["specificity"], got["kappa"], got["auc"]) == (1, 0, 0, 0.5)
    assert Graded(1 - truths, np.tile([0.1, 0.9], (230, 1))).values(np.ones(230))["base"] == 0.2
    one = Graded(truths[-2:], np.tile([0.1, 0.9], (2, 1))).values(np.ones(2))
    assert np.isnan(one["auc"])
    assert np.isnan(one["specificity"])


@given(arrays(float, (6, 3), elements=st.floats(0.01, 1)), st.permutations(range(6)))
def test_the_whole_is_at_least_as_ill_as_its_parts_in_any_order(p, order):
    p = p / p.sum(1, keepdims=True)
    truths, keys = np.array([0, 2, 1, 0, 0, 1]), ["a", "a", "b", "b", "b", "a"]
    names, worst, whole = pooled(keys, truths, p)
    assert (names, worst.tolist()) == (["a", "b"], [2, 1])
    assert np.allclose(whole.sum(1), 1)
    assert (whole > -1e-12).all()
    for name, row in zip(names, whole, strict=True):
        own = p[[n for n, key in enumerate(keys) if key == name]]
        assert (row[1:].sum() >= own[:, 1:].sum(1) - 1e-12).all()
        assert (row[2] >= own[:, 2] - 1e-12).all()
    patient = worst_of(p)
    assert np.allclose(patient, worst_of(whole), atol=1e-12)  # of arteries as of images
    assert np.allclose(patient, worst_of(p[list(order)]), atol=1e-12)


def test_boxes_by_hand():
    lesions = np.array([[0, 0, 20, 20], [100, 100, 140, 140]], np.float32)
    boxes = np.array([[0, 0, 20, 20], [2, 0, 22, 20], [108, 100, 148, 140], [300, 100, 340, 140]], np.float32)
    percents = np.array([60, 90], np.float32)
    got = values(counts(boxes, lesions, percents, 0.2))
    assert got["recall"] == 1
    assert got["precision"] == 0.5  # the second box on the first lesion is a false one
    assert (got["any"], got["most_severe"]) == (1, 1)
    assert got["distance_px"] == pytest.approx((0 + 2 + 8 + 200) / 4)
    strict = counts(boxes, lesions, percents, 0.9)
    assert values(strict)["recall"] == 0.5
    assert (values(strict)["any"], values(strict)["most_severe"]) == (1, 0)
    assert not counts(boxes, lesions[:0], percents[:0], 0.2).any()  # images without a lesion do not count
    none = values(counts(boxes[:0], lesions, np.array([np.nan, np.nan], np.float32), 0.2))
    assert none["recall"] == 0
    assert np.isnan([none["precision"], none["most_severe"], none["distance_px"]]).all()
