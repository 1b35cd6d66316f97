"""The geometry against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.projector import project, silhouette
from lesionforge.generators.carm.view import View

ANGLES = [(0, 0), (30, 20), (-30, 20), (-40, 30), (45, 0), (0, -25), (90, 0), (-90, 10), (12.5, 90), (180, -30)]


def rotation(axis: int, degrees: float) -> NDArray[np.float64]:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


@pytest.mark.parametrize(("primary", "secondary"), ANGLES)
def test_isocentre_falls_on_the_detector_centre(primary: float, secondary: float) -> None:
    view = View(1100, 760, primary, secondary, rows=512, cols=480)
    assert np.allclose(view.project([[0, 0, 0]]), [[255.5, 239.5]], atol=1e-9)
    assert np.isclose(np.linalg.norm(view.detector_mm - view.source_mm), 1100)
    assert np.isclose(np.linalg.norm(view.source_mm), 760)


@pytest.mark.parametrize(("primary", "secondary"), ANGLES)
def test_magnification_is_sid_over_sod_along_both_axes(primary: float, secondary: float) -> None:
    view = View(1100, 760, primary, secondary, pixel_mm=(0.3, 0.2))
    u, v, _ = view.axes
    down, right = view.project([10 * v])[0] - 255.5, view.project([10 * u])[0] - 255.5
    assert np.allclose(down, [10 * view.magnification / 0.3, 0], atol=1e-9)
    assert np.allclose(right, [0, 10 * view.magnification / 0.2], atol=1e-9)


@pytest.mark.parametrize(("primary", "secondary"), ANGLES)
def test_matrix_projects_like_the_view(primary: float, secondary: float) -> None:
    view = View(1100, 760, primary, secondary)
    points = np.random.default_rng(0).uniform(-60, 60, (50, 3))
    col, row, depth = view.projection_matrix @ np.c_[points, np.ones(50)].T
    assert np.allclose(view.project(points), np.c_[row / depth, col / depth], atol=1e-9)
    assert np.allclose(depth, (points - view.source_mm) @ view.direction)


@pytest.mark.parametrize(("primary", "secondary"), ANGLES)
def test_a_pixel_is_what_a_length_at_its_depth_is_projected_to(primary: float, secondary: float) -> None:
    view = View(1100, 760, primary, secondary, pixel_mm=(0.3, 0.2))
    points = np.array([[20, -35, 50], [0, 0, 0], [-60, 10, 5]], np.float64)
    rows = view.project(points + 0.5 * view.axes[1])[:, 0] - view.project(points - 0.5 * view.axes[1])[:, 0]
    assert view.pixel_mm_at(points) == pytest.approx(1 / rows)


def test_signs_of_lao_rao_cranial_caudal() -> None:
    """The angles say where the detector is (DICOM PS3.3 C.8.7.5); LPS: left +x, anterior -y, head +z."""
    assert np.allclose(View(1000, 750, 0, 0).direction, [0, -1, 0])
    lao, rao, cra, cau = (View(1000, 750, *a).direction for a in [(30, 0), (-30, 0), (0, 30), (0, -30)])
    assert lao[0] > 0 > rao[0]
    assert cra[2] > 0 > cau[2]
    assert (np.array([lao, rao, cra, cau])[:, 1] < 0).all()  # all still in front of the chest


def test_head_is_up_and_the_patients_left_on_the_right() -> None:
    row, col = (View(1000, 750, 0, 0).project([[10, 0, 20]]) - 255.5)[0]
    assert col > 0 > row


def test_a_posterior_point_moves_with_the_detector_angle() -> None:
    """In LAO the detector is on the left, so what lies behind (nearer the spine) appears further right."""
    spine = [[0.0, 40.0, 0.0]]
    assert View(1000, 750, 30, 0).project(spine)[0, 1] > 255.5 > View(1000, 750, -30, 0).project(spine)[0, 1]
    assert View(1000, 750, 0, 30).project(spine)[0, 0] < 255.5 < View(1000, 750, 0, -30).project(spine)[0, 0]


@pytest.mark.parametrize(("primary", "secondary"), ANGLES)
def test_no_roll_against_the_gantry_matrix(primary: float, secondary: float) -> None:
    """Rx(b) Rz(-a) takes the turned C-arm back to AP: u to +x, d to -y, v to -z."""
    back = rotation(0, secondary) @ rotation(2, -primary)
    assert np.allclose(View(1000, 750, primary, secondary).axes @ back.T, [[1, 0, 0], [0, 0, -1], [0, -1, 0]])


@pytest.mark.parametrize(("primary", "secondary", "roll"), [(30, 20, 5.4), (-30, 20, 5.4), (-40, 30, 11.1)])
def test_minimal_rotation_would_roll_the_detector(primary: float, secondary: float, roll: float) -> None:
    """As the reference system (XRA-Diff) did: turning the source by the shortest arc rolls the image."""
    view = View(1000, 750, primary, secondary)
    start = np.array([0.0, -1.0, 0.0])
    axis = np.cross(start, view.direction)
    sine, cosine = np.linalg.norm(axis), start @ view.direction
    x, y, z = axis / sine
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    shortest = np.eye(3) + sine * skew + (1 - cosine) * skew @ skew
    assert np.allclose(shortest @ start, view.direction)
    angle = math.degrees(math.acos(np.clip(shortest[:, 0] @ view.axes[0], -1, 1)))
    assert angle == pytest.approx(roll, abs=0.05)


@pytest.mark.parametrize(("primary", "secondary"), [(0, 0), (30, 20), (-60, -35)])
def test_sphere_casts_a_disc_of_the_closed_form_radius(primary: float, secondary: float) -> None:
    """Radius SID r / sqrt(SOD^2 - r^2), from the tangent cone; a voxel ball agrees within its cells."""
    view, r = View(1100, 760, primary, secondary), 10.0
    closed = view.sid_mm * r / math.sqrt(view.sod_mm**2 - r**2) / view.pixel_mm[0]
    turn = np.linspace(0, 2 * math.pi, 90)
    u, v, d = view.axes
    ring = r * math.sqrt(1 - (r / view.sod_mm) ** 2)
    circle = -(r**2) / view.sod_mm * d + ring * (np.outer(np.cos(turn), u) + np.outer(np.sin(turn), v))
    assert np.allclose(np.linalg.norm(view.project(circle) - 255.5, axis=1), closed, atol=1e-9)
    grid = Grid((84, 84, 84), 0.25)
    ball = (np.linalg.norm(grid.centres(np.argwhere(np.ones(grid.shape))), axis=1) <= r).reshape(grid.shape)
    shadow = silhouette(project(ball, grid, view), ball, grid, view)
    assert math.sqrt(shadow.sum() / math.pi) == pytest.approx(closed, abs=0.25 * view.magnification / 0.278)


def test_the_detector_edge_ends_the_field() -> None:
    view = View(1000, 500, 0, 0, rows=4, cols=4, pixel_mm=(1, 1))
    assert view.sees([[0, 0, 0], [0.99, 0, 0], [1.01, 0, 0], [-1.01, 0, 0], [0, 0, 1.01]]).tolist() == [
        True, True, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("angles", "name"),
    [
        ((0, 0), "AP 0"),
        ((30, 10), "LAO 30 CRA 10"),
        ((-29.3, -25.5), "RAO 29.3 CAU 25.5"),
        ((0, 20), "AP CRA 20"),
        ((-90, 0), "RAO 90"),
        ((-0.04, 0.04), "AP 0"),
    ],
)
def test_name_is_the_laboratorys(angles: tuple[float, float], name: str) -> None:
    assert View(1000, 750, *angles).name == name


def test_json_round_trip_and_strictness() -> None:
    view = View(1074.3, 749, 39.2, -7.9, 500, 400, (0.308, 0.1))
    assert View.from_json(view.to_json()) == view
    with pytest.raises(ValueError, match="expected exactly"):
        View.from_json({**view.to_json(), "roll_deg": 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sid_mm": 700}, "swapped"),
        ({"sod_mm": 0}, "positive"),
        ({"primary_deg": 181}, "180"),
        ({"secondary_deg": -91}, "90"),
        ({"rows": 0}, "1 or more"),
        ({"pixel_mm": (0.3, 0.0)}, "positive"),
        ({"primary_deg": math.nan}, "finite"),
    ],
)
def test_refuses_what_cannot_be(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        View(**{"sid_mm": 1000, "sod_mm": 750, "primary_deg": 0, "secondary_deg": 0, **change})


def test_refuses_points_behind_the_source() -> None:
    with pytest.raises(ValueError, match="behind the source"):
        View(1000, 750, 0, 0).project([[0, 800, 0]])
    with pytest.raises(ValueError, match=r"\(n, 3\)"):
        View(1000, 750, 0, 0).project([0, 0, 0])
