"""The heart of a CCTA phantom: chambers, myocardium and epicardial fat, under the coronary trees.

The trees lie on the ovoid of ``heart.Heart``; fat fills the space between the pericardium some millimetres outside it
and the myocardium some millimetres under it, deepest in the grooves the large vessels run in. The chambers are
ellipsoids in the ovoid's own axes (base to apex, head-wards, towards the left ventricle's free wall).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lesionforge.generators.kernels import jit
from lesionforge.generators.phantom.ct.canvas import Canvas, CtGrid, Floats, ellipsoid, strands, tube
from lesionforge.generators.phantom.tree.heart import Heart

MEAN_MM = (53.0, 36.0, 50.0)  # semi-axes of the mean heart, in which the chambers are given
AV_COSINE = -0.29  # of theta at the atrioventricular groove
VALVES = -16.0  # mm on the long axis: the plane of the valves
FAT = -98.0
REACH_MM = 85.0  # from the origin; no heart with its fat is larger


@dataclass(frozen=True)
class Blood:
    """HU of the blood of a scan: a compact bolus, the left heart full, the right one washed out and streaked."""

    left: float  # aorta, left heart and coronaries
    right: float
    myocardium: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Blood:
        """Lumen U(284, 367) HU (the quartiles of usual CCTA, seeds D10)."""
        return cls(float(rng.uniform(284, 367)), float(rng.uniform(120, 260)), float(rng.uniform(88, 122)))


@dataclass(frozen=True)
class Chart:
    """Where the voxels lie on a heart: its own axes in mm of the mean heart, and the depth under its surface."""

    own: tuple[Floats, Floats, Floats]
    unit: tuple[Floats, Floats, Floats]  # directions on the sphere's chart
    depth: Floats  # mm along the ray from the centre, negative outside

    @classmethod
    def of(cls, heart: Heart, grid: CtGrid) -> Chart:
        """The chart of a grid's voxels."""
        own = np.empty(grid.shape), np.empty(grid.shape), np.empty(grid.shape)
        unit = np.empty(grid.shape), np.empty(grid.shape), np.empty(grid.shape)
        depth = np.empty(grid.shape)
        semi = np.array([heart.ahead, heart.behind])
        x, y, z = (axis.ravel() for axis in grid.axes())
        _chart(x, y, z, np.stack(heart.axes), semi, np.array(MEAN_MM), own, unit, depth)
        return cls(own, unit, depth)


@jit
def _chart(
    x: Floats,
    y: Floats,
    z: Floats,
    axes: Floats,
    semi: Floats,
    mean: Floats,
    own: tuple[Floats, Floats, Floats],
    unit: tuple[Floats, Floats, Floats],
    depth: Floats,
) -> None:
    """One pass over the voxels; no fastmath: the bits must come out alike on every machine."""
    scaled = np.empty(3)
    for i in range(x.size):
        for j in range(y.size):
            for k in range(z.size):
                rho = 0.0
                for r in range(3):
                    along = x[i] * axes[r, 0] + y[j] * axes[r, 1] + z[k] * axes[r, 2]
                    scaled[r] = along / (semi[0, r] if along >= 0.0 else semi[1, r])
                    rho += scaled[r] * scaled[r]
                turn = 1.0 / (math.sqrt(rho) + 1e-9)
                own[0][i, j, k], own[1][i, j, k] = scaled[0] * mean[0], scaled[1] * mean[1]
                own[2][i, j, k] = scaled[2] * mean[2]
                unit[0][i, j, k], unit[1][i, j, k] = scaled[0] * turn, scaled[1] * turn
                unit[2][i, j, k] = scaled[2] * turn
                depth[i, j, k] = math.sqrt(x[i] * x[i] + y[j] * y[j] + z[k] * z[k]) * (turn - 1.0)


def world(heart: Heart, own: tuple[float, float, float]) -> Floats:
    """World point (3,) of a place in a heart's own axes, mm of the mean heart."""
    out = np.zeros(3)
    for at, mean, axis, ahead, behind in zip(own, MEAN_MM, heart.axes, heart.ahead, heart.behind, strict=True):
        out += at / mean * (ahead if at >= 0 else behind) * axis
    return out


def paint_heart(canvas: Canvas, heart: Heart, blood: Blood, names: dict[str, int]) -> None:
    """Fat, muscle and chambers; great vessels and coronaries come on top."""
    part = canvas.crop([-REACH_MM] * 3, [REACH_MM] * 3)
    if part is None:
        return
    canvas = part
    chart = Chart.of(heart, canvas.grid)
    own, lumps, mixing = chart.own, canvas.waves("heart", 16.0), canvas.waves("mixing", 9.0)
    sac = chart.depth + 4.4 + 1.2 * lumps + 1.5 * np.clip(-0.03 * own[0], 0, 1)
    canvas.paint(sac, 25.0, 0)  # the pericardium, a line 1 to 2 mm thick
    canvas.paint(sac - 1.4, FAT + 9.0 * mixing, names["epicardial_fat"])
    meat = chart.depth - _fat_depth(canvas, chart)
    basal = own[0] - VALVES
    muscle = blood.myocardium + 5.0 * mixing
    canvas.paint(np.minimum(meat, basal + 4.0), muscle, names["myocardium"])
    a, b = canvas.waves("cords a", 9.0), canvas.waves("cords b", 9.0)
    cords = strands(a, b, 0.34)
    # right ventricle: what its thin wall and the left ventricle leave, rough with trabeculae
    left_out = ellipsoid(own, (-2.0, 0.0, 17.0), (54.0, 36.0, 35.0))
    cavity = np.minimum(np.minimum(meat - 3.2, -left_out - 0.5), np.minimum(basal - 1.0, 40.0 - own[0]))
    canvas.paint(cavity, blood.right + 18.0 * mixing, names["right_ventricle"])
    near = np.clip(1.2 - cavity / 9.0, 0.0, 1.0) * (cavity > -1.0)
    canvas.blend(np.minimum(1.6 * near * cords, 1.0), muscle)
    # left ventricle, with trabeculae and papillary muscles along its free wall
    left = np.minimum(ellipsoid(own, (-6.0, 0.0, 16.0), (46.0, 25.5, 24.0)) + 0.8 * lumps, basal - 1.0)
    canvas.paint(left, blood.left + 6.0 * mixing, names["left_ventricle"])
    near = np.clip(1.2 - left / 9.0, 0.0, 1.0) * ((own[0] > 0) & (left > -1.0))
    canvas.blend(np.minimum(1.6 * near * cords, 1.0), muscle)
    for radius, at in ((4.6, (12.0, -13.0, 26.0)), (4.2, (12.0, 10.0, 30.0))):
        way = np.stack([world(heart, at), world(heart, (at[0] + 24.0, 0.8 * at[1], at[2] - 6.0))])
        pillar = tube(canvas.grid, way, radius) + 1.2 * a
        canvas.paint(np.minimum(pillar, left + 2.0), muscle, names["myocardium"])
    _atria(canvas, chart, blood, names, lumps, mixing)
    _valves(canvas, heart, own, blood, names)


def _groove(chart: Chart, width: float) -> Floats:
    """1 in the atrioventricular groove, 0 away from it; ``width`` in cosines of theta."""
    out: Floats = np.exp(-(((chart.unit[0] - AV_COSINE) / width) ** 2))
    return out


def _fat_depth(canvas: Canvas, chart: Chart) -> Floats:
    """Depth in mm at which the myocardium begins: deep in the grooves, shallow over the free walls."""
    u = chart.unit
    groove = _groove(chart, 0.13)
    septum = np.exp(-(((u[2] + 0.17 + 0.15 * u[0]) / 0.13) ** 2)) * (u[0] > AV_COSINE) * (1 - u[0] * u[0])
    out: Floats = 1.6 + 8.5 * groove + 3.5 * septum + 0.9 * canvas.waves("fat", 16.0)
    return out


def _atria(
    canvas: Canvas,
    chart: Chart,
    blood: Blood,
    names: dict[str, int],
    lumps: Floats,
    mixing: Floats,
) -> None:
    own = chart.own
    # the groove's fat, in which the right coronary and the circumflex run, comes between atria and ventricles
    room = np.minimum(VALVES - 1.0 - own[0], chart.depth + 3.5 - 13.0 * _groove(chart, 0.17))
    for name, centre, semi, hu in (
        ("right_atrium", (-30.0, -6.0, -25.0), (24.0, 27.0, 21.0), blood.right + 40.0 * mixing),
        ("left_atrium", (-36.0, 2.0, 16.0), (19.0, 27.0, 27.0), blood.left + 6.0 * mixing),
    ):
        body = np.minimum(ellipsoid(own, centre, semi) + 1.5 * lumps, room)
        canvas.paint(body + 1.8, blood.myocardium - 15.0, 0)
        canvas.paint(body, hu, names[name])


def _valves(
    canvas: Canvas, heart: Heart, own: tuple[Floats, Floats, Floats], blood: Blood, names: dict[str, int]
) -> None:
    """Mitral and tricuspid orifice: blood through the plane of the valves, between leaflets of muscle's HU."""
    for name, at, hu in (("left_ventricle", 15.0, blood.left), ("right_ventricle", -24.0, blood.right)):
        way = np.stack([world(heart, (-24.0, -1.0, at)), world(heart, (-10.0, -1.0, at))])
        door = tube(canvas.grid, way, 12.0)
        leaf = np.minimum(door + 1.0, 1.0 - np.abs(own[0] - VALVES - 0.5 * np.abs(own[2] - at)))
        canvas.paint(door, hu, names[name])
        canvas.paint(leaf, blood.myocardium - 20.0)
