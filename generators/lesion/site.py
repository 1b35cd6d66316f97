"""From a class to a lesion on the voxels of a scene: where it goes and what shape it takes there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.lesion import bed, blend, lumen, measure, vessels
from lesionforge.generators.lesion.classes import MIXED_HU, PLAQUES, VALUE, home
from lesionforge.generators.lesion.drawing import LesionDrawing
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.lesion.plaque import Plaque
from lesionforge.generators.lesion.scene import CtScene, VolumeAnatomy
from lesionforge.generators.lesion.tumour import Tumour
from lesionforge.generators.lesion.vessels import STEP_MM, CtVessel
from lesionforge.generators.types import Rejected, Volume

By = Literal["hu", "label"]
WINDOW = 64  # voxels to either side in which vessels are traced
DISEASED = {"label": 10.0, "hu": 15.0}  # %DS that a stretch may measure before a plaque is put there
ROUNDS = 7  # of a plaque's shape, what is asked for corrected in between
CLOSE_DS = 1.5  # points of %DS that are left alone
LIMITS = (0.5, 95.0)  # %DS that may be drawn
NARROW = 0.5  # points of it that no voxel tells apart
PLACES = 4  # stretches of vessel tried


def scene_for(
    rng: np.random.Generator, volume: Volume, anatomy: VolumeAnatomy, params: LesionParams, lesion_class: str
) -> tuple[CtScene, tuple[int, int, int], Tumour | Plaque | None]:
    """The crop that a sample shows, a voxel of the organ in it, and the first lesion's shape (None: healthy)."""
    scene, at, lesion = _chosen(rng, volume, anatomy, params, lesion_class)
    scene.phase = anatomy.phase if params.phase == "auto" else params.phase
    return scene, at, lesion


def _chosen(
    rng: np.random.Generator, volume: Volume, anatomy: VolumeAnatomy, params: LesionParams, lesion_class: str
) -> tuple[CtScene, tuple[int, int, int], Tumour | Plaque | None]:
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
    beside: LesionDrawing | None = None,
) -> LesionDrawing:
    """Put a lesion into a scene, about a voxel of the volume, or a plaque on the vessel of another (``beside``).

    Raises:
        Rejected: where it does not fit.
    """
    a, b, c = (x - o for x, o in zip(at, scene.corner, strict=True))
    if isinstance(lesion, Tumour):
        box, mask = lesion.rasterise(scene, (a, b, c), params.volume_tolerance)
        return LesionDrawing(scene, params, lesion, box, mask, rng)
    on = beside.course if beside else None
    found = [on.vessel] if on else vessels_near(volume, scene, (a, b, c))
    clear = [bed.clear(scene, vessel) for vessel in found]
    by: By = params.ds_by
    for _ in range(PLACES):
        fitted, vessel, row = lesion.place(rng, found, params, clear)
        half = int(fitted.length_mm / 2 / STEP_MM)
        rows = slice(row - half, row + half + 1)
        fitted = fitted.enhanced(_level(scene, vessel, rows))
        if (before := _reading(scene, by, scene.labels, scene.hu, vessel, rows)) > DISEASED[by]:
            continue
        where, draw = fitted.rasteriser(scene, vessel, row)
        mask, miss = _shaped(scene, by, fitted, where, draw, vessel, rows)
        if miss > params.ds_tolerance and by == "hu":  # behind such a blur no lumen reads so: then by its label
            by = "label"
            mask, miss = _shaped(scene, by, fitted, where, draw, vessel, rows)
        if miss > params.ds_tolerance:
            raise Rejected(f"{lesion.percent_ds:.0f} %DS cannot be drawn on these voxels: {miss:.0f} points off")
        return LesionDrawing(scene, params, fitted, where.box, mask, rng, bed.Course(vessel, rows, where, by))
    raise Rejected(f"the vessel measures {before:.0f} %DS already where a plaque would go")


def _level(scene: CtScene, vessel: CtVessel, rows: slice) -> float:
    """HU in the middle of the lumen along a stretch of it."""
    return float(np.median(scene.before[bed.voxels(scene, vessel.points[rows])]))


def _reading(
    scene: CtScene, by: By, labels: NDArray[np.uint8], hu: NDArray[np.int16], vessel: CtVessel, rows: slice
) -> float:
    """Percent diameter stenosis as the recipe wants it read."""
    if by == "hu":
        return lumen.read(hu, scene.spacing, vessel, rows).percent_ds
    return measure.percent_ds(labels == VALUE["coronary"], vessel, rows, scene.spacing).percent_ds


def _shaped(
    scene: CtScene,
    by: By,
    lesion: Plaque,
    where: bed.Bed,
    draw: Callable[[float], NDArray[np.bool_]],
    vessel: CtVessel,
    rows: slice,
) -> tuple[NDArray[np.bool_], float]:
    """Draw the shape, measure the lumen that is left, correct what is asked for: the best, and how far it is off.

    Where the HU are what counts, tissue of one density stands in for what the backend will draw.
    """
    drawn, low, high, best = lesion.percent_ds, *LIMITS, None
    for _ in range(ROUNDS):
        mask = draw(drawn)
        labels, hu = scene.labels.copy(), scene.hu
        labels[where.box][mask] = VALUE[lesion.lesion_class]
        if by == "hu":
            hu = _filled(scene, lesion, where, mask)
        miss = lesion.percent_ds - _reading(scene, by, labels, hu, vessel, rows)
        if best is None or abs(miss) < best[1]:
            best = (mask, abs(miss))
        if abs(miss) <= CLOSE_DS:
            break
        low, high = (drawn, high) if miss > 0 else (low, drawn)
        drawn = drawn + miss if low < drawn + miss < high else (low + high) / 2
        if high - low < NARROW:
            break
    assert best is not None
    return best


def _filled(scene: CtScene, lesion: Plaque, where: bed.Bed, mask: NDArray[np.bool_]) -> NDArray[np.int16]:
    """The scene's HU with tissue in the mask of the one density whose core reads as asked; of mixed plaque the soft."""
    weight = blend.weights(mask, lesion.edge_mm(float(mask.sum()) * scene.voxel_mm3), scene.spacing)
    weight[where.kept] = 0
    before = scene.hu[where.box]
    core = measure.core(mask, scene.spacing)
    share = weight[core].astype(np.float64)
    mean = lesion.mean_hu if lesion.lesion_class != "mixed" else sum(MIXED_HU["soft"]) / 2
    level = (mean - float((before[core] * (1 - share)).mean())) / float(share.mean())
    tissue = np.full(mask.shape, np.clip(level, *lesion.tissue_hu), np.float32)
    out = scene.hu.copy()
    out[where.box] = blend.composite(before, tissue, weight)
    return out


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
    first: LesionDrawing | None = None,
) -> LesionDrawing:
    """One more lesion in a scene, of ``first``'s.

    Raises:
        Rejected: where there is no room for it.
    """
    candidates = _within(anatomy.voxels.get(home(lesion_class), np.empty((0, 3), np.int64)), scene)
    if not len(candidates):
        raise Rejected(f"no {home(lesion_class)} in the crop")
    if lesion_class in PLAQUES:
        plaque, at = Plaque.draw(rng, params, lesion_class), _row(rng, candidates)
        if first and first.course and float(rng.uniform()) < params.same_vessel:
            try:
                return place(rng, volume, scene, params, plaque, at, first)
            except Rejected:  # no room on that one
                pass
        return place(rng, volume, scene, params, plaque, at)
    tumour = Tumour.draw(rng, params, lesion_class)
    return place(rng, volume, scene, params, tumour, tumour.place(rng, volume, candidates))


def _within(voxels: NDArray[np.int64], scene: CtScene) -> NDArray[np.int64]:
    inside = (voxels >= scene.corner) & (voxels < np.array(scene.corner) + scene.hu.shape)
    return voxels[inside.all(axis=1)]


def _row(rng: np.random.Generator, voxels: NDArray[np.int64] | Sequence[Sequence[int]]) -> tuple[int, int, int]:
    a, b, c = voxels[int(rng.integers(len(voxels)))]
    return int(a), int(b), int(c)
