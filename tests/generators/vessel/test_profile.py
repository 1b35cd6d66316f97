"""Attenuation, normals and the straightened field against closed forms and scipy."""

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators.vessel.profile import attenuation, normals, straighten
from tests.generators.vessel.tubes import arc


def test_attenuation_is_minus_the_log_for_every_grey_level_and_for_fractions() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    want = -np.log(np.maximum(grey.astype(float), 1) / 255)
    assert np.allclose(attenuation(grey), want, atol=1e-6)
    assert attenuation(grey[:, ::2]).shape == (16, 8)
    assert attenuation(np.array([[127.5]]))[0, 0] == pytest.approx(np.log(2), abs=1e-6)


def test_normals_of_a_circle_point_at_its_centre() -> None:
    points = arc(50.0)[::10]
    centre = np.array([96.0, 96.0 - 50])
    inward = (centre - points) / 50
    assert np.abs(np.abs((normals(points) * inward).sum(axis=1))[2:-2] - 1).max() < 1e-4
    with pytest.raises(ValueError, match="no direction"):
        normals(points[:1])


@pytest.mark.parametrize("origin", [(30.0, 25.0), (3.0, 2.0), (57.0, 44.0)])
def test_straightened_samples_are_scipys_cubic_spline_also_at_the_border(origin: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    field = ndimage.gaussian_filter(rng.random((48, 61)), 1)
    points = np.array(origin) + np.cumsum(rng.normal(0, 0.2, (30, 2)), axis=0)
    across = normals(points)
    rows, t = straighten(field, points, across, 6, step=0.25)
    assert rows.shape == (30, 49)
    assert (t[0], t[24], t[-1]) == (-6, 0, 6)
    where = points[:, None] + t[:, None] * across[:, None]
    want = ndimage.map_coordinates(field, [where[..., 1], where[..., 0]], order=3, mode="mirror")
    assert np.abs(rows - want).max() < 1e-4
