"""The organs of an abdomen phantom, each with its outline bent by the same smooth noise, so that none is an ellipsoid.

LPS mm around the middle of the body at the height of the first lumbar vertebra: x to the left, y back, z up.
"""

from __future__ import annotations

import numpy as np

from lesionforge.generators.phantom.ct.abdomen_liver import paint_liver
from lesionforge.generators.phantom.ct.abdomen_scene import AbdomenScene, Tissues
from lesionforge.generators.phantom.ct.canvas import Canvas, Floats, Grained, blunt, ellipsoid, tube


def paint_organs(canvas: Canvas, cavity: Floats, hu: Tissues, names: dict[str, int]) -> None:
    """Bowel first, the organs whose labels matter last.

    Args:
        cavity: depth in mm inside the space that they may fill.
    """
    x, y, z = (axis + 6.0 * canvas.waves(f"warp {n}", 42.0) for n, axis in zip("xyz", canvas.grid.axes(), strict=True))
    scene = AbdomenScene(canvas, (x, y, z), cavity, canvas.waves("lumps", 18.0), canvas.waves("fine", 7.0))
    _mesentery(scene, hu)
    for paint, low, high in (
        (_small_bowel, (-92.0, -200.0, -1e4), (92.0, 22.0, 40.0)),
        (_colon, (-170.0, -130.0, -1e4), (170.0, 70.0, 80.0)),
        (_stomach, (-80.0, -100.0, -90.0), (125.0, 70.0, 150.0)),
        (_spleen, (70.0, -20.0, -5.0), (130.0, 75.0, 100.0)),
        (_great_vessels, (-1e4, -1e4, -1e4), (1e4, 1e4, 1e4)),
        (paint_liver, (-165.0, -105.0, -75.0), (65.0, 85.0, 165.0)),
        (_left_kidney, (12.0, -2.0, -75.0), (112.0, 82.0, 75.0)),
        (_right_kidney, (-112.0, -2.0, -90.0), (-12.0, 82.0, 60.0)),
        (_pancreas, (-60.0, -45.0, -50.0), (110.0, 55.0, 65.0)),
    ):
        part = scene.within(low, high)
        if part is not None:
            paint(part, hu, names)


def _spleen(scene: AbdomenScene, hu: Tissues, names: dict[str, int]) -> None:
    body = ellipsoid(scene.p, (100.0, 28.0, 48.0), (27.0, 44.0, 50.0))
    if not scene.canvas.meets(body):
        return
    hollow = ellipsoid(scene.p, (66.0, 18.0, 46.0), (28.0, 30.0, 60.0))
    body = np.minimum(np.minimum(body, -hollow), scene.cavity - 2.0)
    scene.canvas.paint(body, Grained(hu.spleen, 3.0, scene.fine), names["spleen"])


def _pancreas(scene: AbdomenScene, hu: Tissues, names: dict[str, int]) -> None:
    """From the duodenum's loop across the spine to the spleen, in lobules with fat between them."""
    canvas = scene.canvas
    way = np.array([(-30.0, 2.0, -20.0), (-22.0, -6.0, -6.0), (-4.0, -15.0, 3.0), (24.0, -10.0, 10.0),
                    (56.0, 10.0, 24.0), (78.0, 24.0, 34.0)])  # fmt: skip
    radii = np.array([13.0, 14.0, 10.0, 11.5, 10.5, 8.0])
    gland = tube(canvas.grid, way + _sway(canvas, "pancreas", way, 4.0), radii) + 1.2 * scene.lumps + 1.5 * scene.fine
    if not canvas.meets(gland):
        return
    canvas.paint(gland, Grained(hu.pancreas, 6.0, scene.fine), names["pancreas"])
    gaps = np.abs(canvas.waves("lobules", 9.0))
    canvas.blend(np.clip(0.55 - 4.0 * gaps, 0.0, 1.0) * (gland > 0.0), -60.0)


def _sway(canvas: Canvas, name: str, way: Floats, mm: float) -> Floats:
    """Small shifts (n, 3) of way points."""
    out: Floats = mm * np.clip(canvas.rng(name).standard_normal(way.shape), -2.0, 2.0) / 2
    return out


def _mesentery(scene: AbdomenScene, hu: Tissues) -> None:
    """Vessels in the fat between the loops."""
    canvas, cavity, p = scene.canvas, scene.cavity, scene.p
    room = ((cavity > 4.0) & (p[1] < 40.0)).astype(np.float64)
    for scale, width in ((20.0, 0.14), (11.0, 0.13)):
        canvas.strands(f"twigs {scale}", scale, width, hu.veins - 20.0, room, 2.0, 0.8)


def _small_bowel(scene: AbdomenScene, hu: Tissues, names: dict[str, int]) -> None:
    """Loops: thick tubes around the curves on which two fields of noise are 0."""
    canvas, cavity, p = scene.canvas, scene.cavity, scene.p
    room = np.minimum(
        np.minimum(cavity - 6.0, 22.0 - p[1]), np.minimum(-18.0 - p[2] - 0.25 * p[1], 92.0 - np.abs(p[0]))
    )
    if not canvas.meets(room):
        return
    a, b = canvas.waves("loops a", 30.0), canvas.waves("loops b", 30.0)
    loops = np.minimum((0.75 - np.sqrt(a * a + b * b)) * 15.0, room)
    canvas.paint(loops, 92.0, names["small_bowel"])
    canvas.paint(loops, Grained(22.0, 14.0, canvas.waves("chyme", 9.0)), None, 3.2)


def _colon(scene: AbdomenScene, hu: Tissues, names: dict[str, int]) -> None:
    """A frame of haustrated gut around the belly, with stool and gas."""
    canvas, cavity, lumps, fine = scene.canvas, scene.cavity, scene.lumps, scene.fine
    way = np.array([(-104.0, 10.0, -140.0), (-106.0, 8.0, -45.0), (-88.0, -30.0, -30.0), (-45.0, -66.0, -38.0),
                    (10.0, -74.0, -48.0), (62.0, -62.0, -20.0), (104.0, -8.0, 22.0), (112.0, 18.0, -10.0),
                    (112.0, 22.0, -140.0)])  # fmt: skip
    radii = np.array([23.0, 24.0, 20.0, 18.0, 17.0, 17.0, 17.0, 15.0, 15.0])
    gut = tube(canvas.grid, way + _sway(canvas, "colon", way, 7.0), radii) + 2.2 * lumps
    gut = np.minimum(gut, cavity - 2.0)
    if not canvas.meets(gut):
        return
    canvas.paint(gut, 70.0, names["colon"])
    gas = np.clip(3.0 * canvas.waves("gas", 16.0) - 1.0, 0.0, 1.0)
    stool = 10.0 + 45.0 * fine - 300.0 * np.clip(fine - 0.7, 0.0, 1.0)
    canvas.paint(gut, stool + (-930.0 - stool) * gas, None, 2.6)


def _stomach(scene: AbdomenScene, hu: Tissues, names: dict[str, int]) -> None:
    """Stomach with water and an air level, and the duodenum around the pancreas' head."""
    canvas, cavity = scene.canvas, scene.cavity
    x, y, _ = canvas.grid.axes()
    way = np.array(
        [(44.0, 14.0, 92.0), (70.0, -4.0, 66.0), (66.0, -34.0, 30.0), (30.0, -48.0, 2.0), (-8.0, -40.0, 0.0)]
    )
    way = way + _sway(canvas, "stomach", way, 6.0)
    sac = np.minimum(
        tube(canvas.grid, way, np.array([22.0, 31.0, 27.0, 19.0, 11.0])) + 0.5 * (scene.p[0] - x), cavity - 3.0
    )
    canvas.paint(sac, 78.0, names["stomach"])
    water = float(canvas.rng("air").uniform(-52.0, -38.0))
    canvas.paint(sac, np.where(y < water, -960.0, 14.0), None, 4.5)
    bulb = np.array([(-8.0, -40.0, 0.0), (-42.0, -26.0, 0.0), (-50.0, -2.0, -20.0), (-42.0, 12.0, -48.0),
                     (0.0, 10.0, -56.0), (30.0, -4.0, -44.0)])  # fmt: skip
    gut = tube(canvas.grid, bulb + _sway(canvas, "duodenum", bulb, 3.0), 11.0) + 0.3 * (scene.p[1] - y)
    canvas.paint(gut, 85.0, names["duodenum"])
    canvas.paint(gut, 22.0, None, 3.0)


def _great_vessels(scene: AbdomenScene, hu: Tissues, names: dict[str, int]) -> None:
    """Aorta, inferior vena cava, portal system, renal and mesenteric vessels."""

    def pipe(way: list[tuple[float, float, float]], radii: list[float], value: float, label: int) -> None:
        if near := scene.canvas.tube(np.array(way), np.array(radii), 0.0):
            near[0].paint(near[1], value, label)

    vena, aorta, portal = names["inferior_vena_cava"], names["aorta"], names["portal_vein"]
    pipe([(-22.0, 14.0, -150.0), (-24.0, 12.0, 0.0), (-26.0, 4.0, 80.0), (-22.0, -2.0, 120.0)],
         [10.5, 11.5, 12.5, 12.0], hu.veins - 12.0, vena)  # fmt: skip
    for side, height in ((1.0, 2.0), (-1.0, -14.0)):
        start = (6.0, 14.0, height - 4.0)
        pipe([start, (side * 26.0, 18.0, height), (side * 46.0, 30.0, height)], [3.2, 3.0, 2.8], hu.aorta, aorta)
        pipe([(-22.0, 12.0, height - 8.0), (side * 28.0, 10.0, height - 6.0), (side * 46.0, 28.0, height - 6.0)],
             [5.0, 4.8, 4.2], hu.veins, vena)  # fmt: skip
    pipe([(4.0, 16.0, 150.0), (6.0, 15.0, 0.0), (3.0, 14.0, -150.0)], [12.0, 10.0, 8.5], hu.aorta, aorta)
    pipe([(6.0, 6.0, 8.0), (5.0, -6.0, -12.0), (4.0, -14.0, -110.0)], [3.8, 3.6, 2.8], hu.aorta, aorta)
    pipe([(6.0, 6.0, 20.0), (-4.0, -8.0, 24.0), (-34.0, -12.0, 30.0)], [3.6, 3.0, 2.4], hu.aorta, aorta)
    pipe([(-6.0, -20.0, -110.0), (-8.0, -10.0, -20.0), (-8.0, -3.0, 4.0), (-30.0, -10.0, 28.0), (-56.0, -12.0, 48.0)],
         [4.5, 6.0, 7.0, 7.0, 6.0], hu.veins, portal)  # fmt: skip
    pipe([(-8.0, -3.0, 4.0), (26.0, 2.0, 14.0), (58.0, 20.0, 28.0), (80.0, 30.0, 40.0)], [5.5, 5.0, 4.5, 4.0], hu.veins,
         portal)  # fmt: skip


def _left_kidney(scene: AbdomenScene, hu: Tissues, names: dict[str, int]) -> None:
    _kidney(scene, hu, names, 1.0, 2.0)


def _right_kidney(scene: AbdomenScene, hu: Tissues, names: dict[str, int]) -> None:
    _kidney(scene, hu, names, -1.0, -14.0)


def _kidney(scene: AbdomenScene, hu: Tissues, names: dict[str, int], side: float, height: float) -> None:
    """A bean in its fat, the hilum to the front and the midline, pyramids a little darker than the cortex."""
    canvas, p = scene.canvas, scene.p
    up = p[2] - height
    q = (side * p[0] - 62.0 + 0.18 * up, p[1] - 40.0 - 0.12 * up, up)
    bean = ellipsoid(q, (0.0, 0.0, 0.0), (27.0, 25.0, 54.0))
    if not canvas.meets(bean, -7.0):
        return
    sinus = ellipsoid(q, (-17.0, -5.0, 0.0), (16.0, 10.0, 22.0))
    canvas.paint(bean, -104.0, 0, -7.0)
    body = blunt(bean, -sinus, 6.0)
    cortex = hu.kidney + 0.4 * (hu.kidney - hu.medulla)
    canvas.paint(body, Grained(cortex, 4.0, scene.fine), names["kidney"])
    # pyramids: a fan around the sinus, before it and behind, columns of cortex between them
    reach = np.abs(q[2]) + np.maximum(q[0] + 32.0, 4.0)
    fan = 3.4 * q[2] / reach + 0.3 * side + 0.12 * scene.lumps
    gap = (0.5 - np.abs(fan - np.floor(fan) - 0.5)) * reach / 3.4
    pyramids = np.minimum(gap, 0.7 * np.abs(q[1] + 5.0 + 4.0 * scene.lumps)) - 1.6
    pyramids = np.minimum(blunt(pyramids, bean - 6.0, 5.0), -sinus - 0.8)
    canvas.paint(pyramids, Grained(hu.medulla, 4.0, scene.fine))
    room = np.clip((np.minimum(sinus, bean) - 1.0) / 2.0, 0.0, 1.0)
    canvas.strands("calyx", 11.0, 0.35, hu.veins - 30.0, room, 2.0)
