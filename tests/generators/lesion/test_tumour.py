import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators.lesion.classes import EARLY_MM, LABELS, TUMOURS, VALUE, home
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.lesion.scene import APART, CtScene, VolumeAnatomy
from lesionforge.generators.lesion.tumour import SOFT_HU, Tumour, ball_mm3, largest, radius_mm
from lesionforge.generators.types import Rejected
from tests.generators.lesion.toys import abdomen

PARAMS = LesionParams(liver_mm=(10.5, 18), kidney_mm=(10.5, 14))


@pytest.fixture(scope="module")
def volume():
    return abdomen()


def put(volume, lesion_class, seed, params=PARAMS):
    """The tumour, its scene, and its mask on it; None where it did not fit."""
    rng = np.random.default_rng(seed)
    tumour = Tumour.draw(rng, params, lesion_class)
    try:
        at = tumour.place(rng, volume, VolumeAnatomy(volume).candidates(lesion_class))
        scene = CtScene.around(volume, at, None)
        box, part = tumour.rasterise(scene, at, params.volume_tolerance)
    except Rejected:
        return None
    mask = np.zeros(scene.labels.shape, bool)
    mask[box] = part
    return tumour, scene, mask


@pytest.mark.parametrize("lesion_class", TUMOURS)
def test_tumours_lie_in_their_organ_in_one_piece_of_their_stage(volume, lesion_class):
    found = [put(volume, lesion_class, seed) for seed in range(12)]
    done = [f for f in found if f]
    assert len(done) >= 6
    for tumour, scene, mask in done:
        organ = scene.labels == VALUE[home(lesion_class)]
        if not tumour.exophytic:
            assert not (mask & ~organ).any()
        assert mask.sum() >= 8
        assert ndimage.label(mask)[1] == 1  # 6-connected
        radius = radius_mm(mask.sum() * scene.voxel_mm3)
        assert (radius <= EARLY_MM) == lesion_class.endswith("early")
        assert mask.sum() * scene.voxel_mm3 == pytest.approx(tumour.volume_mm3, rel=PARAMS.volume_tolerance)


def test_exophytic_kidney_tumours_reach_into_fat_and_nothing_else(volume):
    params = LesionParams(exophytic=1, kidney_mm=(10.5, 14))
    done = [f for seed in range(20) if (f := put(volume, "kidney_late", seed, params))]
    assert len(done) >= 5
    for tumour, scene, mask in done:
        assert tumour.exophytic
        outside = mask & (scene.labels != VALUE["kidney"])
        assert outside.any()
        assert not (outside & ((scene.labels > 0) | scene.foreign)).any()
        assert (scene.before[outside] >= SOFT_HU[0]).all()
        assert (mask & (scene.labels == VALUE["kidney"])).sum() >= 0.35 * mask.sum()
    never = LesionParams(exophytic=0)
    assert not any(Tumour.draw(np.random.default_rng(s), never, "kidney_late").exophytic for s in range(20))
    assert not any(Tumour.draw(np.random.default_rng(s), params, "liver_late").exophytic for s in range(20))


def test_a_tumour_that_the_source_marked_keeps_its_label_and_its_distance(volume):
    labels = volume.labels.copy()
    labels[15:30, 30:42, 24:34] = 9
    from dataclasses import replace

    marked = replace(volume, labels=labels, legend={**volume.legend, 9: "liver_tumour"}, source_id="marked")
    for seed in range(8):
        if (found := put(marked, "liver_late", seed)) is None:
            continue
        _, scene, mask = found
        own = scene.labels == VALUE["liver_tumour"]
        assert ndimage.distance_transform_cdt(~own, "taxicab")[mask].min() > APART  # or both were one
        before = scene.labels.copy()
        scene.labels[mask] = VALUE["liver_late"]
        assert set(np.unique(scene.labels)) <= set(range(len(LABELS)))
        assert (scene.labels[~mask] == before[~mask]).all()


def test_an_organ_without_room_is_refused(volume):
    tumour = Tumour.draw(np.random.default_rng(0), LesionParams(liver_mm=(50, 60)), "liver_late")
    scene = CtScene.around(volume, (24, 36, 28), None)
    with pytest.raises(Rejected, match="does not fit"):
        tumour.rasterise(scene, (24, 36, 28), 0.1)


def test_stage_by_equivalent_radius():
    assert radius_mm(ball_mm3(10.0)) == pytest.approx(10)
    x, y, z = np.ogrid[-12:13, -12:13, -12:13]
    ball = x * x + y * y + z * z <= 100
    assert radius_mm(float(ball.sum())) == pytest.approx(10, abs=0.05)


def test_two_diagonal_cubes_are_two_pieces():
    mask = np.zeros((8, 8, 8), bool)
    mask[1:4, 1:4, 1:4] = True
    mask[4:6, 4:6, 4:6] = True  # touches at a corner
    kept = largest(mask)
    assert kept.sum() == 27
    assert not kept[4:, 4:, 4:].any()


def test_sizes_cover_their_range():
    radii = [Tumour.draw(np.random.default_rng(s), PARAMS, "liver_early").radius_mm for s in range(300)]
    assert min(radii) >= 4
    assert max(radii) <= 9.5
    assert np.median(radii) == pytest.approx(np.sqrt(4 * 9.5), rel=0.1)  # log-uniform
