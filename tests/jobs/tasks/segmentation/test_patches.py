"""Patches: a pure function of their number, balanced, from both kinds at their share."""

from dataclasses import replace

import numpy as np
import pytest

from lesionforge.generators.lesion.learned.settings import WINDOWS
from lesionforge.jobs.tasks.segmentation.patches import Patches
from tests.jobs.tasks.segmentation.worlds import scans_of

WINDOW = WINDOWS["ccta"]
SIDE = 16
POSITIVE = 0.5


@pytest.fixture(scope="module")
def scans(balls):
    return scans_of(balls["real"])


def patches(real, made=(), share=0.5, key="k", side=SIDE):
    return Patches(real, made, share, POSITIVE, key, side, WINDOW, 400)


def test_a_patch_is_a_pure_function_of_its_number(scans):
    first, again, other = patches(scans), patches(scans), patches(scans, key="other")
    for n in range(8):
        assert all(np.array_equal(a, b) for a, b in zip(first[n], again[n], strict=True))
    assert any(not np.array_equal(first[n][0], other[n][0]) for n in range(4))
    assert len({first[n][0].tobytes() for n in range(20)}) == 20
    assert len(first) == 400


def test_image_and_target_move_together(scans):
    """Bright where calcified, dark where not, whatever was flipped and turned."""
    seen = set()
    for n in range(60):
        image, target = patches(scans)[n]
        assert image.shape == target.shape == (1, SIDE, SIDE, SIDE)
        assert (image.dtype, target.dtype) == (np.float32, np.uint8)
        tissue = image[target == 0].mean()
        for value, sign in ((1, 1), (2, -1)):
            if (target == value).any():
                seen.add(value)
                assert (sign * (image[target == value] - tissue) > 0).all()
    assert seen == {1, 2}


def test_classes_come_equally_often_whatever_their_scans(scans):
    """One class in one scan of six, the other in five: half of the lesions' patches each."""
    rare = next(s for s in scans if 1 in s.voxels)
    some = patches([rare, *(s for s in scans if 2 in s.voxels)], side=8)
    held = np.array([[(t == v).any() for v in (1, 2)] for _, t in (some[n] for n in range(400))])
    share = POSITIVE / 2
    for count in held.sum(0):  # background patches hold some as well, and a lesion's voxel may lie at the border
        assert abs(count / 400 - share) < 4 * np.sqrt(share * (1 - share) / 400) + 0.05


def test_real_and_synthetic_come_at_their_exact_share(scans):
    made = [replace(s, hu=np.full_like(s.hu, 3000)) for s in scans]
    for share in (0.5, 0.25, 0.75):
        some = patches(scans, made, share)
        real = [some[n][0].min() < 0.6 for n in range(40)]  # all of what is made is at the window's end
        assert sum(real) == 40 * share
    assert all(patches([], made)[n][0].min() > 0.6 for n in range(4))


def test_healthy_scans_give_background_and_small_ones_are_continued(scans):
    healthy = [replace(s, target=np.zeros_like(s.target)) for s in scans]
    assert not any(patches(healthy)[n][1].any() for n in range(20))
    image, _ = patches([replace(s, hu=s.hu[:10], target=s.target[:10]) for s in scans])[0]
    assert image.shape == (1, SIDE, SIDE, SIDE)
