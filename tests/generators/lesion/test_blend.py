import math

import numpy as np
import pytest

from lesionforge.generators.lesion import blend


def ball(radius, n):
    x, y, z = np.ogrid[-n : n + 1, -n : n + 1, -n : n + 1]
    return x * x + y * y + z * z <= radius**2


@pytest.mark.parametrize("a", [2.0, 3.0, 4.0])
def test_the_centre_of_a_blurred_ball_weighs_what_the_closed_form_says(a):
    radius = 20.0
    weight = blend.weights(ball(radius, 40), radius / a, (1.0, 1.0, 1.0))[40, 40, 40]
    exact = math.erf(a / math.sqrt(2)) - math.sqrt(2 / math.pi) * a * math.exp(-a * a / 2)
    assert weight == pytest.approx(exact, abs=0.01)


def test_beyond_four_sigmas_the_weight_is_exactly_zero():
    spacing = (1.0, 0.5, 2.0)
    mask = np.zeros((60, 80, 40), bool)
    mask[28:32, 36:44, 18:22] = True
    weight = blend.weights(mask, 2.0, spacing)
    far = blend.reach(2.0, spacing)
    inside = np.zeros_like(mask)
    inside[28 - far[0] : 32 + far[0], 36 - far[1] : 44 + far[1], 18 - far[2] : 22 + far[2]] = True
    assert (weight[~inside] == 0).all()
    assert weight[30 - 2 - far[0], 40, 20] > 0
    assert (weight >= 0).all()
    assert (weight <= 1 + 1e-6).all()


def test_what_weighs_nothing_stays_bit_by_bit():
    rng = np.random.default_rng(0)
    hu = rng.integers(-1200, 3200, (40, 40, 40)).astype(np.int16)  # some beyond what is written
    mask = np.zeros(hu.shape, bool)
    mask[18:22, 18:22, 18:22] = True
    weight = blend.weights(mask, 1.0, (1.0, 1.0, 1.0))
    out = blend.composite(hu, np.full(hu.shape, np.nan, np.float32), np.zeros_like(weight))
    assert out.dtype == np.int16
    assert (out == hu).all()  # empty mask: the same, whatever the tissue
    out = blend.composite(hu, np.full(hu.shape, 50, np.float32), weight)
    assert (out[weight == 0] == hu[weight == 0]).all()
    assert abs(int(out[20, 20, 20]) - 50) <= abs(int(hu[20, 20, 20]) - 50) * (1 - weight[20, 20, 20]) + 1


def test_no_sigma_is_a_sharp_paste():
    mask = ball(5, 10)
    weight = blend.weights(mask, 0.0, (1.0, 1.0, 1.0))
    hu = np.full(mask.shape, 100, np.int16)
    assert (blend.composite(hu, np.full(mask.shape, -7, np.float32), weight) == np.where(mask, -7, 100)).all()


def test_a_tumour_s_margin_ends_at_its_organ_and_its_blur_a_voxel_further():
    spacing, organ, mask = (1.0, 1.0, 2.0), np.zeros((20, 20, 20), bool), np.zeros((20, 20, 20), bool)
    organ[:12] = True
    mask[8:12, 8:12, 8:12] = True
    left = blend.beyond(mask, organ & ~mask, spacing)
    assert not left[:12].any()
    assert not left[12:14, 9, 9].any()  # within the longest edge of a voxel
    assert left[14:, 9, 9].all()
    assert left[12:, 2, 2].all()


@pytest.mark.parametrize("spacing", [0.1, 0.6, 0.7, 1.1])
def test_a_voxel_just_so_far_away_is_near(spacing):
    """Whatever the last bit of its distance is."""
    mask = np.zeros((21, 3, 3), bool)
    mask[10, 1, 1] = True
    for count in range(1, 10):
        decimal = round(count * spacing, 1)
        assert blend.near(mask, decimal, (spacing,) * 3)[:, 1, 1].sum() == 2 * count + 1
