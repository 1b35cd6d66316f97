"""From a class to a lesion on the voxels of a scene: where it goes and what shape it takes there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.lesion import measure, vessels
from lesionforge.generators.lesion.classes import PLAQUES, VALUE, home
from lesionforge.generators.lesion.drawing import LesionDrawing
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.lesion.plaque import Plaque
from lesionforge.generators.lesion.scene import CtScene, VolumeAnatomy
from lesionforge.generators.lesion.tumour import Tumour
from lesionforge.generators.lesion.vessels import STEP_MM, CtVessel
from lesionforge.generators.types import Rejected, Volume

WINDOW = 64  # voxels to either side in which vessels are traced
DISEASED = 10.0  # %DS that a stretch may measure before a plaque is put there
ROUNDS = 5  # of a plaque's shape, what is asked for corrected in between
CLOSE_DS = 1.5  # points of %DS that are left alone
STRETCH = 15.0  # points that may be asked for beside the request
PLACES = 4  # stretches of vessel tried


def scene_for(
    rng: np.random.Generator, volume: Volume, anatomy: VolumeAnatomy, params: LesionParams, lesion_class: str
) -> tuple[CtScene, tuple[int, int, int], Tumour | Plaque | None]:
    """The crop that a sample shows, a voxel of the organ in it, and the first lesion's shape (None: healthy)."""
    if lesion_class == "healthy":
        everything = (
            np.concatenate(list(anatomy.voxels.values())) if anatomy.voxels else np.array(volume.hu.shape)[None] // 2
        )
        at = _row(rng, everything)
        return CtScene.around(volume, at, params.size), at, None
    candidates = anatomy.candidates(lesion_class)
    if lesion_class in PLAQUES:
        at = _row(rng, candidates)
        return CtScene.around(volume, at, params.size), at, Plaque.draw(rng, params, lesion_class)
    tumour = Tumour.draw(rng, params, lesion_class)
    at = tumour.place(rng, volume, candidates)
    return CtScene.around(volume, at, params.size), at, tumour


def place(
    rng: np.random.Generator,
    volume: Volume,
    scene: CtScene,
    params: LesionParams,
    lesion: Tumour | Plaque,
    at: tuple[int, int, int],
) -> LesionDrawing:
    """Put a lesion into a scene, about a voxel of the volume.

    Raises:
        Rejected: where it does not fit.
    """
    a, b, c = (x - o for x, o in zip(at, scene.corner, strict=True))
    if isinstance(lesion, Tumour):
        box, mask = lesion.rasterise(scene, (a, b, c), params.volume_tolerance)
        return LesionDrawing(scene, params, lesion, box, mask, rng)
    found = vessels_near(volume, scene, (a, b, c))
    for _ in range(PLACES):
        fitted, vessel, row = lesion.place(rng, found, params)
        half = int(fitted.length_mm / 2 / STEP_MM)
        rows = slice(row - half, row + half + 1)
        before = measure.percent_ds(scene.labels == VALUE["coronary"], vessel, rows, scene.spacing)[0]
        if before <= DISEASED:
            return _plaque(rng, scene, params, fitted, vessel, row, rows)
    raise Rejected(f"the vessel measures {before:.0f} %DS already where a plaque would go")


def _plaque(
    rng: np.random.Generator,
    scene: CtScene,
    params: LesionParams,
    lesion: Plaque,
    vessel: CtVessel,
    row: int,
    rows: slice,
) -> LesionDrawing:
    """Draw the shape, measure the lumen that is left, correct what is asked for."""
    drawn, best = lesion.percent_ds, None
    lumen = scene.labels == VALUE["coronary"]
    draw = lesion.rasteriser(scene, vessel, row)
    for _ in range(ROUNDS):
        box, mask = draw(drawn)
        left = lumen.copy()
        left[box] &= ~mask
        miss = lesion.percent_ds - measure.percent_ds(left, vessel, rows, scene.spacing)[0]
        if best is None or abs(miss) < best[0]:
            best = (abs(miss), box, mask)
        if abs(miss) <= CLOSE_DS:
            break
        limits = lesion.percent_ds - STRETCH, min(lesion.percent_ds + STRETCH, 95.0)
        drawn = float(np.clip(drawn + miss, max(1.0, limits[0]), limits[1]))
    assert best is not None
    if best[0] > params.ds_tolerance:
        raise Rejected(f"{lesion.percent_ds:.0f} %DS cannot be drawn on these voxels: {best[0]:.0f} points off")
    return LesionDrawing(scene, params, lesion, best[1], best[2], rng, vessel, rows)


def vessels_near(volume: Volume, scene: CtScene, at: tuple[int, int, int]) -> list[CtVessel]:
    """The vessels of a scene: known ones, else those that the label shows within ``WINDOW`` voxels."""
    spacing = np.array(scene.spacing)
    if any(tree.branches for tree in volume.trees):
        if scene.vessels is None:
            extent = (np.array(scene.hu.shape) - 1) * spacing
            scene.vessels = vessels.from_trees(volume.trees, scene.origin(volume), extent)
        return scene.vessels
    low = np.maximum(np.array(at) - WINDOW, 0)
    near = tuple(slice(x, y + WINDOW) for x, y in zip(low, at, strict=True))
    found = vessels.from_label(scene.labels[near] == VALUE["coronary"], scene.spacing)
    return [CtVessel(v.points + low * spacing, v.radii, v.free, v.first, v.second) for v in found]


def other_place(
    rng: np.random.Generator,
    volume: Volume,
    anatomy: VolumeAnatomy,
    scene: CtScene,
    params: LesionParams,
    lesion_class: str,
) -> LesionDrawing:
    """One more lesion in a scene.

    Raises:
        Rejected: where there is no room for it.
    """
    candidates = _within(anatomy.voxels.get(home(lesion_class), np.empty((0, 3), np.int64)), scene)
    if not len(candidates):
        raise Rejected(f"no {home(lesion_class)} in the crop")
    if lesion_class in PLAQUES:
        plaque = Plaque.draw(rng, params, lesion_class)
        return place(rng, volume, scene, params, plaque, _row(rng, candidates))
    tumour = Tumour.draw(rng, params, lesion_class)
    return place(rng, volume, scene, params, tumour, tumour.place(rng, volume, candidates))


def _within(voxels: NDArray[np.int64], scene: CtScene) -> NDArray[np.int64]:
    inside = (voxels >= scene.corner) & (voxels < np.array(scene.corner) + scene.hu.shape)
    return voxels[inside.all(axis=1)]


def _row(rng: np.random.Generator, voxels: NDArray[np.int64] | Sequence[Sequence[int]]) -> tuple[int, int, int]:
    a, b, c = voxels[int(rng.integers(len(voxels)))]
    return int(a), int(b), int(c)
