"""Procedural angiograms: the physics against closed forms, the look against measured statistics."""

import math

import numpy as np
import pytest
from scipy import ndimage, stats

from lesionforge.generators.carm.view import View
from lesionforge.generators.phantom.angiogram.chest import SPINE_LPS, _spine, chest
from lesionforge.generators.phantom.angiogram.detector import Collimator, Display
from lesionforge.generators.phantom.angiogram.frame import VIEWS, phantom_angiogram
from lesionforge.generators.phantom.angiogram.vessels import Projected, absorb, attenuation_per_px, line, project
from lesionforge.generators.phantom.tree.stenosis import TreeNarrowing
from lesionforge.generators.types import Branch, severity_class


def key(n):
    return n.to_bytes(32, "big")


def track(points, radius, stretch=1.0):
    points = np.array(points, np.float64)
    return Projected(points, np.full(len(points), float(radius)), np.full(len(points), stretch))


@pytest.fixture(scope="module")
def frames():
    return [phantom_angiogram(key(n), ("left", "right")[n % 2], f"s{n}", stenoses=1) for n in range(16)]


def test_the_same_key_gives_the_same_frame_and_another_one_another():
    first, again = (phantom_angiogram(key(5), "left", "a", stenoses=1) for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert first.source_id == again.source_id
    assert first.lesions == again.lesions
    assert phantom_angiogram(key(5), "left", "b", stenoses=1).source_id == first.source_id  # the name draws nothing
    others = [phantom_angiogram(key(6), "left", "a"), phantom_angiogram(key(5), "right", "a")]
    assert len({first.source_id, *(o.source_id for o in others)}) == 3


@pytest.mark.parametrize("angle", [0, 23, 45, 77])
@pytest.mark.parametrize("radius", [2.0, 4.5, 9.0])
def test_a_tube_absorbs_the_area_of_its_section(radius, angle):
    """Across a tube the absorbance adds up to mu * pi r^2 (seeds F4), and at its axis it is mu * 2r."""
    a = math.radians(angle)
    along = np.linspace(-90, 90, 91)
    points = np.stack([64.3 + along * math.sin(a), 63.8 + along * math.cos(a)], axis=1)
    drawn = line(track(points, radius), 0.03, (128, 128))
    row, col = np.mgrid[:128, :128]
    middle = np.abs((row - 64.3) * math.sin(a) + (col - 63.8) * math.cos(a)) < 30
    assert drawn[middle].sum() / 60 == pytest.approx(0.03 * math.pi * radius**2, rel=0.02)
    assert drawn.max() == pytest.approx(0.03 * 2 * radius, rel=0.03)  # averaged over a pixel


def test_projection_agrees_with_the_c_arm_and_magnifies_by_depth():
    view = View(1000, 750, 30, 20, 512, 512, (0.3, 0.3))
    points = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    seen = project(points, np.ones(3), view)
    assert np.array_equal(seen.points, view.project(points))
    assert seen.radii[0] == pytest.approx(1000 / 750 / 0.3)
    toward = project(points[:1] * 0 + 50 * view.direction + points, np.ones(3), view)  # nearer to the detector
    assert toward.radii[0] == pytest.approx(1000 / 800 / 0.3, rel=1e-3)


def test_an_inclined_vessel_is_darker_up_to_a_limit():
    view = View(1e6, 750e3, 0, 0, 64, 64, (0.3, 0.3))  # as good as parallel rays, along y
    for degrees in (0, 30, 60, 85):
        a = math.radians(degrees)
        steps = np.linspace(0, 10, 21)[:, None] * np.array([math.cos(a), math.sin(a), 0])
        assert project(steps, np.ones(21), view).stretch[10] == pytest.approx(min(1 / math.cos(a), 2.5), rel=1e-3)


def test_vessels_add_up_where_they_cross_and_join_where_they_fork():
    shape = (96, 96)
    across, down = track([[48, x] for x in range(0, 96)], 5), track([[y, 48] for y in range(0, 96)], 5)
    far = Branch("b", np.zeros((2, 3)), np.ones(2), ("", ""))
    mu = [np.full(96, 0.05)] * 2
    crossing, mask = absorb([across, down], mu, [far, far], shape)
    assert crossing[48, 48] == pytest.approx(2 * 0.5, rel=0.01)
    assert crossing[48, 10] == pytest.approx(0.5, rel=0.01)
    assert mask[48 - 5 : 48 + 6, 10].sum() in (9, 10, 11)  # 10 px wide
    assert not (mask & (crossing == 0)).any()
    child = Branch("c", np.zeros((2, 3)), np.ones(2), ("", ""), parent=0)
    twig = track([[48 + y, 48] for y in range(0, 48)], 3)
    fork, _ = absorb([across, twig], [np.full(96, 0.05), np.full(48, 0.05)], [far, child], shape)
    assert fork[48, 48] == pytest.approx(0.5, rel=0.01)  # the origin lies in the parent's lumen: nothing is added
    assert fork[80, 48] == pytest.approx(0.3, rel=0.01)


def test_contrast_is_level_where_angiograms_have_it_level():
    d = np.array([7.0, 10.0])
    np.testing.assert_allclose(attenuation_per_px(d) * d, 1)
    assert attenuation_per_px(np.array([20.0]))[0] * 20 == pytest.approx(2**0.65)
    assert attenuation_per_px(np.array([3.0]))[0] * 3 < 0.7


def test_a_stenosis_is_drawn_as_severe_as_it_says():
    """Oracle: the lumen's width by a distance transform, with and without the lesion, at the middle of its box."""
    read, wanted = [], []
    for n in range(16):
        side, segment = (("left", "6"), ("right", "1"))[n % 2]
        percent = (35.0, 50.0, 65.0)[n % 3]
        lesioned = phantom_angiogram(key(n), side, "x", stenoses=[TreeNarrowing(percent, 6.0, segment)])
        healthy = phantom_angiogram(key(n), side, "x")
        if not lesioned.lesions:
            continue
        (lesion,) = lesioned.lesions
        assert lesion.percent_ds == pytest.approx(percent, abs=3)
        assert lesion.severity_class == severity_class(lesion.percent_ds)
        gone = healthy.mask & ~lesioned.mask
        x0, y0, x1, y1 = (round(v) for v in lesion.box)
        assert gone.any()
        assert gone.sum() == gone[max(0, y0 - 2) : y1 + 2, max(0, x0 - 2) : x1 + 2].sum()  # nothing else has changed
        before, after = (ndimage.distance_transform_edt(f.mask) for f in (healthy, lesioned))
        near = np.s_[(y0 + y1) // 2 - 4 : (y0 + y1) // 2 + 5, (x0 + x1) // 2 - 4 : (x0 + x1) // 2 + 5]
        middle = before[near] > before[near].max() - 0.7  # the axis of the healthy vessel
        if before[near].max() > 5 and after[near].max() > 0:
            read.append(100 * (1 - np.median(after[near][middle & (after[near] > 0)]) / before[near].max()))
            wanted.append(lesion.percent_ds)
    assert len(read) >= 6
    assert np.median(np.abs(np.subtract(read, wanted))) < 10  # a pixel of 10 to 14


def test_labels_stand_in_the_picture(frames):
    for frame in frames:
        assert frame.image.shape == frame.mask.shape == (512, 512)
        assert frame.mask_is_complete
        assert 0.01 < frame.mask.mean() < 0.2
        assert 0.15 < frame.pixel_mm < 0.3
        assert min(math.dist(frame.view_deg, v) for v in VIEWS[frame.side]) <= 12 * math.sqrt(2)
        for lesion in frame.lesions:
            x0, y0, x1, y1 = lesion.box
            assert 0 <= x0 < x1 <= 512
            assert 0 <= y0 < y1 <= 512
            assert frame.mask[int(y0) : int(y1), int(x0) : int(x1)].any()
    assert sum(len(frame.lesions) for frame in frames) >= 12


def test_vessels_are_darker_than_what_is_around_them(frames):
    for frame in frames:
        near = ndimage.binary_dilation(frame.mask, iterations=10) & ~ndimage.binary_dilation(frame.mask, iterations=3)
        near &= frame.image > 45
        assert frame.image[frame.mask].mean() < frame.image[near].mean() - 5


def test_grey_levels_and_noise_are_those_of_angiograms(frames):
    """Stenosis study, section 6, p10 ... p90 between frames: median grey 93-135, noise sd 2.2-4.3, rho(1) .36-.65."""
    medians, noise, neighbours = [], [], []
    for frame in frames:
        field = ndimage.binary_erosion(ndimage.gaussian_filter(frame.image.astype(float), 3) > 45, iterations=8)
        medians.append(np.median(frame.image[field]))
        patches = []
        for r in range(16, 480, 16):
            for c in range(16, 480, 16):
                if field[r : r + 16, c : c + 16].all():
                    patches.append(_flat(frame.image[r : r + 16, c : c + 16]))
        quiet = np.array(sorted(patches, key=np.std)[: int(0.3 * len(patches))])
        noise.append(quiet.std())
        neighbours.append((quiet[:, :, 1:] * quiet[:, :, :-1]).mean() / (quiet**2).mean())
    assert 100 < np.median(medians) < 135
    assert 2.5 < np.median(noise) < 4.2
    assert 0.45 < np.median(neighbours) < 0.65


def _flat(patch):
    """A patch less its best-fitting quadratic."""
    y, x = np.mgrid[-1:1:16j, -1:1:16j]
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1).reshape(-1, 6)
    values = patch.astype(float).ravel()
    return (values - terms @ np.linalg.lstsq(terms, values, rcond=None)[0]).reshape(16, 16)


def test_the_background_is_displayed_as_drawn():
    rng = np.random.default_rng(0)
    view = View(1000, 750, 30, 10, 256, 256, (0.6, 0.6))
    display = Display(median=120, bright=190, veil=45, noise=0.0, sharpen=0.0, collimator=None)
    scaled, dimming = display.scale(chest(rng, view))
    image, field = display.show(rng, scaled)
    assert field.all()
    assert np.median(image) == pytest.approx(120, abs=2)
    assert np.quantile(image, 0.95) == pytest.approx(190, abs=4)
    # A small absorbance dims the display by that much less than its own exponential.
    faint, _ = display.show(rng, scaled + 0.1)
    at = np.abs(image.astype(float) - 120) < 3
    assert -np.log(faint[at].mean() / image[at].mean()) == pytest.approx(0.1 * dimming, rel=0.08)


def test_noise_is_gaussian_and_as_strong_as_drawn():
    rng = np.random.default_rng(1)
    display = Display(median=120, bright=190, veil=45, noise=4.0, sharpen=0.0, collimator=None)
    image = display.show(rng, np.zeros((256, 256)))[0].astype(float)
    assert image.std() == pytest.approx(4, rel=0.03)
    assert abs(stats.skew(image.ravel())) < 0.05
    assert abs(stats.kurtosis(image.ravel())) < 0.1


def test_a_collimator_is_dark_outside_and_open_inside():
    collimator = Collimator((20, 30), (230, 240), corner=12, soft=1.0, tilt_deg=0, level=10)
    depth = collimator.depth((256, 256))
    covered = collimator.cover(np.full((256, 256), 150.0), depth)
    assert covered[128, 128] == pytest.approx(150)
    assert covered[:10].max() < 20
    assert covered[:, 250:].max() < 20
    assert depth[128, 128] == pytest.approx(98)  # to the left border, the nearest
    assert depth[21, 31] < 0  # cut off by the rounded corner
    assert depth[26, 100] == pytest.approx(6)


@pytest.mark.parametrize(("primary", "secondary"), [(-30, 0), (0, 25), (40, 0), (30, -20)])
def test_the_spine_stands_where_the_c_arm_sees_it(primary, secondary):
    """Behind the heart and right of it; the band is widest about the projection of its axis, row by row."""
    view = View(1000, 750, primary, secondary, 128, 128, (1.6, 1.6))
    row, col = np.arange(128.0)[:, None], np.arange(128.0)[None, :]
    spine = _spine(np.random.default_rng(0), view, row, col)
    for z in (-40.0, 0.0, 40.0):
        at = view.project([[*SPINE_LPS, z]])[0]
        profile = spine[round(at[0])]
        assert (profile * col[0]).sum() / profile.sum() == pytest.approx(at[1], abs=1.5)
    assert (view.project([[*SPINE_LPS, 0.0]])[0, 1] > 63.5) == (primary > 20)  # LAO turns it to the picture's right


@pytest.mark.parametrize("size", [128, 256])
def test_other_sizes_show_the_same_field(size):
    frame = phantom_angiogram(key(2), "left", "x", size=size)
    assert frame.image.shape == (size, size)
    assert frame.pixel_mm * size == pytest.approx(phantom_angiogram(key(2), "left", "x").pixel_mm * 512)


def test_sizes_and_stenoses_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="size is 64"):
        phantom_angiogram(key(1), "left", "x", size=64)
    with pytest.raises(ValueError, match="no room"):
        phantom_angiogram(key(1), "left", "x", stenoses=[TreeNarrowing(50, 80.0)])
