import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators.biplane.motion import Motion
from tests.generators.biplane.toys import one, tree


def test_motion_moves_the_second_view_only():
    still, moved = one(target="still"), one(target="motion")
    assert np.array_equal(still.fields["view0.png"], moved.fields["view0.png"])
    assert not np.array_equal(still.fields["view1.png"], moved.fields["view1.png"])
    assert still.drawn["motion"] is None
    motion = moved.drawn["motion"]
    assert all(0.8 <= s <= 1.2 for s in motion["scale"])
    assert all(-20 <= t <= 20 for t in motion["shift_px"])
    assert np.array_equal(still.fields["volume64.npy.zst"], moved.fields["volume64.npy.zst"])
    assert one(motion=True).drawn["motion"] is not None
    assert one(motion=True, target="still").drawn["motion"] is None


def test_a_moved_view_s_label_tells_where_its_stenoses_are():
    case = tree(stenoses=1)
    still, moved = one(case, "still"), one(case, "motion")
    assert still.labels["motion"] is None
    assert moved.labels["motion"] == moved.drawn["motion"]
    (a,), (b,) = still.labels["stenoses"], moved.labels["stenoses"]
    assert a["view_row_col"][0] == b["view_row_col"][0]
    scale, shift = (np.array(moved.labels["motion"][key]) for key in ("scale", "shift_px"))
    expected = 63.5 + scale * (np.array(a["view_row_col"][1]) - 63.5) + shift
    np.testing.assert_allclose(b["view_row_col"][1], expected)
    lit = np.argwhere(moved.fields["view1.png"])
    assert np.hypot(*(lit - expected).T).min() < 4


def test_motion_scales_about_the_centre_and_shifts_in_pixels():
    image = np.zeros((101, 101), np.uint8)
    image[45:56, 45:56] = 1
    moved = Motion((2.0, 1.0), (10.0, -7.0)).apply(image)
    rows, cols = np.nonzero(moved)
    assert (rows.mean(), cols.mean()) == (pytest.approx(60, abs=0.5), 43)
    assert (np.ptp(rows) + 1, np.ptp(cols) + 1) == (pytest.approx(22, abs=1), 11)
    assert set(np.unique(moved)) == {0, 1}
    assert np.array_equal(Motion((1.0, 1.0), (0.0, 0.0)).apply(image), image)


@pytest.mark.parametrize("motion", [Motion((1.03, 0.97), (4.2, -7.6)), Motion((0.5, 1.7), (-90.0, 33.3))])
def test_rows_and_columns_moved_on_their_own_are_what_scipy_moves(motion):
    image = np.random.default_rng(3).integers(0, 255, (57, 80), dtype=np.uint8)
    inverse, centre = 1 / np.array(motion.scale), (np.array(image.shape) - 1) / 2
    offset = centre - (centre + np.array(motion.shift_px)) * inverse
    assert np.array_equal(
        motion.apply(image), ndimage.affine_transform(image, inverse, offset, order=0, mode="constant")
    )
