"""The heart of a CCTA phantom: chambers, myocardium and epicardial fat, under the coronary trees.

The trees lie on the ovoid of ``heart.Heart``; fat fills the space between the pericardium some millimetres outside it
and the myocardium some millimetres under it, deepest in the grooves the large vessels run in. The chambers are
ellipsoids in the ovoid's own axes (base to apex, head-wards, towards the left ventricle's free wall).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit, typed
from lesionforge.generators.phantom.ct.canvas import Canvas, Floats, Place
from lesionforge.generators.phantom.tree.heart import Heart

MEAN_MM = (53.0, 36.0, 50.0)  # semi-axes of the mean heart, in which the chambers are given
AV_COSINE = -0.29  # of theta at the atrioventricular groove
VALVES = -16.0  # mm on the long axis: the plane of the valves
FAT = -98.0
OUTSIDE_MM = 20.0  # above the surface, nothing of the heart is left: no noise lifts the pericardium so far
SHALLOW_MM = 6.0  # and no muscle or chamber
HIDDEN_MM = 6.0  # under it, all that was painted before is: no noise sinks the fat so deep
ORIFICES = (15.0, -24.0)  # mm towards the free wall: of the mitral and of the tricuspid valve
UNMIXED = 45.0  # HU of blood no contrast has reached
PILLARS: tuple[tuple[Place, Place, float], ...] = (  # foot in the wall, head under the valve, radius; mm
    ((30.0, 9.0, 31.0), (6.0, 7.0, 26.0), 4.3),  # papillary muscles: the anterolateral one, two heads
    ((33.0, 1.0, 31.0), (11.0, 2.0, 27.0), 2.9),
    ((27.0, -17.0, 21.0), (4.0, -12.0, 20.0), 4.6),  # and the posteromedial one
    ((30.0, -12.0, 28.0), (9.0, -8.0, 25.0), 3.1),
    ((21.0, -5.0, -15.0), (27.0, -3.0, -41.0), 2.3),  # the moderator band, across the right ventricle
)
PAPILLARY = 4  # of ``PILLARS``
PARTS = ("epicardial_fat", "myocardium", "right_ventricle", "left_ventricle", "right_atrium", "left_atrium")


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


def world(heart: Heart, own: tuple[float, float, float]) -> Floats:
    """World point (3,) of a place in a heart's own axes, mm of the mean heart."""
    out = np.zeros(3)
    for at, mean, axis, ahead, behind in zip(own, MEAN_MM, heart.axes, heart.ahead, heart.behind, strict=True):
        out += at / mean * (ahead if at >= 0 else behind) * axis
    return out


def heart_in(canvas: Canvas, heart: Heart) -> tuple[Canvas | None, bool]:
    """The part of a canvas that a heart does not hide, if any, and whether it shows in it at all."""
    x, y, z = (axis.ravel()[::2] + 1e-9 for axis in canvas.grid.axes())  # the centre lies on no ray; every other voxel:
    slack = 2.0 * math.hypot(*canvas.grid.spacing_mm) + canvas.grid.voxel_mm  # depth changes by 2 mm a mm at most
    points = np.stack(np.meshgrid(x, y, z, indexing="ij"), axis=-1).reshape(-1, 3)
    depth = heart.depth(points).reshape(x.size, y.size, z.size)
    shows = float(depth.max()) > -OUTSIDE_MM - slack
    near = depth < HIDDEN_MM + slack
    found = [np.flatnonzero(near.any(axis=across)) for across in ((1, 2), (0, 2), (0, 1))]
    if not found[0].size:
        return None, shows
    return canvas.part([slice(max(2 * int(at[0]) - 1, 0), 2 * int(at[-1]) + 2) for at in found]), shows


def paint_heart(canvas: Canvas, heart: Heart, blood: Blood, names: dict[str, int]) -> None:
    """Fat, muscle and chambers; great vessels and coronaries come on top."""
    fields = tuple(
        canvas.waves(name, mm)
        for name, mm in (("heart", 16.0), ("mixing", 9.0), ("cords a", 9.0), ("cords b", 9.0), ("fat", 16.0))
    )
    pillars = [(*world(heart, foot), *world(heart, head), radius) for foot, head, radius in PILLARS]
    doors = [(*world(heart, (-24.0, -1.0, at)), *world(heart, (-10.0, -1.0, at)), 12.0) for at in ORIFICES]
    x, y, z = (axis.ravel() for axis in canvas.grid.axes())
    _paint(
        canvas.hu,
        canvas.labels,
        (x, y, z),
        (heart.frame[0], 1.0 / heart.frame[1]),
        MEAN_MM,
        fields,
        1.0 / canvas.grid.voxel_mm,
        (blood.left, blood.right, blood.myocardium),
        tuple(names[name] for name in PARTS),
        np.array(pillars + doors),
    )


@typed(
    "void(f8[:,:,:], u1[:,:,:], UniTuple(f8[::1], 3), UniTuple(f8[:,::1], 2), UniTuple(f8, 3), "
    "UniTuple(f8[:,:,::1], 5), f8, UniTuple(f8, 3), UniTuple(i8, 6), f8[:,::1])"
)
def _paint(
    hu: Floats,
    labels: NDArray[np.uint8],
    axes: tuple[Floats, Floats, Floats],
    frame: tuple[Floats, Floats],
    mean: Place,
    fields: tuple[Floats, ...],
    per_mm: float,
    blood: Place,
    names: tuple[int, ...],
    capsules: Floats,
) -> None:
    """All of the heart in one pass over the voxels. No fastmath: the bits must come out alike on every machine.

    Args:
        hu, labels: the canvas.
        axes: world coordinates of its voxels in mm, x, y and z.
        frame, mean: ``Heart.frame``, the semi-axes inverted; semi-axes of the mean heart.
        fields: noise that ``paint_heart`` names.
        per_mm: 1 over a voxel's edge.
        blood: HU of the left and of the right heart's, and of the myocardium.
        names: labels of ``PARTS``.
        capsules: ``PILLARS``, then orifices (7, 7).
    """
    fat, myocardium, right_ventricle, left_ventricle, right_atrium, left_atrium = names
    full, washed, muscle = blood
    own, per_semi = frame
    edge = 1.0 / per_mm  # a surface further off than that does not touch a voxel
    for i in range(hu.shape[0]):
        for j in range(hu.shape[1]):
            for k in range(hu.shape[2]):
                x = axes[0][i]
                y = axes[1][j]
                z = axes[2][k]
                a = x * own[0, 0] + y * own[0, 1] + z * own[0, 2]
                b = x * own[1, 0] + y * own[1, 1] + z * own[1, 2]
                c = x * own[2, 0] + y * own[2, 1] + z * own[2, 2]
                a *= per_semi[0, 0] if a >= 0.0 else per_semi[1, 0]
                b *= per_semi[0, 1] if b >= 0.0 else per_semi[1, 1]
                c *= per_semi[0, 2] if c >= 0.0 else per_semi[1, 2]
                turn = 1.0 / (math.sqrt(a * a + b * b + c * c) + 1e-9)
                depth = math.sqrt(x * x + y * y + z * z) * (turn - 1.0)  # along the ray from the centre
                if depth < -OUTSIDE_MM - edge:
                    continue
                u = a * turn  # of the direction on the sphere's chart
                w = c * turn
                a *= mean[0]
                b *= mean[1]
                c *= mean[2]
                lumps, mixing = fields[0][i, j, k], fields[1][i, j, k]
                cord, other = fields[2][i, j, k], fields[3][i, j, k]
                at, name = hu[i, j, k], int(labels[i, j, k])
                # the pericardium, a line 1 to 2 mm thick
                sac = depth + 4.4 + 1.2 * lumps + 1.5 * min(max(-0.03 * a, 0.0), 1.0)
                at, name = _cover(at, name, sac * per_mm + 0.5, 25.0, 0)
                at, name = _cover(at, name, (sac - 1.4) * per_mm + 0.5, FAT + 9.0 * mixing, fat)
                basal, meat_hu = a - VALVES, muscle + 5.0 * mixing
                axis = cord * cord + other * other  # 0 on curves: of strands and twigs in fat, of trabeculae in blood
                if sac > 1.4 - edge:
                    at, name = _cover(at, name, min(1.3 - axis / 0.2**2, 0.85), 50.0, -1)
                cords = max(1.0 - axis / 0.34**2, 0.0)
                meat = depth - _fat_depth(u, w, fields[4][i, j, k]) if depth > -SHALLOW_MM - edge else -edge
                if meat > -edge:
                    at, name = _cover(at, name, _blunt(meat, basal + 4.0, 8.0) * per_mm + 0.5, meat_hu, myocardium)
                # right ventricle: what its thin wall and the left ventricle leave, rough with trabeculae
                cavity = min(meat - 3.2, min(basal - 1.0, 40.0 - a))
                if cavity > -edge:
                    left_out = under(a, b, c, (-2.0, 0.0, 17.0), (54.0, 36.0, 35.0), 35.0)
                    cavity = min(cavity, -left_out - 0.5)
                    streak = _streak(0.05 * c - 0.03 * b + 0.5 * lumps + 0.3 * mixing)
                    pool = max(washed + 14.0 * mixing + 0.14 * washed * streak, UNMIXED)
                    at, name = _cover(at, name, cavity * per_mm + 0.5, pool, right_ventricle)
                    if cavity > -1.0:
                        at, name = _cover(at, name, _rough(cavity, cords), meat_hu, myocardium)
                        band = min(_inside(x, y, z, capsules, PAPILLARY) + 0.8 * cord, cavity + 1.0)
                        at, name = _cover(at, name, band * per_mm + 0.5, meat_hu, myocardium)
                # left ventricle, with trabeculae and papillary muscles along its free wall
                if basal + 1.0 > -edge and abs(c - 16.0) < 32.0 + edge:
                    left = under(a, b, c, (-6.0, 0.0, 16.0), (46.0, 25.5, 24.0), 24.0) + 0.8 * lumps
                    left = _blunt(left, basal - 1.0, 9.0)
                    # ridges along the free wall and the apex; the septum under the outflow is smooth
                    ridge = max(1.0 - 2.2 * abs(cord), 1.0 - 2.6 * abs(other - 0.5))
                    ridge = 3.0 * max(ridge, 0.0) * min(max(0.08 * (c - 4.0) + 0.045 * a, 0.0), 1.0)
                    at, name = _cover(at, name, (left - ridge) * per_mm + 0.5, full + 6.0 * mixing, left_ventricle)
                    if a > -6.0 and left > -1.0:
                        at, name = _cover(at, name, _rough(left, cords), meat_hu, myocardium)
                    if left + 2.0 > -edge:
                        for n in range(PAPILLARY):
                            pillar = min(_inside(x, y, z, capsules, n) + 1.2 * cord, left + 2.0)
                            at, name = _cover(at, name, pillar * per_mm + 0.5, meat_hu, myocardium)
                room = VALVES - 1.0 - a
                if room + 1.8 > -edge and depth > -SHALLOW_MM - edge:
                    # the groove's fat, in which the right coronary and the circumflex run, comes between
                    room = min(room, depth + 3.5 - 13.0 * _groove(u, 0.17))
                    body = under(a, b, c, (-30.0, -6.0, -25.0), (24.0, 27.0, 21.0), 21.0) + 1.5 * lumps
                    body = _blunt(body, room, 6.0)
                    at, name = _cover(at, name, (body + 1.8) * per_mm + 0.5, muscle - 15.0, 0)
                    # streaks of contrast from the head, blood without any from below, the denser blood at the back
                    streak = _streak(0.05 * c - 0.03 * b + 0.5 * lumps + 0.3 * mixing)
                    pool = washed + 24.0 * mixing + 0.34 * washed * streak + min(max(0.9 * y + b + 4.0, -40.0), 40.0)
                    at, name = _cover(at, name, body * per_mm + 0.5, max(pool, UNMIXED), right_atrium)
                    body = under(a, b, c, (-36.0, 2.0, 16.0), (19.0, 27.0, 27.0), 19.0) + 1.5 * lumps
                    body = _blunt(body, room, 6.0)
                    at, name = _cover(at, name, (body + 1.8) * per_mm + 0.5, muscle - 15.0, 0)
                    at, name = _cover(at, name, body * per_mm + 0.5, full + 6.0 * mixing, left_atrium)
                # mitral and tricuspid orifice: blood through the plane of the valves, between leaflets of muscle's HU
                if abs(basal) < 30.0 + 2.0 * edge:
                    for n in range(2):
                        door = _inside(x, y, z, capsules, PAPILLARY + 1 + n)
                        chamber, flow = (left_ventricle, full) if n == 0 else (right_ventricle, washed)
                        at, name = _cover(at, name, door * per_mm + 0.5, flow, chamber)
                        leaf = min(door + 1.0, 1.0 - abs(basal - 0.5 * abs(c - ORIFICES[n])))
                        at, name = _cover(at, name, leaf * per_mm + 0.5, muscle - 20.0, -1)
                hu[i, j, k], labels[i, j, k] = at, name


@typed("Tuple((f8, i8))(f8, i8, f8, f8, i8)")
def _cover(hu: float, named: int, share: float, tissue: float, label: int) -> tuple[float, int]:
    """HU and label of a voxel of which ``share`` is covered with a tissue, as ``Canvas.blend`` does."""
    if share > 0.0:
        hu += min(share, 1.0) * (tissue - hu)
        if label >= 0 and share >= 0.5:
            named = label
    return hu, named


@jit
def _groove(u: float, width: float) -> float:
    """1 in the atrioventricular groove, 0 away from it; ``width`` in cosines of theta."""
    off = (u - AV_COSINE) / width
    return math.exp(-(off * off))


@jit
def _fat_depth(u: float, w: float, lumps: float) -> float:
    """Depth in mm at which the myocardium begins: deep in the grooves, shallow over the free walls."""
    out = 1.6 + 8.5 * _groove(u, 0.13)
    if u > AV_COSINE:
        off = (w + 0.17 + 0.15 * u) / 0.13
        out += 3.5 * (math.exp(-(off * off)) * (1.0 - u * u))
    return out + 0.9 * lumps


@jit
def _blunt(a: float, b: float, mm: float) -> float:
    """The smaller of two depths, the edge between them rounded where they differ by less than ``mm``."""
    near = max(mm - abs(a - b), 0.0)
    return min(a, b) - near * near / (4.0 * mm)


@jit
def _streak(phase: float) -> float:
    """A smooth wave of period 1 between -1 and 1: polynomials, so that its bits are alike on every machine."""
    t = abs(2.0 * (phase - math.floor(phase)) - 1.0)
    return 2.0 * t * t * (3.0 - 2.0 * t) - 1.0


@jit
def _rough(depth: float, cords: float) -> float:
    """Share of trabeculae so many mm inside a ventricle."""
    return min(1.6 * min(max(1.2 - depth / 9.0, 0.0), 1.0) * cords, 1.0)


@jit
def _inside(x: float, y: float, z: float, capsules: Floats, n: int) -> float:
    """Depth in mm of a place in one of capsules (n, 7): both ends and the radius."""
    d0 = capsules[n, 3] - capsules[n, 0]
    d1 = capsules[n, 4] - capsules[n, 1]
    d2 = capsules[n, 5] - capsules[n, 2]
    e0 = x - capsules[n, 0]
    e1 = y - capsules[n, 1]
    e2 = z - capsules[n, 2]
    t = min(max((e0 * d0 + e1 * d1 + e2 * d2) / (d0 * d0 + d1 * d1 + d2 * d2), 0.0), 1.0)
    e0 -= t * d0
    e1 -= t * d1
    e2 -= t * d2
    out: float = capsules[n, 6] - math.sqrt(e0 * e0 + e1 * e1 + e2 * e2)
    return out


@jit
def under(x: float, y: float, z: float, centre: Place, semi: Place, scale: float) -> float:
    """Depth of one place under an ellipsoid's surface, in units of ``scale``."""
    a, b, c = (x - centre[0]) * (1.0 / semi[0]), (y - centre[1]) * (1.0 / semi[1]), (z - centre[2]) * (1.0 / semi[2])
    return (1.0 - math.sqrt(a * a + b * b + c * c)) * scale
