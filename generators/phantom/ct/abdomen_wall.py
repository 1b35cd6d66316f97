"""The abdomen's wall and what bears it: skin, fat, muscles, ribs, spine, psoas; the lungs' bases on the diaphragm."""

from __future__ import annotations

import numpy as np

from lesionforge.generators.phantom.ct.bones import MUSCLE, ribs, spine
from lesionforge.generators.phantom.ct.canvas import Canvas, Floats, Grained, ellipsoid

SPINE = (0.0, 44.0)
LUNG = -850.0


def paint_wall(canvas: Canvas, fat_hu: float, names: dict[str, int]) -> Floats | None:
    """All that surrounds the organs.

    Returns:
        Depth in mm inside the cavity that they fill, the diaphragm its roof; None outside the body.
    """
    x, y, z = p = canvas.grid.axes()
    rng = canvas.rng("wall")
    wide, deep, pad = float(rng.uniform(0.95, 1.06)), float(rng.uniform(0.95, 1.06)), float(rng.uniform(14.0, 32.0))
    bend, grain = 5.0 * canvas.waves("bend", 70.0), canvas.waves("grain", 8.0)
    skin = ellipsoid(p[:2], (0.0, 0.0), (154.0 * wide + pad, 102.0 * deep + pad)) + 0.4 * bend
    if not canvas.meets(skin):
        return None
    inner = ellipsoid(p[:2], (0.0, -6.0), (136.0 * wide, 88.0 * deep)) + 0.6 * bend
    fat = Grained(fat_hu, 6.0, grain)
    walled = float(inner.min()) < 1.0 + canvas.grid.voxel_mm  # ribs reach 0.8 mm in
    if walled:
        _layers(canvas, x, y, skin, inner, fat, grain)
    canvas.paint(inner, fat)
    if walled:
        ribs(canvas, inner - 2.0, SPINE, names["bone"], cartilage_y=-45.0, floor_mm=15.0)
    paint_spine = spine(canvas, SPINE, names["bone"], 34.0)
    paint_spine()
    soft = 1.0 + 0.1 * canvas.grid.voxel_mm  # how many radii out a muscle 10 mm thick may be seen
    for side in (-1.0, 1.0):
        way = np.array([(side * 25.0, 50.0, 25.0), (side * 40.0, 40.0, -55.0), (side * 54.0, 28.0, -130.0)])
        if near := canvas.tube(way, np.array([6.0, 17.0, 21.0]), 10.0):
            near[0].paint(near[1] + 1.5 * grain[near[0].at], MUSCLE)
        across, through = 22.0 * soft, 10.0 * soft
        if square := canvas.crop(
            (side * 68.0 - across, 60.0 - through, -1e4), (side * 68.0 + across, 60.0 + through, 0.0)
        ):
            u, v, w = square.grid.axes()
            depth = ellipsoid((u - side * 68.0, v - 60.0), (0.0, 0.0), (22.0, 10.0))
            square.paint(np.minimum(np.minimum(depth, inner[square.at] + 2.0), -w - 5.0), MUSCLE)
    roof = _dome(x, y, float(rng.uniform(-10.0, 10.0))) + 0.8 * bend - z
    if canvas.meets(3.0 - roof) or float(z.max()) > 60.0 - canvas.grid.voxel_mm:
        _chest(canvas, inner, roof, bend, grain, fat, names)
    paint_spine()  # over the diaphragm
    out: Floats = np.minimum(inner, roof - 2.5)
    return out


def _layers(canvas: Canvas, x: Floats, y: Floats, skin: Floats, inner: Floats, fat: Grained, grain: Floats) -> None:
    """Skin, fat with its septa, and muscles with fat between them."""
    canvas.paint(skin, 5.0)
    canvas.paint(skin, fat, None, 2.0)
    canvas.strands("septa", 14.0, 0.12, 20.0, (skin > 3.0).astype(np.float64), 1.5, 0.6)
    flank = 8.0 + 5.0 * np.minimum(np.abs(x) / 80.0, 1.0) - 6.0 * (np.abs(x) < 8.0) * (y < 0)
    canvas.paint(inner + flank, Grained(MUSCLE, 5.0, grain))
    canvas.paint(np.minimum(0.9 - np.abs(inner + 0.5 * flank), np.abs(x) - 50.0), fat)


def _chest(
    canvas: Canvas, inner: Floats, roof: Floats, bend: Floats, grain: Floats, fat: Grained, names: dict[str, int]
) -> None:
    """Over the diaphragm: the bases of the lungs with their vessels, and of the heart."""
    p = canvas.grid.axes()
    lungs = np.minimum(inner - 3.0, -roof)
    canvas.paint(np.minimum(inner, 3.0 - roof), MUSCLE)
    canvas.paint(lungs, Grained(LUNG, 25.0, grain), names["lung"])
    canvas.strands("lung", 15.0, 0.2, 150.0, np.clip((lungs - 2.0) / 8.0, 0.0, 1.0), 3.0)
    heart = ellipsoid(p, (22.0, -30.0, 142.0), (62.0, 46.0, 48.0)) + 0.5 * bend
    if canvas.meets(heart, -6.0):
        canvas.paint(np.minimum(heart + 6.0, inner - 4.0), fat, 0)
        canvas.paint(np.minimum(heart, inner - 8.0), Grained(125.0, 8.0, grain), 0)
    canvas.paint(np.minimum(ellipsoid(p[:2], (4.0, 30.0), (34.0, 26.0)), -roof), fat, 0)


def _dome(x: Floats, y: Floats, lift: float) -> Floats:
    """Height in mm of the diaphragm: a dome on each side, the right one higher."""
    right = 112.0 - 105.0 * (((x + 62.0) / 92.0) ** 2 + ((y + 8.0) / 92.0) ** 2)
    left = 100.0 - 105.0 * (((x - 64.0) / 90.0) ** 2 + ((y + 2.0) / 90.0) ** 2)
    out: Floats = np.maximum(np.maximum(right, left), -60.0) + lift
    return out
