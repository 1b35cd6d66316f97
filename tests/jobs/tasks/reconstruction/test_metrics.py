import itertools
import math

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import distance
from skimage.metrics import peak_signal_noise_ratio

from lesionforge.jobs.tasks.reconstruction.metrics import dice, image_chamfer, psnr, topology, volume_scores


def volume(*boxes, n=12):
    """Boxes of (low, high) corners."""
    out = np.zeros((n, n, n), bool)
    for low, high in boxes:
        out[tuple(map(slice, low, high))] = True
    return out


def test_a_cube_against_itself_moved_by_a_cell():
    """Of 125 cells 100 stay and 25 are one cell away, in both directions."""
    a, b = volume(((2, 2, 2), (7, 7, 7))), volume(((3, 2, 2), (8, 7, 7)))
    scores = volume_scores(a, b, 1.5)
    assert scores["dsc"] == pytest.approx(0.8)
    assert scores["chamfer"] == pytest.approx(0.4)  # the paper's sum of both directions
    assert scores["chamfer_half"] == pytest.approx(0.2)  # its code's
    assert (scores["chamfer_mm"], scores["chamfer_half_mm"]) == pytest.approx((0.6, 0.3))
    assert scores["o1"] == scores["o2"] == 1  # d <= t: by d < t O(1) would be the Dice
    assert (scores["pieces"], scores["loops"], scores["loops_off"]) == (1, 0, 0)
    far = volume_scores(a, volume(((4, 2, 2), (9, 7, 7))), 1)
    assert (far["o1"], far["o2"]) == pytest.approx((0.8, 1.0))


def test_half_overlap_is_half():
    assert dice(volume(((0, 0, 0), (4, 4, 4))), volume(((2, 0, 0), (6, 4, 4)))) == 0.5


def test_nothing_found_is_as_far_as_the_grid_is_wide():
    scores = volume_scores(volume(((2, 2, 2), (4, 4, 4))), volume(), 1)
    assert scores["chamfer"] == pytest.approx(2 * 12 * math.sqrt(3))
    assert [scores[name] for name in ("dsc", "o1", "o2", "cldice", "pieces")] == [0] * 5
    assert image_chamfer(np.ones((3, 4), bool), np.zeros((3, 4), bool)) == pytest.approx(10)


def test_distances_against_every_pair_of_points():
    rng = np.random.default_rng(0)
    for density in (0.002, 0.02, 0.2):
        a, b = (rng.random((2, 11, 11, 11)) < density) | (np.indices((11, 11, 11)).sum(0) == 0)
        pa, pb = np.argwhere(a), np.argwhere(b)
        table = np.linalg.norm(pa[:, None] - pb[None], axis=2)
        there, back = table.min(1), table.min(0)
        scores = volume_scores(a, b, 1)
        assert scores["chamfer"] == pytest.approx(there.mean() + back.mean())
        for t in (1, 2):  # eq. 9: 2 TP / (2 TP + FP + FN), matched points of both counting as TP
            near, false = (there <= t).sum() + (back <= t).sum(), (there > t).sum() + (back > t).sum()
            assert scores[f"o{t}"] == pytest.approx(near / (near + false))
        flat = a[0], b[0]
        if all(image.any() for image in flat):
            table = np.linalg.norm(np.argwhere(flat[0])[:, None] - np.argwhere(flat[1])[None], axis=2)
            assert image_chamfer(*flat) == pytest.approx(table.min(1).mean() + table.min(0).mean())


def test_dice_and_psnr_against_other_libraries():
    rng = np.random.default_rng(1)
    truth, found = rng.random((9, 9, 9)) < 0.1, rng.random((9, 9, 9)).astype(np.float32) * 0.8
    assert dice(truth, found > 0.5) == pytest.approx(1 - distance.dice(truth.ravel(), found.ravel() > 0.5))
    a = truth.astype(np.float32)
    assert psnr(a, found) == pytest.approx(peak_signal_noise_ratio(a, found, data_range=found.max()), rel=1e-6)


def euler(cells):
    """Corners - edges + faces - cubes of the union of closed cubes."""
    counts = [0, 0, 0, 0]
    for which in itertools.product((0, 1), repeat=3):  # along which axes an element is long
        padded = np.pad(cells, 1)
        for axis, long in enumerate(which):
            if not long:  # an element that two cells share
                ends = [np.take(padded, range(s, padded.shape[axis] - 1 + s), axis) for s in (0, 1)]
                padded = ends[0] | ends[1]
        counts[sum(which)] += int(padded.sum())
    return counts[0] - counts[1] + counts[2] - counts[3]


def ring(centre, radius, n=24):
    x, y, z = np.indices((n, n, n)) - np.reshape(centre, (3, 1, 1, 1))
    return (np.hypot(x, y) - radius) ** 2 + z**2 <= 4


def test_pieces_and_loops():
    one = ring((11, 11, 6), 6)
    shell = volume(((2, 2, 2), (9, 9, 9))) & ~volume(((4, 4, 4), (7, 7, 7)))
    eight = volume(((1, 1, 1), (11, 6, 2))) & ~volume(((3, 3, 1), (5, 4, 2)), ((7, 3, 1), (9, 4, 2)))
    assert topology(one) == (1, 1)
    assert topology(one | ring((11, 11, 17), 6)) == (2, 2)
    assert topology(shell) == (1, 0)  # a cavity is no loop
    assert topology(eight) == (1, 2)
    assert topology(volume(((1, 1, 1), (2, 2, 2)), ((2, 2, 2), (3, 3, 3)))) == (1, 0)  # corners touch
    rng = np.random.default_rng(2)
    for density in (0.05, 0.2, 0.5):
        cells = rng.random((8, 8, 8)) < density
        pieces, loops = topology(cells)
        cavities = ndimage.label(np.pad(~cells, 1, constant_values=True))[1] - 1
        assert pieces - loops + cavities == euler(cells)
    assert volume_scores(one, one & (np.indices(one.shape)[0] < 11), 1)["loops_off"] == 1


def test_centrelines():
    """Half of a line: all of it is right, half of the truth's is found."""
    whole, half = volume(((5, 5, 1), (6, 6, 11))), volume(((5, 5, 1), (6, 6, 6)))
    assert volume_scores(whole, half, 1)["cldice"] == pytest.approx(2 / 3)
    assert volume_scores(whole, whole, 1)["cldice"] == 1
