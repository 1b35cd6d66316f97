"""Scores of volumes against closed forms, marching cubes, brute force over components and MONAI."""

import json

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

pytest.importorskip("monai")

from skimage.measure import label, marching_cubes

from lesionforge.jobs.tasks.segmentation.metrics import dice, surface_dice, volume_scores


def cube(side, at, shape=(20, 20, 20)):
    out = np.zeros(shape, np.uint8)
    out[tuple(slice(a, a + side) for a in at)] = 1
    return out


def blobs(seed, shape=(26, 22, 18), level=1.2):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.7)
    return field > level * field.std()


def only(truth, predicted, spacing=(1, 1, 1), tolerance=2.0):
    return volume_scores(truth, predicted, ["x"], spacing, tolerance)["x"]


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (1, 7 / 8), (4, 0.5), (8, 0.0)])
def test_dice_of_shifted_cubes(shift, expected):
    """Side a, shifted by d: (a - d) / a, voxel-wise and for the one lesion alike, unless they only share a face."""
    told = only(cube(8, (4, 4, 4)), cube(8, (4 + shift, 4, 4)))
    assert told["dsc"] == told["lesion_dsc"] == pytest.approx(expected)
    assert (told["lesions"], told["found"], told["false_positives"]) == (1, int(shift < 8), int(shift == 8))
    assert told["voxels"] == told["predicted"] == 512


def test_dice_of_classes_is_monai_s():
    import torch
    from monai.metrics import DiceMetric

    rng = np.random.default_rng(0)
    truth, predicted = (rng.integers(0, 4, (3, 9, 8, 7)).astype(np.uint8) for _ in "ab")
    judge = DiceMetric(include_background=False, reduction="none", num_classes=4)
    theirs = judge(torch.from_numpy(predicted[:, None].astype(int)), torch.from_numpy(truth[:, None].astype(int)))
    for t, p, expected in zip(truth, predicted, theirs.numpy(), strict=True):
        ours = [scores["dsc"] for scores in volume_scores(t, p, "abc", (1, 1, 1)).values()]
        assert np.allclose(ours, expected, rtol=0, atol=1e-6)


def test_nothing_over_nothing_is_undefined_and_a_false_alarm_is_zero():
    none, some = cube(0, (0, 0, 0)), cube(3, (2, 2, 2))
    assert only(none, none) == {
        **dict.fromkeys(("dsc", "nsd", "lesion_dsc")),
        **dict.fromkeys(("lesions", "found", "false_positives", "voxels", "predicted"), 0),
    }
    alarm, missed = only(none, some), only(some, none)
    assert (alarm["dsc"], alarm["nsd"], alarm["lesion_dsc"], alarm["false_positives"]) == (0.0, 0.0, None, 1)
    assert (missed["dsc"], missed["nsd"], missed["lesion_dsc"], missed["found"]) == (0.0, 0.0, 0.0, 0)
    assert dice(none > 0, none > 0) is None


def elements(mask, spacing):
    """Surface elements by marching cubes: positions of 2 x 2 x 2 cells, and the area of the triangles in each."""
    points, faces, _, _ = marching_cubes(np.pad(mask, 2).astype(float), 0.5)
    corners = points[faces]
    cells = np.floor(corners.mean(1)).astype(int)
    a, b = (corners[:, n] * spacing - corners[:, 0] * spacing for n in (1, 2))
    area = np.linalg.norm(np.cross(a, b), axis=1) / 2
    where, index = np.unique(cells, axis=0, return_inverse=True)
    return where * spacing, np.bincount(index.ravel(), area)


def by_hand(truth, predicted, spacing, tolerance):
    (at, area), (other, other_area) = (elements(mask > 0, np.array(spacing, float)) for mask in (truth, predicted))
    apart = cdist(at, other)
    good = area[apart.min(1) <= tolerance].sum() + other_area[apart.min(0) <= tolerance].sum()
    return good / (area.sum() + other_area.sum())


SHIFTED = [((4, 4, 4), (7, 4, 4)), ((4, 4, 4), (4, 6, 5)), ((0, 0, 0), (3, 0, 0)), ((4, 4, 4), (8, 8, 8))]


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.7, 0.7, 2.5), (3.0, 0.5, 1.0)])
@pytest.mark.parametrize(("at", "other"), SHIFTED)
def test_surface_dice_of_cubes_is_that_of_marching_cubes(at, other, spacing):
    """Sizes and places known, areas and distances reckoned anew; one pair lies against the volume's border."""
    a, b = cube(8, at), cube(6, other)
    for tolerance in (0.0, 1.0, 2.0):
        assert surface_dice(a > 0, b > 0, spacing, tolerance) == pytest.approx(by_hand(a, b, spacing, tolerance), 1e-5)


def test_surface_dice_of_blobs_is_that_of_marching_cubes():
    """Up to the few cells where the two tables of triangles resolve an ambiguous case differently."""
    for seed in range(3):
        a, b = blobs(seed), blobs(seed) | blobs(seed + 50, level=2.0)
        ours = surface_dice(a, b, (0.8, 0.8, 1.5), 1.0)
        assert 0.4 < ours < 0.95
        assert ours == pytest.approx(by_hand(a, b, (0.8, 0.8, 1.5), 1.0), abs=0.01)


def test_surface_dice_forgives_the_tolerance_in_millimetres_not_in_voxels():
    a = cube(8, (4, 4, 4))
    along_x, along_z = cube(8, (5, 4, 4)), cube(8, (4, 4, 5))
    assert only(a, along_x, (1, 1, 3))["nsd"] == 1.0
    assert only(a, along_z, (1, 1, 3))["nsd"] < 0.9
    assert only(a, along_z, (1, 1, 3), tolerance=3.0)["nsd"] == 1.0
    inside = cube(4, (6, 6, 6))  # walls 2 mm apart everywhere, corners further
    assert only(a, inside, tolerance=1.9)["nsd"] == 0.0
    assert 0 < only(a, inside, tolerance=2.0)["nsd"] < 1
    assert only(a, inside, tolerance=2 * 3**0.5)["nsd"] == 1.0


def test_lesions_found_missed_and_made_up():
    """Two lesions of 27 and 8 voxels, one found by a part of 27 that shares 18, one missed, two parts made up."""
    truth = cube(3, (1, 1, 1)) + cube(2, (10, 10, 10))
    predicted = cube(3, (2, 1, 1)) + cube(2, (15, 15, 15)) + cube(1, (18, 1, 1))
    told = only(truth, predicted)
    assert told["lesion_dsc"] == pytest.approx((2 * 18 / 54 + 0) / 2)
    assert (told["lesions"], told["found"], told["false_positives"]) == (2, 1, 2)


def test_one_part_over_two_lesions_counts_whole_for_both():
    truth = cube(2, (2, 2, 2)) + cube(2, (6, 2, 2))
    predicted = np.zeros_like(truth)
    predicted[2:8, 2:4, 2:4] = 1
    told = only(truth, predicted)
    assert told["dsc"] == pytest.approx(2 * 16 / 40)
    assert told["lesion_dsc"] == pytest.approx(2 * 8 / 32)
    assert (told["found"], told["false_positives"]) == (2, 0)


def test_voxels_that_touch_by_a_corner_are_one_lesion():
    truth = cube(2, (2, 2, 2)) + cube(2, (4, 4, 4))
    assert only(truth, truth)["lesions"] == 1


def test_lesions_are_those_of_brute_force():
    for seed in range(4):
        truth, predicted = blobs(seed), blobs(seed + 10) | (blobs(seed) & blobs(seed + 20, level=-0.3))
        a, b = label(truth, connectivity=3), label(predicted, connectivity=3)
        each, found = [], 0
        for n in range(1, a.max() + 1):
            parts = np.isin(b, np.setdiff1d(b[a == n], [0]))
            found += parts.any()
            each.append(2 * (parts & (a == n)).sum() / ((a == n).sum() + parts.sum()))
        alone = sum(not (truth & (b == n)).any() for n in range(1, b.max() + 1))
        told = only(truth.astype(np.uint8), predicted.astype(np.uint8))
        assert min(len(each), found, alone) > 0
        assert told["lesion_dsc"] == pytest.approx(np.mean(each))
        assert (told["lesions"], told["found"], told["false_positives"]) == (len(each), found, alone)


def test_classes_are_scored_apart_and_the_scores_are_plain_data():
    truth, predicted = cube(4, (2, 2, 2)) + 2 * cube(4, (10, 2, 2)), cube(4, (2, 2, 2)) + 2 * cube(4, (2, 10, 2))
    told = volume_scores(truth, predicted, ["calcified", "non_calcified", "never"], (1.0, 1.0, 1.0))
    assert [told[name]["dsc"] for name in told] == [1.0, 0.0, None]
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_maps_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"shape \(20, 20, 20\), the prediction \(3, 3, 3\)"):
        only(cube(2, (1, 1, 1)), np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(ValueError, match="prediction hold value 3, but there are 2 classes"):
        volume_scores(cube(2, (1, 1, 1)), 3 * cube(2, (1, 1, 1)), ["a", "b"], (1, 1, 1))
