from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators.lesion import grain, texture
from lesionforge.generators.lesion.classes import DELTA_HU, LEGEND, LEVEL, PLAQUE_HU, PLAQUES, VALUE, home
from lesionforge.generators.lesion.filler import Patch
from lesionforge.generators.lesion.texture import CAPSULE_MM, TextureFiller, syntumor


def patch(lesion_class="liver_early", mean_hu=None, sigma=0.0, n=40, radius=9.0, spacing=1.0):
    x, y, z = np.ogrid[:n, :n, :n]
    mask = (x - n / 2) ** 2 + (y - n / 2) ** 2 + (z - n / 2) ** 2 <= radius**2
    hu = 100 + sigma * np.random.default_rng(1).standard_normal(mask.shape)
    others = np.full(mask.shape, VALUE[home(lesion_class)] if lesion_class != "healthy" else 1, np.uint8)
    return Patch(hu.astype(np.float32), mask, others, LEGEND, lesion_class, (spacing,) * 3, radius * spacing, mean_hu)


def fill(p, seed=0, **options):
    return TextureFiller(**options).fill([p], [np.random.default_rng(seed)])[0]


@pytest.mark.parametrize("seed", range(5))
def test_tumours_are_darker_by_no_more_than_delta(seed):
    p = patch()
    drop = p.hu - fill(p, seed)
    assert (drop >= -1e-4).all()
    assert (drop <= DELTA_HU[1] + 1e-4).all()
    assert DELTA_HU[0] * LEVEL[0] * 0.6 < drop[p.mask].mean() < DELTA_HU[1] * LEVEL[1] * 1.4


def test_a_texture_lies_between_nothing_and_all_and_varies():
    rng = np.random.default_rng(0)
    found = [syntumor(rng, (48, 40, 44), (1.0, 1.0, 1.0), 0.52) for _ in range(8)]
    assert all(t.shape == (48, 40, 44) and (t >= 0).all() and (t <= 1).all() for t in found)
    assert np.mean([t.mean() for t in found]) == pytest.approx(0.52, abs=0.1)
    assert all(t.std() > 0.01 for t in found)


def test_every_lesion_has_its_own_texture_and_the_same_seed_the_same():
    p = patch(mean_hu=50)
    assert (fill(p, 1) == fill(p, 1)).all()
    assert np.abs(fill(p, 1) - fill(p, 2))[p.mask].max() > 1
    both = TextureFiller().fill([p, p], [np.random.default_rng(2), np.random.default_rng(1)])
    assert (both[1] == fill(p, 1)).all()  # whoever shares the batch


@pytest.mark.parametrize("lesion_class", ["calcified", "mixed", "liver_late"])
def test_a_round_draws_what_does_not_depend_on_the_mean_once(lesion_class):
    p = patch(lesion_class, 100.0, sigma=8)
    with mock.patch.object(ndimage, "gaussian_filter", wraps=ndimage.gaussian_filter) as blur:
        first, drawn = fill(p, 1, capsule=1.0), blur.call_count
        again = fill(p.asked(60.0), 1, capsule=1.0)
        nodules = texture.HALVINGS if lesion_class == "mixed" else 0  # which are the more, the denser it is
        assert blur.call_count <= drawn + nodules
    fresh = fill(patch(lesion_class, 60.0, sigma=8), 1, capsule=1.0)
    assert (again == fresh).all()
    assert (again != first).any()
    assert (fill(p.asked(60.0), 2, capsule=1.0) != fresh).any()


def test_what_lies_about_a_mask_is_what_is_so_near_by_the_distance_transform():
    rng = np.random.default_rng(0)
    for spacing in ((0.4, 0.7, 2.5), (2.0, 2.0, 2.0), (1.0, 0.8, 0.5)):
        mask = rng.random((9, 14, 2)) < 0.02
        near = ndimage.distance_transform_edt(~mask, sampling=spacing) <= 2.0
        assert (grain.within(mask, 2.0, spacing) == near).all()


def test_healthy_and_nothing_return_the_background():
    p = patch("healthy")
    assert (fill(p) == p.hu).all()
    p = replace(patch(), mask=np.zeros((40, 40, 40), bool))
    assert (fill(p) == p.hu).all()


@pytest.mark.parametrize("lesion_class", [*PLAQUES, "liver_early", "pancreas_late"])
def test_the_tissue_has_the_mean_asked_for(lesion_class):
    plaque = lesion_class in PLAQUES
    wanted = PLAQUE_HU[lesion_class].mean if plaque else 55.0
    p = patch(lesion_class, wanted, sigma=12, radius=5.0, spacing=0.4 if plaque else 1.0)
    out = fill(p)
    assert out.dtype == np.float32
    assert out[p.mask].mean() == pytest.approx(wanted, abs=6)
    if lesion_class in ("non_calcified", "liver_early"):  # the scan's grain goes on through the lesion
        assert 4 < out[p.mask].std() < 25


def test_calcium_is_densest_inside_and_mixed_plaque_holds_nodules_of_it():
    p = patch("calcified", 770, radius=6.0, spacing=0.4)
    out = fill(p)
    middle = tuple(slice(n // 2 - 2, n // 2 + 2) for n in out.shape)
    assert out[middle].mean() > out[p.mask].mean() + 50
    p = patch("mixed", 150, radius=6.0, spacing=0.4)
    inside = fill(p)[p.mask]
    assert np.median(inside) < 130
    assert inside.max() > 300


def test_nodules_of_mixed_plaque_stay_brighter_than_a_bright_lumen():
    p = patch("mixed", 200, radius=6.0, spacing=0.4)
    lumen = ~p.mask & (p.others == VALUE["coronary"])
    assert lumen.any()
    usual, bright = (replace(p, hu=np.where(lumen, np.float32(hu), p.hu)) for hu in (330, 734))
    densest = [float(fill(one)[p.mask].max()) for one in (usual, bright)]
    assert densest[1] > 1.2 * densest[0]


def test_a_capsule_is_a_brighter_rim():
    p = patch(mean_hu=40, radius=12.0)
    plain, rimmed = fill(p, 3), fill(p, 3, capsule=1.0)
    rise = rimmed - plain
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(p.mask)
    assert (rise[p.mask & (depth <= CAPSULE_MM)] > 15).all()
    assert (np.abs(rise[p.mask & (depth > CAPSULE_MM)]) < 1e-3).all()


def test_vessels_and_fat_do_not_show_through():
    p = patch(mean_hu=40, sigma=8)
    hu = p.hu.copy()
    hu[18:22, :, 18:22] = 230  # a vessel through the lesion
    out = fill(replace(p, hu=hu))
    through = np.zeros(p.mask.shape, bool)
    through[18:22, 14:26, 18:22] = True
    assert out[through].mean() == pytest.approx(40, abs=25)


def test_a_tumour_that_reaches_out_of_its_organ_shows_neither_the_organ_s_edge_nor_what_lay_there():
    """Oracle: the same tumour in an organ without an end. Blurred edges (3 mm here) left seams in real CT."""
    rng = np.random.default_rng(0)
    shape, spacing = (40, 40, 40), (1.0, 1.0, 1.0)
    noise = 8 * ndimage.gaussian_filter(rng.standard_normal(shape), 0.6).astype(np.float32) * 3
    far = np.sqrt(sum((n - 20.0) ** 2 for n in np.indices(shape)))
    mask = far < 12
    inside = np.zeros(shape, bool)
    inside[:22] = True
    edge = ndimage.gaussian_filter(np.where(inside, 30.0, -100.0), 1.3).astype(np.float32)
    others = np.where(inside | mask, VALUE["kidney"], 0).astype(np.uint8)  # a mask counts as its organ
    over = Patch(edge + noise, mask, others, LEGEND, "kidney_late", spacing, 12.0)
    whole = replace(over, hu=30 + noise, others=np.full(shape, VALUE["kidney"], np.uint8))
    seamed, plain = (fill(one) for one in (over, whole))
    core = far < 10
    assert abs(np.median((seamed - plain)[core])) < 3
    assert np.percentile(np.abs(seamed - plain)[core], 99) < 6 * noise.std()
    rows = [float(seamed[i][core[i]].mean() - plain[i][core[i]].mean()) for i in range(12, 29)]
    assert max(map(abs, rows)) < noise.std()
    assert seamed[24:][core[24:]].std() > 0.6 * plain[24:][core[24:]].std()


def test_a_tumour_that_bulges_from_a_corner_of_its_organ_has_the_scan_s_grain_all_over():
    """The organ's own grain lies along none of the axes there: the fat's serves as well."""
    noise = np.random.default_rng(1).normal(0, 12, (48, 48, 48)).astype(np.float32)
    organ = np.zeros(noise.shape, bool)
    organ[:, :24, :24] = True
    mask = np.sqrt(sum((n - 24.0) ** 2 for n in np.indices(noise.shape))) < 14
    hu = ndimage.gaussian_filter(np.where(organ, 180.0, -100.0), 0.7).astype(np.float32) + noise
    others = np.where(organ | mask, VALUE["kidney"], 0).astype(np.uint8)
    made = fill(Patch(hu, mask, others, LEGEND, "kidney_late", (1.5, 1.5, 1.5), 120.0))
    fine = made - ndimage.gaussian_filter(made, 1.0)
    outside = ndimage.binary_erosion(mask, iterations=2)
    outside[:, :26] = outside[:, :, :26] = False
    assert fine[outside].std() > 0.6 * (noise - ndimage.gaussian_filter(noise, 1.0)).std()


def test_what_lay_in_the_fat_that_a_tumour_bulges_into_leaves_no_outline():
    noise = np.random.default_rng(1).normal(0, 12, (48, 48, 48)).astype(np.float32)
    organ, vessel = np.zeros(noise.shape, bool), np.zeros(noise.shape, bool)
    organ[:, :24, :24] = True
    vessel[:, 28:32, 28:32] = True
    mask = np.sqrt(sum((n - 24.0) ** 2 for n in np.indices(noise.shape))) < 14
    hu = ndimage.gaussian_filter(np.where(organ, 180.0, np.where(vessel, 250.0, -100.0)), 0.7).astype(np.float32)
    others = np.where(organ | mask, VALUE["kidney"], 0).astype(np.uint8)
    made = fill(Patch(hu + noise, mask, others, LEGEND, "kidney_late", (1.5, 1.5, 1.5), 120.0))
    along = made[18:30].mean(0)  # the noise averages out along the vessel, its outline does not
    left = (along - ndimage.gaussian_filter(along, 2.0))[26:34, 26:34]
    assert left.std() < 2 * 12 / np.sqrt(12)


def test_a_lesion_that_is_drawn_again_is_drawn_as_if_for_the_first_time():
    p = patch(sigma=10.0, mean_hu=60.0)
    p.others[:20] = 0  # it bulges out of its organ
    first = fill(p)
    assert p.memo
    for again in (p.asked(40.0), replace(p, hu=p.hu + 50)):
        assert np.array_equal(fill(again), fill(replace(again)))  # with what is remembered, and without
        assert not np.array_equal(fill(again), first)


def test_lent_grain_comes_in_pieces_too_large_to_show_as_a_pattern():
    fine = np.random.default_rng(0).standard_normal((80, 80, 80)).astype(np.float32)
    x, y, z = np.ogrid[-40:40, -40:40, -40:40]
    hole = x * x + y * y + z * z <= 28**2
    out = grain.borrowed(fine, ~hole, hole)
    assert np.array_equal(out[~hole], fine[~hole])
    _, times = np.unique(out[hole], return_counts=True)
    assert times.max() <= 2
    assert out[hole].std() == pytest.approx(1, abs=0.02)
    assert (grain.borrowed(fine, np.zeros_like(hole), hole) == 0).all()  # no flat tissue, no grain
