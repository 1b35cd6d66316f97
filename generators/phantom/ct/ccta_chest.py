"""The chest around a CCTA phantom's heart: lungs and their vessels, mediastinum, spine, ribs, sternum, belly.

World coordinates have the heart's centre at 0; the body's midline lies to its right.
"""

from __future__ import annotations

import numpy as np

from lesionforge.generators.phantom.ct.bones import bony, ribs, spine
from lesionforge.generators.phantom.ct.canvas import Canvas, Floats, Grained, ellipsoid

MIDLINE = -14.0  # LPS x in mm
SPINE_Y = 82.0  # centre of the vertebral bodies
FRONT_Y = -84.0  # of the sternum
LUNG, FAT, MUSCLE = -855.0, -102.0, 55.0


def paint_chest(canvas: Canvas, names: dict[str, int]) -> None:
    """All but the heart, which is painted over it."""
    x, y, _ = p = canvas.grid.axes()
    bend, grain = 5.0 * canvas.waves("chest", 60.0), canvas.waves("grain", 7.0)
    wide = float(canvas.rng("wide").uniform(0.94, 1.06))
    cavity = ellipsoid(p[:2], (MIDLINE, 4.0), (136.0 * wide, 93.0)) + 0.5 * bend
    if float(cavity.min()) < 20.0:
        _wall(canvas, p, wide, bend, grain, cavity, names)
    middle = np.minimum(_mediastinum(x, y) + 0.8 * bend + 1.2 * grain, cavity)
    if float(middle.min()) < canvas.grid.voxel_mm:
        _lungs(canvas, cavity, np.minimum(cavity, -middle), names)
    # fat, with sheets and small vessels in it
    canvas.paint(middle, Grained(FAT, 6.0, grain), 0)
    if float(middle.max()) > 1.0:
        canvas.blend(np.clip(1.1 - 7.0 * np.abs(grain - 0.1 * bend), 0.0, 0.6) * (middle > 1.0), 25.0)
    gullet = np.array([(MIDLINE + 4.0, 57.0, -200.0), (MIDLINE + 2.0, 59.0, 200.0)])
    for shift, radius, hu in ((0.0, 7.0, 45.0), (-1.0, 1.6, -500.0)):
        if near := canvas.tube(gullet + np.array([0.0, shift, 0.0]), np.full(2, radius), 0.0):
            near[0].paint(near[1], hu)
    _belly(canvas, cavity, names, bend)
    spine(canvas, (MIDLINE, SPINE_Y), names["bone"])()
    _sternum(canvas, names)


def _mediastinum(x: Floats, y: Floats) -> Floats:
    """Depth in mm inside what lies between the lungs: narrow behind the sternum, wide before the spine."""
    half = 9.0 + 0.0022 * np.minimum(y + 20.0, 0.0) ** 2 + np.clip((y - 20.0) * 0.6, 0.0, 22.0)
    out: Floats = half - np.abs(x - MIDLINE - 5.0)
    return out


def _wall(
    canvas: Canvas,
    p: tuple[Floats, Floats, Floats],
    wide: float,
    bend: Floats,
    grain: Floats,
    cavity: Floats,
    names: dict[str, int],
) -> None:
    """Skin, fat, muscles with fat between them, and ribs."""
    skin = ellipsoid(p[:2], (MIDLINE, 8.0), (174.0 * wide, 124.0)) + 0.3 * bend
    canvas.paint(skin, 10.0)
    canvas.paint(skin, Grained(FAT, 8.0, grain), None, 1.6)
    meat = ellipsoid(p[:2], (MIDLINE, 6.0), (152.0 * wide, 107.0)) + 0.5 * bend
    canvas.paint(meat, Grained(MUSCLE, 8.0, grain))
    canvas.paint(
        np.minimum(np.minimum(meat - 2.0, -cavity - 4.0), 1.3 - 4.0 * np.abs(canvas.waves("sheets", 12.0))), FAT
    )
    ribs(canvas, cavity, (MIDLINE, SPINE_Y), names["bone"], cartilage_y=-62.0)


def _lungs(canvas: Canvas, cavity: Floats, inside: Floats, names: dict[str, int]) -> None:
    """Air and tissue, and vessels as the curves on which two fields of noise are 0."""
    if float(cavity.max()) < -canvas.grid.voxel_mm:
        return
    base = LUNG + 22.0 * canvas.waves("lung", 7.0) + 25.0 * canvas.waves("perfusion", 45.0)
    canvas.paint(cavity, base, names["lung"])  # all of it, so that nothing shows between lung and mediastinum
    room = np.clip((inside - 2.0) / 8.0, 0.0, 1.0)
    for scale, width, hu in ((26.0, 0.17, 280.0), (16.0, 0.19, 220.0), (9.0, 0.2, 60.0)):
        canvas.strands(f"vessels {scale}", scale, width, hu, room, 3.0)


def _sternum(canvas: Canvas, names: dict[str, int]) -> None:
    part = canvas.crop((MIDLINE - 22.0, FRONT_Y - 30.0, -48.0), (MIDLINE + 22.0, FRONT_Y + 26.0, 400.0))
    if part is None:
        return
    x, y, z = part.grid.axes()
    wave = part.waves("sternum", 14.0)
    plate = ellipsoid((x, y - FRONT_Y + 0.08 * z), (MIDLINE, 0.0), (16.0, 6.5)) + 0.9 * wave
    bony(part, np.minimum(plate, z + 45.0), Grained(120.0, 40.0, part.waves("marrow", 5.0)), names["bone"], 0.9)


def _belly(canvas: Canvas, cavity: Floats, names: dict[str, int], bend: Floats) -> None:
    """Under the diaphragm: liver on the right, fat, stomach and spleen on the left."""
    x, y, z = p = canvas.grid.axes()
    if float(z.min()) > canvas.grid.voxel_mm - 20.0:
        return
    right = -34.0 - ((x - MIDLINE + 62.0) / 80.0) ** 2 * 40.0 - (y / 80.0) ** 2 * 38.0
    left = -40.0 - ((x - MIDLINE - 66.0) / 70.0) ** 2 * 40.0 - ((y - 5.0) / 75.0) ** 2 * 40.0
    dome = np.minimum(np.maximum(right, left) + 0.6 * bend - z, cavity + 2.0)
    if not canvas.meets(dome):
        return
    spongy = canvas.waves("spongy", 8.0)
    canvas.paint(dome, MUSCLE, 0)
    canvas.paint(dome, FAT, None, 2.5)
    liver = np.minimum(dome - 2.5, MIDLINE + 42.0 - x - 0.4 * (z + 60.0))
    canvas.paint(liver, Grained(72.0, 4.0, spongy), names["liver"])
    spleen = np.minimum(ellipsoid(p, (MIDLINE + 88.0, 40.0, -75.0), (30.0, 42.0, 32.0)), dome - 2.5)
    if canvas.meets(spleen):
        canvas.paint(spleen, Grained(105.0, 6.0, spongy), names["spleen"])
    stomach = np.minimum(ellipsoid(p, (MIDLINE + 62.0, -20.0, -72.0), (32.0, 38.0, 24.0)), dome - 3.0)
    if canvas.meets(stomach):
        canvas.paint(stomach, 60.0, 0)
        canvas.paint(stomach, np.where(y < -25.0, -950.0, 12.0), None, 4.0)
