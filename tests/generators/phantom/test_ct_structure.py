"""What gives a CT phantom its inner structure: muscles in the ventricles, mixing, veins, kidneys by phase, borders."""

import hashlib

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators import anatomy
from lesionforge.generators.phantom.ct import abdomen, ccta
from lesionforge.generators.phantom.ct.abdomen_liver import HEPATIC, LEAST_MM, PORTAL, liver_vessels
from lesionforge.generators.phantom.ct.canvas import blunt
from lesionforge.generators.phantom.ct.ccta_heart import PILLARS, UNMIXED, world
from lesionforge.generators.phantom.tree.heart import Heart
from lesionforge.generators.types import stream

HEART, BELLY = ({name: value for value, name in m.LEGEND.items()} for m in (ccta, abdomen))


def key(n):
    return hashlib.blake2b(f"structure/{n}".encode(), digest_size=32).digest()


@pytest.fixture(scope="module")
def chest():
    return ccta.phantom_ccta(key(0), "s", shape=(116, 116, 104), spacing_mm=(1.2, 1.2, 1.2), noise_hu=0.0)


@pytest.fixture(scope="module")
def belly():
    """Kidneys and liver of two subjects, without noise."""
    return [
        abdomen.phantom_abdomen(key(n), "s", shape=(120, 88, 100), spacing_mm=(2.2, 2.2, 2.2), noise_hu=0.0)
        for n in range(2)
    ]


def at(volume, points):
    return tuple(np.rint((points - np.array(volume.origin_mm)) / volume.spacing_mm).astype(int).T)


def test_papillary_muscles_and_the_moderator_band_are_muscle_in_the_blood(chest):
    heart = Heart.draw(stream(key(0), "phantom/heart"))
    blood = chest.labels == HEART["left_ventricle"]
    for foot, head, radius in PILLARS[:4:2]:
        a, b = world(heart, foot), world(heart, head)
        axis = at(chest, a + np.linspace(0.3, 0.95, 12)[:, None] * (b - a))
        assert (chest.labels[axis] == HEART["myocardium"]).mean() > 0.8
        assert np.median(chest.hu[axis]) < 0.6 * chest.notes["lumen_hu"]
        away = np.ones(blood.shape, bool)
        away[at(chest, b[None])] = False
        near = ndimage.distance_transform_edt(away, sampling=1.2) < radius + 4.0
        assert blood[near].mean() > 0.3  # its head stands free
    foot, head, _ = PILLARS[4]
    band = at(chest, world(heart, foot) + np.linspace(0.3, 0.7, 9)[:, None] * (world(heart, head) - world(heart, foot)))
    assert (chest.labels[band] == HEART["myocardium"]).mean() > 0.6


def test_trabeculae_make_the_free_wall_rough(chest):
    """The surface of the left ventricle's blood is far larger than that of the same volume closed over its gaps."""
    blood = np.pad(chest.labels == HEART["left_ventricle"], 4)
    ball = ndimage.distance_transform_edt(np.pad(np.zeros((1, 1, 1)), 3, constant_values=1)) <= 3.2
    smooth = ndimage.binary_closing(blood, ball)
    assert smooth.sum() / blood.sum() > 1.04
    faces = [sum(np.diff(m.astype(np.int8), axis=k).astype(bool).sum() for k in range(3)) for m in (blood, smooth)]
    assert faces[0] / faces[1] > 1.12


def test_contrast_is_streaked_in_the_right_heart_and_even_in_the_left(chest):
    spread = {}
    for name in ("right_atrium", "right_ventricle", "left_atrium"):
        inner = ndimage.binary_erosion(chest.labels == HEART[name], iterations=3)
        spread[name] = np.subtract(*np.percentile(chest.hu[inner], (90, 10))) / np.median(chest.hu[inner])
        assert chest.hu[inner].min() > UNMIXED - 30
    assert spread["right_atrium"] > 0.45
    assert 0.26 < spread["right_ventricle"] < spread["right_atrium"]
    assert spread["left_atrium"] < 0.08


def test_veins_run_in_the_groove_and_open_into_the_atria(chest):
    label = chest.labels
    vein, lungs = label == HEART["coronary_vein"], label == HEART["pulmonary_vein"]
    lumen, muscle = chest.notes["lumen_hu"], np.median(chest.hu[label == HEART["myocardium"]])
    core = ndimage.binary_erosion(vein)
    assert muscle + 10 < np.median(chest.hu[core]) < 0.85 * lumen
    assert np.median(chest.hu[ndimage.binary_erosion(lungs)]) == pytest.approx(lumen, rel=0.03)
    for own, chamber in ((vein, "right_atrium"), (lungs, "left_atrium")):
        parts, count = ndimage.label(own | (label == HEART[chamber]))
        sizes = np.bincount(parts.ravel())[1:]
        opens = parts == 1 + sizes.argmax()
        assert count >= 1
        assert (opens & own).sum() > 0.5 * own.sum()
    ml = vein.sum() * 1.2**3 / 1000
    assert 2 < ml < 12
    for name in ("coronary_vein", "pulmonary_vein"):
        assert set(name.split("_")) <= anatomy.ANATOMY | anatomy.PART


def test_strands_run_through_the_epicardial_fat(chest):
    fat = ndimage.binary_erosion(chest.labels == HEART["epicardial_fat"], iterations=1)
    assert np.median(chest.hu[fat]) < -75
    assert 0.01 < (chest.hu[fat] > -40).mean() < 0.2


def test_the_kidneys_medulla_follows_the_phase(belly):
    """The cortex lies 0.4, the medulla 1 times 0.9 HU a second before 105 s above and under their mean."""
    for delay, gap in ((60.0, 40.5), (95.0, 9.0)):
        phase = abdomen.ContrastPhase.draw(np.random.default_rng(1), delay)
        assert phase.kidney - phase.medulla == pytest.approx(gap)
    for volume in belly:
        gap = 1.4 * 0.9 * (105 - volume.notes["delay_s"])
        inner = ndimage.binary_erosion(volume.labels == BELLY["kidney"], iterations=2)
        values = volume.hu[inner]
        low, high = np.percentile(values, (4, 92))
        assert high - low == pytest.approx(gap, abs=12)
        split = values < (low + high) / 2
        assert 0.12 < split.mean() < 0.6


def test_the_livers_vessels_are_trees():
    for pieces, trunks in zip(liver_vessels(key(0)), (HEPATIC, PORTAL), strict=True):
        ends = pieces[:, 4:7]
        starts, radii = pieces[:, :3], pieces[:, 3]
        own = sum(len(radii) - 1 for _way, radii in trunks)
        assert len(pieces) > own + 300
        assert radii.min() > LEAST_MM
        for n in range(len(pieces) - 200, len(pieces)):  # the last ones begin where another ends, which is no thinner
            gap = np.sqrt(((ends - starts[n]) ** 2).sum(1))
            assert gap.min() < 1e-9
            assert pieces[gap.argmin(), 7] >= radii[n]
            forked = np.flatnonzero(np.sqrt(((starts - starts[n]) ** 2).sum(1)) < 1e-9)
            if len(forked) == 2:
                assert (radii[forked] ** 3).sum() == pytest.approx(pieces[gap.argmin(), 7] ** 3)


def test_the_livers_vessels_are_seen_in_it_and_belong_to_it(belly):
    for volume in belly:
        liver = ndimage.binary_erosion(volume.labels == BELLY["liver"], iterations=3)
        tissue = np.median(volume.hu[liver])
        bright = liver & (volume.hu > tissue + 18)
        assert 0.008 < bright.sum() / liver.sum() < 0.1
        assert np.ptp(np.argwhere(bright) * 2.2, axis=0).min() > 70  # all over the organ


def test_blunt_rounds_an_edge_and_leaves_the_rest():
    a = np.linspace(-20, 20, 401)
    edge = blunt(a, -a, 10.0)
    np.testing.assert_array_equal(edge[np.abs(2 * a) >= 10], -np.abs(a)[np.abs(2 * a) >= 10])
    assert edge.max() == pytest.approx(-2.5)  # mm / 4
    assert np.abs(np.diff(edge, 2)).max() < 0.1 * 0.1 * 0.3  # no kink: -|a| has one of 0.2
