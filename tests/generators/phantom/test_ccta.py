"""The coronary CT phantom: HU, labels, its trees, and that it is the same subject however it is scanned."""

import hashlib

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators.phantom.ct.ccta import LEGEND, phantom_ccta
from lesionforge.generators.phantom.ct.ccta_heart import Blood
from lesionforge.generators.phantom.tree.coronary import phantom_tree

VALUE = {name: value for value, name in LEGEND.items()}
SMALL = {"shape": (40, 40, 40), "spacing_mm": (3.0, 3.0, 3.0)}


def key(n):
    return hashlib.blake2b(f"ccta/{n}".encode(), digest_size=32).digest()


@pytest.fixture(scope="module")
def heart():
    """One subject in voxels of 1 mm."""
    return phantom_ccta(key(0), "s")


@pytest.fixture(scope="module")
def close():
    """The proximal left vessels of the same one in voxels of 0.5 mm, without noise."""
    return phantom_ccta(key(0), "s", shape=(96, 96, 96), spacing_mm=(0.5, 0.5, 0.5), about="left", noise_hu=0.0)


def at(volume, points):
    """Indices (n, 3) of the world points inside the volume, and which they are."""
    index = np.rint((points - volume.origin_mm) / volume.spacing_mm).astype(int)
    inside = ((index >= 3) & (index < np.array(volume.hu.shape) - 3)).all(1)
    return tuple(index[inside].T), inside


def test_it_is_a_function_of_its_key():
    a, b, other = (phantom_ccta(key(n), "s", **SMALL) for n in (1, 1, 2))
    assert np.array_equal(a.hu, b.hu)
    assert a.source_id == b.source_id != other.source_id
    assert a.hu.dtype == np.int16


def test_another_field_of_view_shows_the_same_subject():
    """Without noise, voxels that two grids share are equal, but for the blur's two at the border."""
    large = phantom_ccta(key(3), "s", shape=(80, 72, 64), spacing_mm=(2.0, 2.0, 2.0), noise_hu=0.0)
    small = phantom_ccta(key(3), "s", shape=(40, 40, 36), spacing_mm=(2.0, 2.0, 2.0), noise_hu=0.0)
    start = [round((b - a) / 2.0) for a, b in zip(large.origin_mm, small.origin_mm, strict=True)]
    part = tuple(slice(s, s + n) for s, n in zip(start, small.hu.shape, strict=True))
    inner = (slice(3, -3),) * 3
    assert np.array_equal(large.hu[part][inner], small.hu[inner])
    assert np.array_equal(large.labels[part], small.labels)


def test_tissues_have_their_hounsfield_units(heart):
    typical = {
        "lung": (-930, -780), "epicardial_fat": (-125, -60), "myocardium": (75, 135), "aorta": (280, 370),
        "left_ventricle": (280, 370), "left_atrium": (280, 370), "right_ventricle": (100, 280),
        "coronary_left": (150, 370), "coronary_right": (150, 370),
    }  # fmt: skip
    for name, (low, high) in typical.items():
        values = heart.hu[heart.labels == VALUE[name]]
        assert low < np.median(values) < high, name
    assert set(heart.legend) == set(np.unique(heart.labels)) - {0}
    cavity = heart.labels == VALUE["left_ventricle"]
    assert abs(np.median(heart.hu[cavity]) - heart.notes["lumen_hu"]) < 12


def test_lumens_are_drawn_from_the_range_of_usual_scans():
    blood = [Blood.draw(np.random.default_rng(n)).left for n in range(300)]
    assert 284 <= min(blood) < 290
    assert 360 < max(blood) <= 367


def test_vessels_lie_on_their_centrelines_with_the_lumen_s_hounsfield_units(close):
    tree = close.trees[0]
    points = np.concatenate([b.points for b in tree.branches])
    radii = np.concatenate([b.radii for b in tree.branches])
    index, inside = at(close, points)
    wide = radii[inside] > 0.95
    assert wide.sum() > 60
    names = close.labels[index][wide]
    assert np.isin(names, [VALUE["coronary_left"], VALUE["aorta"]]).mean() > 0.98
    lumen = close.hu[index][wide & (close.labels[index] == VALUE["coronary_left"])]
    assert np.abs(lumen - close.notes["lumen_hu"]).mean() < 0.1 * close.notes["lumen_hu"]


def test_vessels_are_walled_and_bedded_in_fat(close):
    """Out from a large vessel: lumen, wall, fat. What lies in between is what the kernel mixes."""
    tree = close.trees[0]
    trunk = next(b for b in tree.branches if b.name == "LAD")
    index, _inside = at(close, trunk.points)
    here = np.zeros(close.hu.shape, bool)
    here[index] = True
    far = ndimage.distance_transform_edt(~here, sampling=0.5)
    ring = {
        name: (close.labels == VALUE[name]) & (far < 6) for name in ("coronary_left", "coronary_wall", "epicardial_fat")
    }
    assert far[ring["coronary_left"]].mean() < far[ring["coronary_wall"]].mean() < far[ring["epicardial_fat"]].mean()
    assert np.median(close.hu[ring["epicardial_fat"] & (far > 4)]) < -70


def test_its_trees_are_those_of_the_coronary_phantom(heart):
    for tree, side in zip(heart.trees, ("left", "right"), strict=True):
        same = phantom_tree(key(0), side, "s", varied=False)
        assert tree.side == side
        assert tree.source_id == same.source_id


def test_a_stenosis_narrows_the_lumen_and_keeps_the_wall():
    settings = {"shape": (80, 80, 80), "spacing_mm": (0.6, 0.6, 0.6), "about": "left", "noise_hu": 0.0}
    for n in range(20):
        tree = phantom_tree(key(n), "left", "s", stenoses=2, varied=False)
        trunk = next(b for b in tree.branches if b.name == "LAD").points
        middle = trunk[len(trunk) // 5]
        near = [s for s in tree.stenoses if np.abs(np.array(s.point) - middle).max() < 18 and s.percent_ds > 40]
        if near:
            break
    else:
        pytest.fail("no subject of 20 has a stenosis there")
    narrow, own = (phantom_ccta(key(n), "s", stenoses=s, **settings) for s in (2, 0))
    box = tuple(
        slice(max(0, round((p - o) / 0.6) - 6), round((p - o) / 0.6) + 7)
        for p, o in zip(near[0].point, narrow.origin_mm, strict=True)
    )
    lumen, wall = (
        [int((v.labels[box] == VALUE[name]).sum()) for v in (own, narrow)]
        for name in ("coronary_left", "coronary_wall")
    )
    assert lumen[1] < 0.8 * lumen[0]
    assert sum(x[1] for x in (lumen, wall)) == pytest.approx(sum(x[0] for x in (lumen, wall)), rel=0.15)
