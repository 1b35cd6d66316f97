import itertools
import math

import numpy as np
import pytest

from lesionforge.generators.lesion import measure
from lesionforge.generators.lesion.classes import VALUE
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.lesion.lumen import Stenosis
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.lesion.plaque import Plaque
from lesionforge.generators.lesion.scene import CtScene
from lesionforge.generators.lesion.vessels import STEP_MM, from_label
from lesionforge.generators.types import Rejected
from tests.generators.lesion.toys import TUBE_MM, spec, vessel


@pytest.fixture(scope="module")
def tube():
    return vessel()


def plaque(**changes):
    numbers = {
        "lesion_class": "non_calcified", "length_mm": 12.0, "percent_ds": 50.0, "remodelling": 1.2, "wall_mm": 0.4,
        "eccentric": 1.0, "arc_deg": 360.0, "angle": 0.0, "psf_mm": 0.35, "mean_hu": 50.0,
    }  # fmt: skip
    return Plaque(**(numbers | changes))


def put(tube, lesion):
    """The scene, the vessel, the row, and the mask on the scene."""
    scene = CtScene.around(tube, (24, 30, 60), None)
    (line,) = from_label(scene.labels == VALUE["coronary"], scene.spacing)
    row = len(line.points) // 2
    bed, draw = lesion.rasteriser(scene, line, row)
    mask = np.zeros(scene.labels.shape, bool)
    mask[bed.box] = draw(lesion.percent_ds)
    return scene, line, row, mask


def narrowed(tube, lesion):
    scene, line, row, mask = put(tube, lesion)
    lumen = (scene.labels == VALUE["coronary"]) & ~mask
    half = int(lesion.length_mm / 2 / STEP_MM)
    return measure.percent_ds(lumen, line, slice(row - half, row + half + 1), scene.spacing)


@pytest.mark.parametrize("percent", [25, 40, 55, 70])
@pytest.mark.parametrize("shape", [{}, {"eccentric": 0.6}, {"eccentric": 0.0}, {"arc_deg": 340.0, "angle": 2.0}])
def test_the_lumen_is_narrowed_as_asked(tube, percent, shape):
    found = narrowed(tube, plaque(percent_ds=float(percent), **shape))
    # drawn once, uncorrected: a voxel's edge of the diameter
    assert found.percent_ds == pytest.approx(percent, abs=100 * 0.4 / (2 * TUBE_MM))
    assert found.reference_mm == pytest.approx(2 * TUBE_MM, rel=0.05)
    assert found.mld_mm == pytest.approx(found.reference_mm * (1 - found.percent_ds / 100))


def test_the_area_that_is_left_follows_from_the_diameter():
    for lesion in (plaque(), plaque(eccentric=0.3), plaque(arc_deg=300.0)):
        q = lesion._open(60.0)
        assert q[0] == pytest.approx(1, abs=0.03)
        assert (np.diff(q) <= 1e-9).all()
        # exact for a circle: no part of the old lumen is spared by the arc
        if lesion.arc_deg == 360:
            assert q[100] == pytest.approx(0.4, abs=0.02)
        else:
            assert q[100] < 0.4
    found = Stenosis(60.0, 3.0, 1.2, 0)
    assert found.area_stenosis == pytest.approx(84)
    assert found.area_mm2 == pytest.approx(math.pi * 0.36)


def test_the_plaque_lies_between_lumen_and_wall_on_its_side(tube):
    angle = 1.0
    lesion = plaque(angle=angle, percent_ds=35.0, arc_deg=250.0)
    scene, line, row, mask = put(tube, lesion)
    towards = math.cos(angle) * line.first[row] + math.sin(angle) * line.second[row]
    offset = np.argwhere(mask) * 0.4 - line.points[row]
    assert (offset @ towards).mean() > 0.5
    far = np.sqrt((offset**2).sum(axis=1))
    outer = TUBE_MM + 2 * 0.2 * (TUBE_MM + 0.4)  # the wall moves by both its growth and its shift
    assert far[np.abs(offset @ np.cross(line.first[row], line.second[row])) < 0.4].max() < outer + 0.4
    assert (mask & (scene.labels == 0)).any()  # outward remodelling
    assert (mask & (scene.labels > 0)).any()  # and a narrower lumen


def test_remodelling_grows_the_vessel(tube):
    sizes = [put(tube, plaque(remodelling=r))[3].sum() for r in (1.0, 1.15, 1.3)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_an_arc_is_wide_enough_for_its_stenosis():
    params = LesionParams(arc_deg=(90, 120), percent_ds=(60, 70))
    for seed in range(20):
        lesion = Plaque.draw(np.random.default_rng(seed), params, "non_calcified")
        assert lesion.arc_deg >= min(360, 360 * (1 - (1 - lesion.percent_ds / 100) ** 2))


def test_a_short_vessel_has_no_place(tube):
    scene = CtScene.around(tube, (24, 30, 60), None)
    found = from_label(scene.labels == VALUE["coronary"], scene.spacing)
    rng = np.random.default_rng(0)
    with pytest.raises(Rejected, match="no clear stretch"):
        plaque(length_mm=40.0).place(rng, found, LesionParams(length_mm=(40, 40)))
    with pytest.raises(Rejected, match="no clear stretch"):
        plaque().place(rng, found, LesionParams(min_lumen_mm=5))
    fitted, where, row = plaque(length_mm=40.0).place(rng, found, LesionParams())
    assert 6 <= fitted.length_mm < 40  # shortened to the room there is
    assert where.free[row]


def test_calcium_is_spotty_or_long():
    params = LesionParams(spotty=0.3)
    drawn = [Plaque.draw(np.random.default_rng(seed), params, "calcified") for seed in range(4000)]
    spots = [one for one in drawn if one.length_mm < 3]
    assert 0.28 < len(spots) / len(drawn) < 0.32
    assert all(one.arc_deg <= 90 and one.percent_ds <= 15 for one in spots)
    rest = [one.length_mm for one in drawn if one.length_mm >= 3]
    assert max(rest) > 20
    assert np.median(rest) == pytest.approx(np.sqrt(3 * 25), rel=0.05)  # log-uniform


def test_several_plaques_lie_on_one_vessel(tube):
    params = LesionParams(size=64, plaques=(3, 3), same_vessel=1.0, length_mm=(4, 6), percent_ds=(25, 40))
    for attempt in range(20):
        try:
            (sample,) = LesionGenerator(params).generate([tube], [spec(1, "non_calcified", attempt)])
        except Rejected:
            continue
        if len(lesions := sample.labels["lesions"]) > 1:
            break
    assert len(lesions) > 1
    assert len({tuple(map(tuple, one["centreline_lps_mm"])) for one in lesions}) == 1
    boxes = sorted(one["box"][2::3] for one in lesions)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(boxes))
    assert all(abs(one["requested_ds"] - one["measured_ds_hu"]) <= 8 for one in lesions)


def test_calcium_stays_brighter_than_a_bright_lumen():
    usual, bright = (plaque(lesion_class="calcified", mean_hu=700.0).enhanced(hu) for hu in (330.0, 734.0))
    assert (usual.mean_hu, usual.class_hu) == (700.0, (600.0, 1000.0))
    assert (bright.mean_hu, bright.class_hu) == (1400.0, (1200.0, 2000.0))
    assert plaque().enhanced(734.0) == plaque()
    made = []
    for lumen_hu in (330, 734):
        volume = vessel()
        volume.hu[volume.labels == 1] = lumen_hu
        params = LesionParams(size=None, plaques=(1, 1), percent_ds=(30, 40))
        made.append(next(iter(LesionGenerator(params).generate([volume], [spec(3, "calcified")]))).labels["lesions"][0])
    assert all(lesion["hu_in_class"] for lesion in made)
    assert made[1]["requested_hu"] == pytest.approx(2 * made[0]["requested_hu"], rel=0.02)
