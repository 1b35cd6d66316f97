import numpy as np
import pytest

from lesionforge.generators.lesion.tumour import KNOTS, Ellipsoid

ROUND = Ellipsoid(np.ones(3), np.eye(3), np.zeros((3, KNOTS, KNOTS, KNOTS)))


def drawn(seed, bend=0.0, axes=(0.75, 1.25)):
    return Ellipsoid.draw(np.random.default_rng(seed), axes, bend)


@pytest.mark.parametrize("radius", [8.0, 11.3, 16.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_volume_is_that_of_the_ellipsoid(radius, seed):
    n = int(4.2 * radius)
    mask = drawn(seed).inside((n, n, n), (1.0, 1.0, 1.0), np.full(3, n / 2 + 0.3), radius)
    assert mask.sum() == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02)


def test_no_slice_is_lost_at_either_end():
    # DiffTumor's crop [first:last) drops the last slice on each axis.
    mask = ROUND.inside((21, 21, 21), (1.0, 1.0, 1.0), np.full(3, 10.0), 8.0)
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        assert (hit[0], hit[-1]) == (2, 18)
    assert (mask == mask[::-1, ::-1, ::-1]).all()


def test_voxels_are_seen_in_millimetres():
    mask = ROUND.inside((40, 20, 10), (0.5, 1.0, 2.0), np.array([10.0, 10.0, 10.0]), 8.0)
    assert mask.sum() == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.03)
    assert [m.sum() for m in (mask[:, 10, 5], mask[20, :, 5], mask[20, 10])] == [33, 17, 9]


def test_bending_changes_the_shape_and_keeps_the_size_about():
    n, radius = 60, 12.0
    straight = drawn(3).inside((n, n, n), (1.0, 1.0, 1.0), np.full(3, n / 2), radius)
    bent = drawn(3, bend=0.15).inside((n, n, n), (1.0, 1.0, 1.0), np.full(3, n / 2), radius)
    share = (straight & bent).sum() / (straight | bent).sum()
    assert 0.4 < share < 0.95
    assert bent.sum() == pytest.approx(straight.sum(), rel=0.5)


def test_the_displacement_is_as_large_as_asked():
    lines = [np.linspace(-1, 1, 30)] * 3
    sizes = [np.std(shift) for seed in range(20) for shift in drawn(seed, bend=0.1)._shifts(lines)]
    assert np.mean(sizes) == pytest.approx(0.1, rel=0.35)


def test_the_axes_multiply_to_one_and_the_rotation_is_one():
    for seed in range(20):
        shape = drawn(seed)
        assert np.prod(shape.axes) == pytest.approx(1)
        assert shape.rotation @ shape.rotation.T == pytest.approx(np.eye(3), abs=1e-12)
        assert np.linalg.det(shape.rotation) == pytest.approx(1)
