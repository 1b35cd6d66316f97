"""The densitometric lumen on tubes rendered by another program, whose diameter is known."""

import numpy as np
import pytest

from lesionforge.generators.vessel.densitometry import Lumen, fit_lumen
from lesionforge.generators.vessel.graph import Segment, trace
from lesionforge.generators.vessel.qca import read
from tests.generators.vessel.conftest import CONTRAST
from tests.generators.vessel.tubes import Case, Tube, lesion, line, render


def longest(tube: Tube) -> tuple[Segment, int]:
    """The vessel as its mask shows it, and the row at its known middle."""
    segment = max(trace(tube.mask).segments, key=lambda s: len(s.points))
    return segment, int(np.argmin(np.linalg.norm(segment.points - tube.points[tube.middle], axis=1)))


def true_diameter(lumen: Lumen, tube: Tube) -> np.ndarray:
    gap = np.linalg.norm(lumen.points[:, None] - tube.points, axis=2)
    return tube.diameter[gap.argmin(axis=1)]


def errors(cases: list[Case], psf_sigma: float | None = None) -> np.ndarray:
    """Width, target and measured less true %DS of each case; the centreline comes from the mask, by hand nothing."""
    out = []
    for case in cases:
        segment, at = longest(case.tube)
        lumen = fit_lumen(case.tube.image, segment.points, segment.radii, psf_sigma)
        reading = read(lumen, at, round(case.half_length))
        assert reading.valid or psf_sigma, (case.width, case.percent_ds, reading.why)
        out.append((case.width, case.percent_ds, reading.percent_ds - case.percent_ds))
    return np.array(out)


def test_percent_ds_of_noisy_tubes(tubes: list[Case]) -> None:
    off = errors(tubes)
    assert np.abs(off[:, 2]).mean() < 4  # the study's best meter: 4.1
    assert abs(off[:, 2].mean()) < 2
    for low, high in ((20, 30), (40, 60), (70, 80)):  # no target is systematically missed
        assert abs(off[(off[:, 1] >= low) & (off[:, 1] <= high), 2].mean()) < 3
    for width in (8, 10, 14, 20):
        assert abs(off[off[:, 0] == width, 2].mean()) < 3
    wide = off[off[:, 0] >= 14, 2]
    assert np.abs(wide).mean() < 3


def test_percent_ds_without_noise_is_nearly_exact(clean_tubes: list[Case]) -> None:
    off = errors(clean_tubes)[:, 2]
    assert np.abs(off).mean() < 0.7
    assert np.abs(off).max() < 2.5


@pytest.mark.parametrize("psf_sigma", [0.6, 1.3])
def test_a_wrong_point_spread_costs_little(clean_tubes: list[Case], psf_sigma: float) -> None:
    assert np.abs(errors(clean_tubes, psf_sigma)[:, 2]).mean() < 2


def test_diameter_contrast_and_noise_of_a_healthy_tube() -> None:
    tube = render(line(25), lesion(10, 0, 1), np.random.default_rng(0), CONTRAST / 10)
    segment, _ = longest(tube)
    lumen = fit_lumen(tube.image, segment.points, segment.radii)
    inner = slice(15, -15)
    assert abs(lumen.diameter[inner].mean() - 10) < 0.3
    assert lumen.diameter[inner].std() < 0.7
    assert np.median(lumen.mu) == pytest.approx(CONTRAST / 10, rel=0.06)
    assert lumen.noise_sd == pytest.approx(3.4 / 105, rel=0.25)  # of -log(grey), at the grey level beside and within
    assert np.median(lumen.cnr) == pytest.approx(CONTRAST / lumen.noise_sd, rel=0.15)
    assert lumen.valid[inner].all()
    background = -np.log(118 / 255) + 0.0004 * (lumen.points[:, 0] - 96) + 0.0007 * (lumen.points[:, 1] - 96)
    assert np.abs(lumen.offset - background)[inner].max() < 0.03
    gradient = lumen.normals @ [0.0004, 0.0007]
    assert np.abs(lumen.slope - gradient)[inner].max() < 0.003


def test_a_centreline_beside_the_vessel_is_moved_onto_it() -> None:
    tube = render(line(60), lesion(10, 0, 1), np.random.default_rng(1), CONTRAST / 10)
    normal = np.array([-np.sin(np.pi / 3), np.cos(np.pi / 3)])
    points = tube.points[20:-20] + 2.2 * normal
    lumen = fit_lumen(tube.image, points, np.full(len(points), 5.0))
    assert np.abs((lumen.points - tube.points[20:-20]) @ normal)[5:-5].max() < 0.6
    assert len(lumen.points) == len(points)


def test_a_background_that_slopes_and_bends_is_not_vessel() -> None:
    tube = render(line(10), lesion(9, 50, 15), None, CONTRAST / 9)
    x, y = np.meshgrid(np.arange(192), np.arange(192))
    shade = np.exp(-0.004 * (x - 96) - 0.008 * (y - 96) + 0.08 * np.sin(x / 20) * np.cos(y / 25))
    segment, at = longest(tube)
    plain = read(fit_lumen(tube.image, segment.points, segment.radii), at, 15).percent_ds
    shaded = read(fit_lumen(tube.image * shade, segment.points, segment.radii), at, 15).percent_ds
    assert abs(plain - 50) < 1.5
    assert abs(shaded - plain) < 3


def test_the_mass_of_the_fit_is_the_area() -> None:
    """Densitometry in one line: what the vessel absorbs across it is mu pi r^2, whatever the blur."""
    tube = render(line(0), lesion(12, 60, 25), None, CONTRAST / 12, psf=1.4)
    segment, at = longest(tube)
    lumen = fit_lumen(tube.image, segment.points, segment.radii, psf_sigma=1.4)
    for row in (at, at - 40):
        x, y = np.rint(lumen.points[row]).astype(int)
        column = -np.log(tube.image[y - 22 : y + 23, x - 1 : x + 2].astype(float)).mean(axis=1)
        t = np.arange(-22, 23)
        line_fit = np.polyfit(t[np.abs(t) > 12], column[np.abs(t) > 12], 1)
        mass = (column - np.polyval(line_fit, t)).sum()
        assert lumen.mu[row] * np.pi * lumen.diameter[row] ** 2 / 4 == pytest.approx(mass, rel=0.05)


def test_the_picture_is_not_changed_and_the_fit_is_repeatable(tubes: list[Case]) -> None:
    tube = tubes[0].tube
    segment, _ = longest(tube)
    before = tube.image.copy()
    one, two = (fit_lumen(tube.image, segment.points, segment.radii) for _ in range(2))
    assert (tube.image == before).all()
    assert (one.diameter == two.diameter).all()


def test_rows_outside_the_picture_are_not_valid() -> None:
    tube = render(line(0, length=300), lesion(10, 0, 1), np.random.default_rng(2), CONTRAST / 10)
    lumen = fit_lumen(tube.image, tube.points, np.full(len(tube.points), 5.0))
    inside = (tube.points[:, 0] > 12) & (tube.points[:, 0] < 179)
    assert lumen.valid[inside].all()
    assert not lumen.valid[(tube.points[:, 0] < 0) | (tube.points[:, 0] > 191)].any()


def test_an_empty_place_is_not_a_vessel() -> None:
    tube = render(line(0), lesion(10, 0, 1), np.random.default_rng(3), CONTRAST / 10)
    points = np.column_stack([np.arange(40.0, 140), np.full(100, 40.0)])
    assert fit_lumen(tube.image, points, np.full(100, 5.0)).valid.mean() < 0.1


def test_what_cannot_be_measured_is_refused() -> None:
    image = np.full((200, 200), 100, np.uint8)
    with pytest.raises(ValueError, match="5 points is too short"):
        fit_lumen(image, np.zeros((5, 2)), np.ones(5))
    points = np.column_stack([np.arange(50.0, 90), np.full(40, 100.0)])
    with pytest.raises(ValueError, match="radius 30 px is too wide"):
        fit_lumen(image, points, np.full(40, 30.0))
