"""Plaques beside other structures: a vessel that leaves an aorta and runs along muscle, its labels known."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from lesionforge.generators.lesion import bed, site
from lesionforge.generators.lesion.classes import PLAQUES, VALUE
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.lesion.plaque import Plaque
from lesionforge.generators.lesion.scene import CtScene
from lesionforge.generators.lesion.vessels import from_label
from lesionforge.generators.types import Rejected
from tests.generators.lesion.toys import LUMEN, STEP_MM, TUBE_MM, centreline, noisy, spec, volume

LEGEND = {1: "coronary", 2: "aorta", 3: "myocardium", 4: "epicardial_fat"}
PARAMS = LesionParams(size=64, plaques=(1, 1), remodelling=(1.2, 1.3), percent_ds=(25, 60), keep_source=True)


@cache
def scene(labelled=True, edge=(48, 60, 124)):
    """A tube between an aorta's wall, .5 mm off along its first 13 mm, on two sides, and muscle; in fat."""
    line = centreline()
    grid = np.stack(np.meshgrid(*(np.arange(n) * STEP_MM for n in edge), indexing="ij"), axis=-1)
    gap, _ = cKDTree(line).query(grid)
    lumen = gap <= TUBE_MM
    x, y = 6 + 2.5 * np.sin((grid[..., 2] - 3) / 14), 12 + 3 * np.cos((grid[..., 2] - 3) / 17)
    aorta = ((grid[..., 0] < x - TUBE_MM - 0.5) | (grid[..., 1] < y - TUBE_MM - 0.5)) & (grid[..., 2] < 16)
    muscle = (grid[..., 1] > 16.2) & ~lumen
    labels = np.full(edge, 4, np.uint8)
    labels[muscle], labels[aorta], labels[lumen] = 3, 2, 1
    hu = np.select([lumen | aorta, muscle], [LUMEN, 100], -95).astype(float)
    hu = noisy(ndimage.gaussian_filter(hu, 1), np.random.default_rng(0), 12.0)
    kept = labels if labelled else np.where(labels == 1, 1, 0).astype(np.uint8)
    return volume(hu, kept, LEGEND if labelled else {1: "coronary"}, (STEP_MM,) * 3), labels


@pytest.mark.parametrize("labelled", [True, False])
def test_no_plaque_changes_what_lies_about_its_vessel(labelled):
    """The aorta by its label or by its HU; muscle by its label, but for the wall that no label leaves room for."""
    source, truth = scene(labelled)
    generator, seen, near = LesionGenerator(PARAMS), 0, 0
    gap = ndimage.distance_transform_edt(truth != 1, sampling=source.spacing_mm)
    for n in range(14):
        try:
            (sample,) = generator.generate([source], [spec(n, PLAQUES[n % 4])])
        except Rejected:
            continue
        seen += 1
        changed = sample.fields["ct.delta.npy.zst"] != sample.fields["source_ct.delta.npy.zst"]
        label = sample.fields["label.npy.zst"]
        at = tuple(slice(c, c + n) for c, n in zip(sample.drawn["corner"], label.shape, strict=True))
        own, off, hu = truth[at], gap[at], source.hu[at]
        ((lesion,), (drawn,)) = sample.labels["lesions"], sample.drawn["lesions"]
        zone = lesion["wall_mm_modelled"] + drawn["sigma_mm"]
        bright = (own == 2) & (hu > 0.7 * LUMEN)  # the rest of it is its edge, blurred with fat
        assert not (changed & bright).any()
        if labelled:
            assert not (changed & (own == 2)).any()
            assert not (changed & (own == 3) & (off > zone)).any()
            assert not ((label >= VALUE["calcified"]) & (own > 1) & (own < 4)).any()
        near += bool((changed & (off <= zone) & (own > 2)).any())
    assert seen >= 4
    assert near


def test_rows_beside_the_aorta_bear_no_plaque():
    source, _ = scene()
    held = CtScene.around(source, (24, 30, 60), None)
    (vessel,) = from_label(held.labels == VALUE["coronary"], held.spacing)
    clear = bed.clear(held, vessel)
    beside = vessel.points[:, 2] < 12
    assert clear[beside].mean() < 0.1
    assert clear[~beside & vessel.free].mean() > 0.7


@pytest.mark.parametrize(
    ("name", "holds", "blood"),
    [
        ("coronary_wall", True, False), ("coronary_sinus", False, False), ("epicardial_fat", True, False),
        ("heart", True, False), ("heart_myocardium", False, False), ("heart_ventricle_left", False, True),
        ("aorta", False, True), ("pulmonary_vein", False, True), ("liver", False, False),
    ],
)  # fmt: skip
def test_names(name, holds, blood):
    assert bool(bed.HOLDS.fullmatch(name)) == holds
    assert bool(bed.BLOOD.fullmatch(name)) == blood


def test_what_is_kept_stays_as_it_is_where_the_plaque_s_blur_reaches():
    source, _ = scene()
    held = CtScene.around(source, (24, 30, 60), None)
    (vessel,) = from_label(held.labels == VALUE["coronary"], held.spacing)
    lesion = Plaque("non_calcified", 12.0, 50.0, 1.2, 0.4, 1.0, 360.0, 0.0, 0.6, 50.0)
    where, draw = lesion.rasteriser(held, vessel, len(vessel.points) // 2)
    mask = draw(50.0)
    ring = ndimage.binary_dilation(mask) & ~mask
    for kept, same in ((ring, True), (ring & False, False)):
        out = site._filled(held, lesion, bed.Bed(where.box, where.room, kept), mask)[where.box]
        assert (out == held.hu[where.box])[ring].all() == same
        assert (out != held.hu[where.box])[mask].mean() > 0.9
