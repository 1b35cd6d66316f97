"""The surface of a tree's voxels: closed forms for its shadow and for how far rays run inside it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.projector import project
from lesionforge.generators.carm.surface import Surface, chords, shadow, surface
from lesionforge.generators.carm.view import View
from lesionforge.generators.phantom.tree.coronary import phantom_tree
from lesionforge.generators.types import CoronaryTree
from tests.generators.carm.conftest import marked
from tests.generators.carm.shapes import sphere, tube, tube_volume

FAR = View(1e7, 1e7 - 1, 30, 20, 800, 800, (0.05, 0.05))  # as good as parallel: an area is a shape's own


def tree_of(points: np.ndarray, edge: float, lattice: np.ndarray | None = None) -> CoronaryTree:
    return CoronaryTree("s", "id", "", "left", points.astype(np.float32), (edge,) * 3, lattice=lattice)


def volume(skin: Surface) -> float:
    a, b, c = np.moveaxis(skin.vertices[skin.triangles].astype(float), 1, 0)
    return float((a * np.cross(b, c)).sum() / 6)


def area(skin: Surface, view: View) -> float:
    return float((chords(skin, view) > 0).sum() * view.pixel_mm[0] ** 2 / view.magnification**2)


@pytest.mark.parametrize(
    ("edge", "radius"), [(0.33, 0.75), (0.33, 1.5), (0.4, 0.75), (0.4, 1.5), (0.5, 1.5), (0.5, 2.5)]
)
def test_shadows_of_tubes_are_right(edge: float, radius: float) -> None:
    """Within 3 % of a capsule's own in the mean of directions; that of whole voxels is 10 % and more too large."""
    half, ratios, volumes = 6, [], []
    for n in range(6):
        rng = np.random.default_rng(n)
        points = tube(rng, radius, half, edge)
        way = np.linalg.svd(points - points.mean(0), full_matrices=False)[2][0]
        across = math.sqrt(1 - float(way @ FAR.direction) ** 2)
        skin = surface(tree_of(points, edge))
        ratios.append(area(skin, FAR) / (4 * radius * half * across + math.pi * radius**2))
        volumes.append(volume(skin) / tube_volume(radius, half))
    assert np.mean(ratios) == pytest.approx(1, abs=0.03)
    assert np.mean(volumes) == pytest.approx(1, abs=0.07)


def test_a_sphere_s_shadow_is_a_circle_of_the_cone_beam_s_size() -> None:
    view, radius = View(1050, 750, -35, 25, 512, 512, (0.1, 0.1)), 5.0
    skin = surface(tree_of(sphere(np.random.default_rng(0), radius, 0.33), 0.33))
    lengths = chords(skin, view)
    assert (lengths > 0).sum() * 0.01 == pytest.approx(
        math.pi * (1050 * radius / math.sqrt(750**2 - radius**2)) ** 2, rel=0.02
    )
    assert lengths.max() == pytest.approx(2 * radius, rel=0.03)
    assert lengths.sum() * (0.1 / view.magnification) ** 2 == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.02)


def test_no_ray_enters_without_leaving() -> None:
    """Not one pixel off on a whole tree, edges through pixels' centres (AP, whole numbers) included."""
    tree = phantom_tree(b"s" * 32, "left", "s", varied=False)
    centre = tree.points.mean(0)
    skin = surface(tree)
    for view in (View(1000, 750, 0, 0), View(1000, 750, 33, -21)):
        lengths = chords(skin, view, centre)
        assert ((lengths > 0) == shadow(skin, view, centre)).all()
        grid = Grid((256,) * 3, 0.4)
        other = project(marked(grid, tree.points - centre), grid, view)
        assert np.abs(lengths - other).max() < 30  # a vessel along the ray; one face too few would be 700 mm
        assert lengths.sum() == pytest.approx(other.sum(), rel=0.05)
    box = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    lengths = chords(surface(tree_of(box, 1.0)), View(1000, 500, 0, 0, 65, 65, (2.0, 2.0)))
    assert lengths[32, 32] == pytest.approx(7, abs=0.2)
    assert (lengths > 0).sum() == pytest.approx(49, abs=1)


def test_turned_and_mirrored_lattices_give_the_same_surface() -> None:
    """A label's array may run any way, and lie askew in the patient."""
    rng = np.random.default_rng(3)
    index = np.unique(np.rint(tube(rng, 1.5, 5, 1.0) * [3, 2, 2]).astype(int), axis=0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    plain = volume(surface(tree_of(index * 0.4, 0.4)))
    for axes in (turn, -turn, np.eye(3)[[2, 0, 1]], np.diag([-1, 1, 1])):
        skin = surface(tree_of(index @ (0.4 * axes).T, 0.4, 0.4 * axes))
        assert volume(skin) == pytest.approx(plain, rel=1e-3)  # outwards, whatever the handedness


def test_a_surface_keeps_its_bits() -> None:
    skin = surface(phantom_tree(b"s" * 32, "right", "s"))
    again = surface(phantom_tree(b"s" * 32, "right", "s"))
    assert np.array_equal(skin.vertices, again.vertices)
    assert np.array_equal(skin.vertices * 4096, np.rint(skin.vertices * 4096))
