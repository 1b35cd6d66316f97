"""Bi-plane samples: projections of a coronary tree, its visual hull and the truth, in one geometry.

Order of a sample: place the tree at the isocentre, draw grid and views, project, (move), back-project, measure.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from lesionforge.generators.base import Generator
from lesionforge.generators.biplane.params import BiplaneParams
from lesionforge.generators.carm.backproject import hull
from lesionforge.generators.carm.grid import Grid, average_down
from lesionforge.generators.carm.projector import project_views, silhouette
from lesionforge.generators.carm.view import View
from lesionforge.generators.types import BadCase, CoronaryTree, Panel, Sample, SampleSpec, array_member

MARGIN_CELLS = 2  # free cells kept at each face of the grid


@dataclass(frozen=True)
class Motion:
    """Motion between two runs, as XRA-Diff simulates it: the second image scaled and shifted in its plane.

    Scale per axis about the image centre, then shift in pixels; (row, column).
    """

    scale: tuple[float, float]
    shift_px: tuple[float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator, scale: tuple[float, float], shift_px: tuple[float, float]) -> Motion:
        """Uniform in the given ranges, each axis on its own."""
        s, t = rng.uniform(*scale, size=2), rng.uniform(*shift_px, size=2)
        return cls((float(s[0]), float(s[1])), (float(t[0]), float(t[1])))

    def apply(self, image: NDArray[Any]) -> NDArray[Any]:
        """The moved image, reflected at the border; nearest pixel for uint8 (stays binary), linear otherwise."""
        inverse = 1 / np.array(self.scale)
        centre = (np.array(image.shape) - 1) / 2
        offset = centre - (centre + np.array(self.shift_px)) * inverse
        if image.dtype != np.uint8:
            return _moved(image, inverse, offset, 1)
        # Every pixel is one of the image's: its row and its column, each found on its own.
        lines = zip(image.shape, inverse, offset, strict=True)
        rows, cols = (_moved(np.arange(n), [scale], [start], 0) for n, scale, start in lines)
        return image.take(rows, 0).take(cols, 1)

    def to_json(self) -> dict[str, Any]:
        """The drawn values, enough to replay."""
        return asdict(self)


def _moved(values: NDArray[Any], inverse: ArrayLike, offset: ArrayLike, order: int) -> NDArray[Any]:
    moved: NDArray[Any] = scipy.ndimage.affine_transform(values, inverse, offset, order=order, mode="reflect")
    return moved


class Biplane(Generator):
    """Two to four C-arm views of a coronary tree, the visual hull they leave, and the truth."""

    Params: ClassVar[type[BiplaneParams]] = BiplaneParams
    classes: ClassVar[tuple[str, ...]] = ("still", "motion")
    measures: ClassVar[tuple[str, ...]] = (
        *("lit_fraction", "visible_fraction", "occupied_cells", "hull_cells", "hull_recall", "hull_dice"),
    )
    limits: ClassVar[tuple[str, ...]] = (
        "Silhouettes and chord lengths of a tree of voxels: no scatter, noise, overlap, contrast flow or catheter.",
        "A vessel is at least one cell of the grid wide, so the thinnest twigs are drawn too wide.",
        "The tree's bounding box is centred on the isocentre; real patients are positioned less well.",
        "Motion is a scale and shift of the second image in its plane (as in XRA-Diff), not a motion in space.",
    )

    def __init__(self, params: BiplaneParams) -> None:
        self.params = params
        self._device = "cpu"
        self._threads: int | None = None

    def prepare(self, device: str) -> None:
        """Note the device and the worker's share of cores. Kernels are compiled once per machine and cached."""
        self._device = device
        if self.params.projector == "torch":
            import torch

            torch.use_deterministic_algorithms(True)  # on CUDA sums would come in any order (promise P1, level L2)
        self._threads = int(os.environ.get("OMP_NUM_THREADS", "0")) or None

    def sample_bytes(self) -> int:
        """Expected size: volumes as they are, silhouettes about 8 kB at 512 x 512, 3 kB of JSON and headers."""
        p = self.params
        pixels = p.detector**2
        images = p.views * (pixels // 32 if p.image == "silhouette" else 4 * pixels)
        volumes = 2 * (p.grid**3 + 2 * (p.resample or 0) ** 3)
        return int(images + (volumes // 100 if p.compress else volumes) + 6000)

    def panels(self, fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
        """Views and a coronal projection of truth and hull."""
        return _panels(fields, meta)

    def make(self, case: CoronaryTree, spec: SampleSpec) -> Sample:
        """Place, project, move, back-project, measure."""
        p, tree = self.params, case
        # Column by column: a minimum over rows of three takes ten times as long.
        low, high = (np.array([end(along) for along in tree.points.T]) for end in (np.min, np.max))
        centre = (low.astype(np.float64) + high) / 2
        points = tree.points - centre
        grid = self._grid(spec.rng("grid"), float((high - low).max()) + max(tree.voxel_mm))
        views = p.draw_views(spec.rng("views"), tree.side)
        truth, outside = grid.occupy(points, tree.voxel_mm)
        if outside:
            raise BadCase(f"{outside} of {len(points)} voxels lie outside the grid")
        flat = grid.cells(truth)
        cells = np.stack(np.unravel_index(flat, grid.shape), axis=1)
        seen, pixels = _seen(grid.centres(cells), views)
        measured = {"visible_fraction": float(seen.mean())}
        self.judge(spec, measured)
        integrals = self._project(truth, cells, grid, views)
        shadows = [silhouette(i, cells, grid, v) for i, v in zip(integrals, views, strict=True)]
        measured["lit_fraction"] = _lit(pixels, shadows)

        motion = None
        if spec.target == "motion" or (spec.target is None and p.motion):
            motion = Motion.draw(spec.rng("motion"), p.motion_scale, p.motion_shift_px)
            shadows[1] = motion.apply(shadows[1])
            if p.image == "line_integral":
                integrals[1] = motion.apply(integrals[1])
        carved = hull(shadows, views, grid, self._threads)
        kept = grid.cells(carved)
        measured |= _overlap(carved.reshape(-1)[flat] > 0, seen, len(kept))

        fields: dict[str, NDArray[Any]] = {}
        for n, (integral, shadow) in enumerate(zip(integrals, shadows, strict=True)):
            if p.image == "silhouette":
                fields[f"view{n}.png"] = shadow * np.uint8(255)
            else:
                fields[f"view{n}.npy"] = integral
        end = ".npy.zst" if p.compress else ".npy"
        fields |= {f"volume{p.grid}{end}": truth, f"hull{p.grid}{end}": carved}
        if p.resample:
            fields[f"volume{p.resample}{end}"] = average_down(flat, p.grid, p.resample)
            fields[f"hull{p.resample}{end}"] = average_down(kept, p.grid, p.resample)
        drawn = {"views": [v.to_json() for v in views], "spacing_mm": grid.spacing_mm, "centre_lps_mm": centre.tolist()}
        drawn["motion"] = motion.to_json() if motion else None
        return Sample(spec, fields, _labels(tree, grid, views, centre), drawn, measured)

    def _grid(self, rng: np.random.Generator, extent: float) -> Grid:
        """One grid for all views of a case, its spacing drawn so that the whole tree, ``extent`` mm wide, fits."""
        p = self.params
        low, high = p.spacing_mm
        need = extent / (p.grid - 2 * MARGIN_CELLS)
        if need > high:
            raise BadCase(
                f"the tree spans {extent:.0f} mm; a grid of {p.grid} cells of at most {high:g} mm holds "
                f"{high * (p.grid - 2 * MARGIN_CELLS):.0f}: raise generator.params.grid or spacing_mm"
            )
        return Grid((p.grid,) * 3, float(rng.uniform(max(low, need), high)))

    def _project(
        self, truth: NDArray[np.uint8], cells: NDArray[np.int64], grid: Grid, views: list[View]
    ) -> list[NDArray[np.float32]]:
        if self.params.projector == "torch":
            from lesionforge.generators.carm import torch_projector

            return [i.cpu().numpy() for i in torch_projector.project_views(cells, grid, views, device=self._device)]
        if self.params.projector == "odl":
            from lesionforge.generators.carm import odl_geometry

            return [odl_geometry.project_astra(truth, grid, view) for view in views]
        return project_views(cells, grid, views, threads=self._threads)


def _seen(
    centres: NDArray[np.float64], views: Sequence[View]
) -> tuple[NDArray[np.bool_], list[tuple[NDArray[np.int64], NDArray[np.int64]]]]:
    """Where the occupied cells' centres fall, by the projection matrix alone, which the projector does not use.

    Returns:
        Which of them lie on every detector, and for each view row and column of those on its own.
    """
    seen, pixels = np.ones(len(centres), bool), []
    for view in views:
        m = view.projection_matrix
        col, row, depth = (centres[:, 0] * a + centres[:, 1] * b + centres[:, 2] * c + d for a, b, c, d in m)
        row, col = np.floor(row / depth + 0.5).astype(int), np.floor(col / depth + 0.5).astype(int)
        inside = (row >= 0) & (row < view.rows) & (col >= 0) & (col < view.cols)
        seen &= inside
        pixels.append((row[inside], col[inside]))
    return seen, pixels


def _lit(pixels: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], shadows: Sequence[NDArray[np.uint8]]) -> float:
    """Share of (cell, view) pairs whose pixel is lit: a projector working in another geometry would not reach 1."""
    lit = sum(int(shadow[at].sum()) for at, shadow in zip(pixels, shadows, strict=True))
    return lit / max(1, sum(len(row) for row, _ in pixels))


def _overlap(kept: NDArray[np.bool_], seen: NDArray[np.bool_], hull_cells: int) -> dict[str, float]:
    """How the hull holds the truth. ``hull_recall`` counts the cells that every view sees: 1 but for motion."""
    return {
        "occupied_cells": float(len(kept)),
        "hull_cells": float(hull_cells),
        "hull_recall": float(kept[seen].mean()) if seen.any() else 0.0,
        "hull_dice": 2 * int(kept.sum()) / (len(kept) + hull_cells),
    }


def _labels(tree: CoronaryTree, grid: Grid, views: Sequence[View], centre: NDArray[np.float64]) -> dict[str, Any]:
    """What a training job needs to know: side, geometry, grid, and the stenoses a procedural tree was given."""
    stenoses = []
    for s in tree.stenoses:
        at = np.asarray(s.point) - centre
        spots = [view.project(at[None])[0].tolist() for view in views]
        stenoses.append(
            {
                "segment": s.segment,
                "percent_ds": s.percent_ds,
                "mld_mm": s.mld_mm,
                "reference_mm": s.reference_mm,
                "length_mm": s.length_mm,
                "point_mm": at.tolist(),
                "view_row_col": spots,
            }
        )
    return {
        "side": tree.side,
        "spacing_mm": grid.spacing_mm,
        "grid": list(grid.shape),
        "axes": "LPS: array index (i, j, k) runs to the patient's left, posterior, head; the isocentre is the centre",
        "views": [{"name": view.name, **view.to_json()} for view in views],
        "stenoses": stenoses,
    }


def _panels(fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
    """One panel per view, one coronal projection of the volumes; see ``Generator.panels``."""
    out = []
    for n, view in enumerate(meta["views"]):
        image = fields.get(f"view{n}.png")
        if image is None:
            image = _grey(fields[f"view{n}.npy"])
        out.append(Panel(f"view {n + 1}: {view['name']}", {"vessel": np.asarray(image, np.uint8)}))
    size = meta["grid"][0]
    truth, carved = (_coronal(fields[array_member(f"{name}{size}", fields) or ""]) for name in ("volume", "hull"))
    out.append(Panel(f"{meta['side']} tree from the front", {"truth": truth, "hull": carved}))
    return out


def _coronal(volume: NDArray[Any]) -> NDArray[np.uint8]:
    """Maximum along front-back of a volume in LPS order: patient's left on the image's right, head up."""
    flat: NDArray[np.uint8] = (volume.max(axis=1).T[::-1] > 0).astype(np.uint8) * np.uint8(255)
    return flat


def _grey(image: NDArray[Any]) -> NDArray[np.uint8]:
    top = float(image.max()) or 1.0
    return (image * (255 / top)).astype(np.uint8)
