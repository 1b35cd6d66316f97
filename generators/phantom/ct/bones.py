"""Bones of CT phantoms: a cortex around spongy marrow, and the column of vertebrae."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lesionforge.generators.phantom.ct.canvas import Canvas, Floats, Grained, ellipsoid, tube

MUSCLE = 58.0


def bony(canvas: Canvas, depth: Floats, marrow: Grained, label: int, cortex_mm: float = 1.3) -> None:
    """A bone with a cortex around marrow of the given HU."""
    canvas.paint(depth, 620.0, label)
    canvas.paint(depth, marrow, None, cortex_mm)


def ribs(
    canvas: Canvas, cavity: Floats, spine_at: tuple[float, float], label: int, cartilage_y: float, floor_mm: float = 1e3
) -> None:
    """Rings in the chest's wall that fall towards the front, where they turn into cartilage.

    Args:
        cavity: depth in mm inside the chest's cavity; the ribs lie 6 mm outside it.
        spine_at: x and y of the spine, where they begin.
        cartilage_y: y in front of which they are cartilage.
        floor_mm: how far down they go.
    """
    x, y, z = canvas.grid.axes()
    rng = canvas.rng("ribs")
    spacing, phase = float(rng.uniform(27.0, 31.0)), float(rng.uniform())
    height = z + 0.42 * (spine_at[1] - y) + 0.0012 * (x - spine_at[0]) ** 2
    ring = height / spacing + phase
    away = np.sqrt(((np.abs(ring - np.floor(ring) - 0.5)) * spacing * 0.8) ** 2 + (1.25 * (cavity + 6.0)) ** 2)
    rib = np.minimum(np.minimum(6.0 - away, np.abs(x - spine_at[0]) - 20.0), height + floor_mm)
    front = np.broadcast_to(y < cartilage_y, canvas.hu.shape)
    canvas.paint(np.where(front, -10.0, rib), 640.0, label)
    canvas.paint(rib, np.where(front, 110.0, 190.0), None, 1.8)
    canvas.paint(np.where(front, rib, -10.0), 120.0, 0)


def spine(canvas: Canvas, at: tuple[float, float], label: int, vertebra_mm: float = 27.0) -> Callable[[], None]:
    """What paints vertebrae with their discs, arches and processes, the canal, and the muscles of the back beside them.

    Args:
        at: x and y of the bodies' centres, LPS mm.
        vertebra_mm: height of a vertebra and its disc.
    """
    part = canvas.crop((at[0] - 62.0, at[1] - 24.0, -1e4), (at[0] + 62.0, at[1] + 62.0, 1e4))
    if part is None:
        return lambda: None
    x, y, z = part.grid.axes()
    x, y = x - at[0], y - at[1]
    wave, marrow = part.waves("spine", 12.0), part.waves("marrow", 5.0)
    off = z / vertebra_mm + float(part.rng("vertebrae").uniform())
    end = np.abs(off - np.floor(off) - 0.5) * vertebra_mm  # mm from a vertebra's middle
    waist = 1.5 * np.cos(2 * math.pi * end / vertebra_mm)
    back = ellipsoid((np.abs(x), y), (27.0, 30.0), (27.0, 22.0)) + 1.5 * wave
    muscle = np.minimum(back, np.abs(x) - 2.0)
    fat = np.minimum(back, 0.8 - 5.0 * np.abs(part.waves("back", 13.0)))
    disc = ellipsoid((x, y), (0.0, 0.0), (20.0, 15.5)) + 0.6 * wave
    body = np.minimum(disc - waist, vertebra_mm / 2 - 2.6 - end)
    canal = tube(part.grid, np.array([(at[0], at[1] + 22.5, z) for z in (-600.0, 600.0)]), 8.5)
    arch = np.minimum(canal + 5.0, vertebra_mm / 2 - 4.0 - end + 0.25 * (y - 22.0))
    spike = np.minimum(3.2 - np.abs(x) + wave, np.minimum(56.0 - y, y - 27.0))
    spike = np.minimum(spike, 8.0 - np.abs(end + 0.35 * (y - 40.0) - 6.0))
    wings = np.minimum(4.5 - np.abs(y - 19.0 - 0.2 * np.abs(x)) + wave, 6.0 - end)
    wings = np.minimum(wings, 33.0 - np.abs(x))
    arch = np.maximum(np.maximum(arch, spike), wings)

    def paint() -> None:
        part.paint(muscle, Grained(MUSCLE, 6.0, wave), 0)
        part.paint(fat, -90.0)
        part.paint(disc, 80.0, 0)
        bony(part, body, Grained(165.0, 40.0, marrow), label)
        bony(part, arch, Grained(240.0, 60.0, marrow), label)
        part.paint(canal, 35.0, 0)

    return paint
