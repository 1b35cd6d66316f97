import numpy as np
import pytest

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.view import View
from lesionforge.jobs.tasks.reconstruction.metrics import dice
from lesionforge.jobs.tasks.reconstruction.pairs import Pair
from lesionforge.jobs.tasks.reconstruction.reprojection import reprojection_scores, shadows
from tests.jobs.tasks.reconstruction import worlds

GRID = Grid((24,) * 3, 2.0)


def front(**angles):
    return View(1000, 750, angles.get("primary", 0), angles.get("secondary", 0), 128, 128, (0.6, 0.6))


def block(edge):
    """A cube of so many cells at the isocentre."""
    cells = np.zeros(GRID.shape, bool)
    cells[(slice(12 - edge // 2, 12 + edge // 2),) * 3] = True
    return cells


def square(image):
    """Edges of the box about what is lit, which is all of it."""
    rows, cols = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
    assert image[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1].all()
    return len(rows), len(cols)


@pytest.mark.parametrize("edge", [2, 4, 8])
def test_a_cube_of_cells_is_the_square_of_its_near_face(edge):
    (image,) = shadows(block(edge), GRID, [front()])
    half = edge * 2.0 / 2
    expected = 2 * half * 1000 / (750 - half) / 0.6
    assert square(image) == pytest.approx((expected, expected), abs=1)


def test_with_and_without_erosion_in_closed_form():
    views = front(), front(primary=90)
    small, large = (shadows(block(edge), GRID, views) for edge in (4, 8))
    pair = Pair(views, tuple(image.astype(np.uint8) for image in large), GRID, "left", "s", "i")
    scores = reprojection_scores(pair, block(4))
    for n in (0, 1):
        (a, b), (c, d) = square(small[n]), square(large[n])
        assert scores[f"dsc_x{n}"] == pytest.approx(2 * a * b / (a * b + c * d))
        inner, outer = (a - 2) * (b - 2), (c - 2) * (d - 2)
        assert scores[f"dsc_x{n}_eroded"] == pytest.approx(2 * inner / (inner + outer))
        far = np.linalg.norm(np.argwhere(large[n])[:, None] - np.argwhere(small[n])[None], axis=2).min(1)
        assert scores[f"chamfer_x{n}"] == pytest.approx(far.mean())  # of the small one in the large one: 0


def test_the_hull_fills_what_the_views_show_as_no_tree_can(trees):
    """Why these measures rank no method: the hull covers its silhouettes, whatever the tree is."""
    for item in worlds.pairs(trees, size=worlds.GRID, rule="half"):
        pair = item.read()
        for seen, shadow in zip(shadows(pair.hull, pair.grid, pair.views), pair.shadows, strict=True):
            assert seen[shadow > 0].mean() > 0.95
        found = shadows(pair.target, pair.grid, pair.views)
        assert all(dice(a, b > 0) > 0.4 for a, b in zip(found, pair.shadows, strict=True))


def test_as_many_views_as_there_are():
    views = front(), front(primary=60), front(secondary=30)
    pair = Pair(views, tuple(i.astype(np.uint8) for i in shadows(block(4), GRID, views)), GRID, "left", "s", "i")
    scores = reprojection_scores(pair, block(4))
    assert {name for name, value in scores.items() if value == 1} == {
        f"dsc_x{n}{end}" for n in range(3) for end in ("", "_eroded")
    }
    assert [scores[f"chamfer_x{n}"] for n in range(3)] == [0, 0, 0]
