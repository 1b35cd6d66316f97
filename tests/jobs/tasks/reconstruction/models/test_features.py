import numpy as np
from scipy import ndimage
from skimage.draw import line as draw_line

from lesionforge.generators.carm.view import View
from lesionforge.jobs.tasks.reconstruction.models import features
from lesionforge.jobs.tasks.reconstruction.models.features import FAR_MM, PER_VIEW, tokens, width


def test_of_each_token_there_are_as_many_as_said(pairs):
    for pair in pairs:
        found = tokens(pair)
        assert found.features.shape == (pair.hull.sum(), width(2))
        assert np.isfinite(found.features).all()
        assert pair.hull[tuple(found.cells.T)].all()


def test_distances_are_those_of_the_whole_picture(pairs):
    """Signed distance, distance to the centreline and radius against distance transforms of every pixel."""
    for pair in pairs[:2]:
        points = pair.grid.centres(np.argwhere(pair.hull))
        view, lit = pair.views[0], pair.shadows[0] > 0
        at = tuple(np.rint(view.project(points)).astype(int).T)
        mm = view.pixel_mm[0] * (view.sod_mm + points @ view.direction) / view.sid_mm
        inside, outside = ndimage.distance_transform_edt(lit), ndimage.distance_transform_edt(~lit)
        theirs = np.where(lit[at], inside[at] - 0.5, 0.5 - outside[at]) * mm
        ours = tokens(pair).features[:, 0] * 2
        off = np.abs(ours - np.clip(theirs, -FAR_MM, FAR_MM)) / mm  # ours is at the place itself, between pixels
        assert off.max() < 1
        assert off.mean() < 0.3


def test_a_straight_vessel_runs_where_it_runs():
    for degrees in (0, 30, 75, 120):
        a = np.radians(degrees)
        end = np.rint(np.array([32 - 25 * np.sin(a), 32 + 25 * np.cos(a)])).astype(int)
        line = np.stack(draw_line(64 - end[0], 64 - end[1], *end), 1).astype(float)
        twice = features._directions(line)[10:-10]
        # Rows run down: what rises to the right has a negative slope in pixels.
        theirs = np.array([np.cos(2 * a), -np.sin(2 * a)])
        assert np.abs(twice - theirs).max() < 0.1


def test_tokens_of_a_ray_are_counted_from_the_source_on():
    ray = np.array([3, 7, 3, 3])
    number, place = features._along(ray, np.array([30.0, 5.0, 10.0, 20.0]), 4)
    assert number.tolist() == [3, 1, 3, 3]
    assert place.tolist() == [1, -1, -1, 0]


def test_the_radius_is_in_mm_at_the_depth_of_the_cell():
    """A bar 11 pixels wide: half of it, brought back by the magnification."""
    view = View(1000.0, 750.0, 0.0, 0.0, 127, 127, (0.5, 0.5))
    shadow = np.zeros((127, 127), np.uint8)
    shadow[:, 58:69] = 1
    part, _, radius = features._of_view(np.zeros((1, 3)), view, shadow, 64)
    assert abs(radius[0] - 5.5 * 0.5 * 750 / 1000) < 0.03
    assert part.shape == (1, PER_VIEW)
