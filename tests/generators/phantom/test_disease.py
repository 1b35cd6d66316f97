"""The phantoms' own disease: nobody else's law, tissue before the scanner, marked by a person."""

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.phantom import Phantom, PhantomOptions
from lesionforge.generators.phantom.ct import abdomen, ccta, disease_abdomen, disease_coronary
from lesionforge.generators.phantom.ct.canvas import Canvas, CtGrid
from lesionforge.generators.phantom.ct.disease import Annotator
from lesionforge.generators.phantom.ct.disease_course import Bearers
from lesionforge.generators.phantom.ct.disease_plaque import Plaque
from lesionforge.generators.phantom.tree.coronary import phantom_tree
from lesionforge.generators.types import stream
from tests.test_imports import ROOT, ours

CLOSE = {"shape": (64, 64, 64), "spacing_mm": (0.6, 0.6, 0.6), "about": "left"}
WIDE = {"shape": (88, 64, 50), "spacing_mm": (3.2, 3.2, 3.2)}
PLAQUES = [ccta.VALUE[name] for name in ("calcified", "non_calcified")]
TUMOURS = {organ: abdomen.VALUE[f"{organ}_tumour"] for organ in ("liver", "kidney", "pancreas")}


def key(n):
    return hashlib.blake2b(f"ill {n}".encode(), digest_size=32).digest()


@pytest.fixture(scope="module")
def hearts():
    return [ccta.phantom_ccta(key(n), "s", disease=True, **CLOSE) for n in range(4)]


@pytest.fixture(scope="module")
def bellies():
    return [abdomen.phantom_abdomen(key(n), "s", disease=True, **WIDE) for n in range(3)]


def test_no_backend_knows_the_law_and_it_knows_no_backend():
    rooms = ROOT / "generators"
    law = {p: ours(p) for p in (rooms / "phantom" / "ct").glob("disease*.py")}
    assert len(law) == 5
    assert not [name for names in law.values() for name in names if name.startswith("generators.lesion")]
    for path in [*(rooms / "lesion").rglob("*.py"), *(ROOT / "jobs" / "fit").rglob("*.py")]:
        assert not [name for name in ours(Path(path)) if "disease" in name], path


def test_tissue_is_blurred_with_the_rest_and_the_noise_lies_on_top(hearts):
    """Ill less healthy is the same picture at any noise: the scan's grain is not touched, and none is drawn."""
    ill = hearts[0].hu.astype(int) - ccta.phantom_ccta(key(0), "s", **CLOSE).hu
    sick, well = (ccta.phantom_ccta(key(0), "s", disease=d, noise_hu=0.0, **CLOSE).hu for d in (True, False))
    apart = ill - (sick.astype(int) - well)
    assert np.abs(apart).max() <= 1  # rounding
    assert np.abs(ill).max() > 100
    labels = np.isin(hearts[0].labels, PLAQUES)
    away = ndimage.distance_transform_edt(~labels)[np.abs(ill) > 30]
    assert ((away > 0) & (away < 3)).sum() > 0.2 * labels.sum()  # it glares beyond what is marked


@pytest.mark.parametrize("paint", [ccta.phantom_ccta, abdomen.phantom_abdomen])
def test_a_subject_s_disease_does_not_hang_on_the_field_of_view(paint):
    about = {"about": "left"} if paint is ccta.phantom_ccta else {}
    mm = (0.6,) * 3 if about else (2.5,) * 3
    large, small = (
        paint(key(1), "s", shape=(n,) * 3, spacing_mm=mm, noise_hu=0.0, disease=True, **about) for n in (64, 48)
    )
    at = tuple(
        slice(round((b - a) / s), round((b - a) / s) + 48)
        for a, b, s in zip(large.origin_mm, small.origin_mm, mm, strict=True)
    )
    inner = (slice(6, -6),) * 3  # blur reads what lies outside
    np.testing.assert_array_equal(large.hu[at][inner], small.hu[inner])
    lesions = [np.isin(v.labels, PLAQUES if about else list(TUMOURS.values())) for v in (large, small)]
    assert lesions[1][inner].sum() > 20
    assert (lesions[0][at][inner] != lesions[1][inner]).mean() < 1e-3  # pieces cut by the border may be left out


def test_the_area_left_is_that_of_the_percent_stenosis():
    x, y = np.random.default_rng(0).uniform(-1, 1, (2, 200_000))
    turn, away = np.cos(np.arctan2(y, x)) - 1, np.hypot(x, y)
    drawn = [Plaque.draw(stream(key(n), "p"), 0.0, 326.0) for n in range(40)]
    assert max(plaque.percent_ds for plaque in drawn) > 45
    for plaque in drawn:
        left = (away < 1 - plaque._inwards() * np.exp(plaque.focus * turn)).sum() / (away < 1).sum()
        assert left == pytest.approx((1 - plaque.percent_ds / 100) ** 2, abs=0.012)


def test_plaques_lie_where_they_do():
    """Proximal, at forks opposite the daughter, elsewhere towards the muscle; and where they are said to."""
    tree = phantom_tree(key(3), "left", "s", varied=False)
    bearers, rng = Bearers(tree.branches), stream(key(3), "seats")
    seats = [bearers.seat(rng) for _ in range(600)]
    names = [tree.branches[s.branch].name for s in seats]
    left = np.mean([name[:3] in ("LM", "LAD") or name[0] == "D" for name in names])
    assert 0.7 < left < 0.97
    lad = [s.middle * 0.5 for s, name in zip(seats, names, strict=True) if name == "LAD"]
    assert np.median(lad) < 30
    assert np.mean(np.array(lad) > 60) < 0.05
    forks = [[at for at, _ in bearers._forks[s.branch] if bearers._near(s.branch, s.middle, at)] for s in seats]
    assert 0.2 < np.mean([bool(at) for at in forks]) < 0.8
    away = np.cos([s.angle for s, at in zip(seats, forks, strict=True) if not at])
    assert (away < -0.7).mean() > 2.5 * (away > 0.7).mean()  # towards the muscle, not away from it
    course = bearers.course(seats[0], 5.0)
    across = np.gradient(course.points, axis=0)
    assert np.abs((across * course.out).sum(axis=1)).max() < 0.05
    assert (course.points * course.out).sum(axis=1).min() > 0


def test_plaque_overlaps_with_the_lumen_and_shifts_with_it(hearts):
    dense, soft = (np.concatenate([v.hu[v.labels == value] for v in hearts]) for value in PLAQUES)
    lumen = [v.notes["lumen_hu"] for v in hearts]
    assert 40 < np.median(soft) < 160
    assert np.percentile(dense, 5) < max(lumen) < np.median(dense)
    assert np.percentile(soft, 97) > min(lumen) - 80
    pairs = [[Plaque.draw(stream(key(n), "p"), 0.0, hu).fibrous for hu in (118.0, 326.0)] for n in range(9)]
    assert np.diff(pairs) == pytest.approx(np.full((9, 1), 0.18 * 208))


def test_an_outline_is_off_by_the_annotator_s_error():
    """A flat edge of plaque, seen on fine voxels: marked where it is, or so many mm outside."""
    canvas = Canvas(CtGrid((60, 12, 12), (0.1, 0.1, 0.1), (0.0, 0.0, 0.0)), 0.0, key(0))
    share = np.zeros(canvas.hu.shape)
    share[:30] = 1.0
    for bias in (-0.2, 0.0, 0.3):
        for calcium, bloom in ((np.zeros_like(share), 0.0), (share, disease_coronary.BLOOM_MM)):
            canvas.labels[:] = 0
            disease_coronary._mark(Annotator(bias, 0.0), canvas, share, calcium, ccta.VALUE)
            marked = np.isin(canvas.labels[:, 6, 6], PLAQUES).sum()
            assert 0.1 * marked == pytest.approx(3.0 + bias + bloom, abs=0.06)


def test_tumours_are_of_every_organ_and_lie_in_it(bellies):
    told = [one for volume in bellies for one in volume.notes["tumours"]]
    radii = np.array([one["radius_mm"] for one in told])
    assert {one["organ"] for one in told} == set(TUMOURS)
    assert (radii <= 10).any()
    assert (radii > 10).any()
    for volume in bellies:
        healthy = abdomen.phantom_abdomen(volume_key(volume, bellies), "s", **WIDE)
        for organ, value in TUMOURS.items():
            mask = volume.labels == value
            assert set(np.unique(healthy.labels[mask])) <= {0, abdomen.VALUE[organ]}
        marked = np.isin(volume.labels, list(TUMOURS.values()))
        np.testing.assert_array_equal(volume.labels[~marked], healthy.labels[~marked])
        assert sum(one["voxels"] for one in volume.notes["tumours"]) >= marked.sum()


def test_a_tumour_at_the_surface_reaches_into_fat_and_into_nothing_else():
    phase = abdomen.ContrastPhase(105.0, 190.0, 170.0, 95.0, 120.0, 150.0, 165.0, -104.0, 80.0)
    tumour = disease_abdomen._tumour(stream(key(1), "t"), "papillary", np.zeros(3), 12.0, phase, 80.0)
    for beyond, reach in ((0, 0.6 * 12), (abdomen.VALUE["colon"], 0)):
        canvas = Canvas(CtGrid.around((0.0, 0.0, 0.0), (61, 61, 61), (1.0, 1.0, 1.0)), 200.0, key(1))
        canvas.labels[:31], canvas.labels[31:] = abdomen.VALUE["kidney"], beyond
        told = disease_abdomen._paint(canvas, tumour, "kidney", Annotator(0.0, 0.0), abdomen.VALUE)
        marked = canvas.labels == TUMOURS["kidney"]
        assert told == marked.sum() > 1000
        assert np.argwhere(marked)[:, 0].max() - 30 == pytest.approx(reach, abs=1)
        assert (canvas.hu[31:] < 190).any() == (reach > 0)


def volume_key(volume, volumes):
    return key(next(n for n, other in enumerate(volumes) if other is volume))


def test_kinds_are_as_dense_as_the_literature_says(bellies):
    """Before the scanner's noise: pancreatic cancers darker than the gland, soft at their border."""
    phase = abdomen.ContrastPhase(105.0, 190.0, 170.0, 95.0, 120.0, 150.0, 165.0, -104.0, 80.0)
    drawn = [
        disease_abdomen._tumour(stream(key(n), "t"), "adenocarcinoma", np.zeros(3), 14.0, phase, 80.0)
        for n in range(60)
    ]
    assert np.mean([one.hu - 95.0 for one in drawn]) == pytest.approx(-40, abs=5)
    assert min(one.border for one in drawn) >= 2.0
    body = disease_abdomen._tumour(stream(key(1), "t"), "clear cell", np.zeros(3), 20.0, phase, 80.0)
    canvas = Canvas(CtGrid.around((0.0, 0.0, 0.0), (60, 60, 60), (1.0, 1.0, 1.0)), 0.0, key(1))
    volume = float((body.depth(canvas) > 0).sum())
    assert (3 * volume / (4 * math.pi)) ** (1 / 3) == pytest.approx(20.0, rel=0.2)


def test_only_ct_can_be_ill():
    with pytest.raises(SourceError, match="leave it out of phantom:coronary"):
        Phantom("coronary", PhantomOptions(disease=True))
    volume = Phantom("ccta", PhantomOptions(count=1, disease=True, **CLOSE)).read(0)
    assert "plaques" in volume.notes
