"""Bi-plane samples: projections of a coronary tree, its visual hull and the truth, in one geometry.

Order of a sample: draw views, place the tree in them, draw the grid, project, (move), back-project, measure. Images are
of the tree's surface, cells are filled by its voxels: neither is made from the other.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.base import Generator, Memory
from lesionforge.generators.biplane.framing import framed
from lesionforge.generators.biplane.motion import Motion
from lesionforge.generators.biplane.params import BiplaneParams
from lesionforge.generators.carm.backproject import hull
from lesionforge.generators.carm.grid import Grid, average_down
from lesionforge.generators.carm.occupancy import COARSE, RULE, occupied, shares
from lesionforge.generators.carm.surface import Surface, chords, shadow, surface
from lesionforge.generators.carm.view import View
from lesionforge.generators.phantom.angiogram.chest import chest
from lesionforge.generators.phantom.angiogram.detector import Display
from lesionforge.generators.types import BadCase, CoronaryTree, Panel, Sample, SampleSpec, array_member

MARGIN_CELLS = 2  # free cells kept at each face of the grid
CORE = 0.9  # of a cell that counts as full
SURFACES = 8  # trees whose surface is held
PER_MM = 0.075  # displayed absorbance of contrast agent: a vessel of 3.5 mm is a quarter darker than what is about it


class Biplane(Generator):
    """Two to four C-arm views of a coronary tree, the visual hull they leave, and the truth."""

    Params: ClassVar[type[BiplaneParams]] = BiplaneParams
    classes: tuple[str, ...] = ("still", "motion")
    measures: ClassVar[tuple[str, ...]] = (
        *("lit_fraction", "visible_fraction", "occupied_cells", "hull_cells", "hull_recall", "hull_dice"),
    )
    limits: ClassVar[tuple[str, ...]] = (
        f"Truth is binary by one rule: {RULE}. Volumes of another size (`resample`) are {COARSE}.",
        "`hull_recall` counts the tree's cells whose centres every view's detector shows while nothing moves.",
        "Silhouettes and lengths hold no scatter, noise, overlap, contrast flow or catheter; a shaded image is of one "
        "moment of full contrast.",
        "In the volume a vessel thinner than a cell is one cell wide; a source's voxels bound what is known of it.",
        "Voxels that touch by an edge or a corner alone are apart in the images; one alone may fall between pixels.",
        "The tree is placed as well as it can be; real patients are positioned less well.",
        "Motion is a scale and shift of the second image in its plane (as in XRA-Diff), not a motion in space.",
    )

    memory: Memory[Surface]

    def __init__(self, params: BiplaneParams) -> None:
        self.params = params
        self.memory = Memory[Surface](SURFACES, (Surface,))
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
        skin = self.memory.get(f"surface {tree.source_id}", lambda: surface(tree))
        # Column by column: a minimum over rows of three takes ten times as long.
        low, high = (np.array([end(along) for along in skin.vertices.T], np.float64) for end in (np.min, np.max))
        centre, views = (low + high) / 2, p.draw_views(spec.rng("views"), tree.side)
        if p.frame == "fit":
            centre, views = framed(skin.vertices, centre, views)
        grid = self._grid(spec.rng("grid"), 2 * float(np.maximum(high - centre, centre - low).max()))
        filled, cells, outside = shares(tree.points, tree.voxel_mm, grid, centre)
        if outside:
            raise BadCase(f"{outside} of {len(tree.points)} voxels lie outside the grid")
        truth = occupied(filled, cells)
        flat = cells[truth.reshape(-1)[cells] > 0]
        centres = grid.centres(np.stack(np.unravel_index(flat, grid.shape), axis=1))
        pixels = [view.project(centres) for view in views]
        seen = np.logical_and.reduce([_on(view, at) for view, at in zip(views, pixels, strict=True)])
        measured = {"visible_fraction": float(seen.mean())}
        self.judge(spec, measured)
        if p.image == "silhouette":
            lengths, shadows = [], [shadow(skin, view, centre) for view in views]
        else:
            lengths = [chords(skin, view, centre) for view in views]
            shadows = [(length > 0).astype(np.uint8) for length in lengths]
            if p.projector != "native":
                lengths = self._of_cells(filled, grid, views)
        core = filled.reshape(-1)[flat] >= CORE
        measured["lit_fraction"] = _lit([at[core] for at in pixels], shadows)

        motion = None
        if spec.target == "motion" or (spec.target is None and p.motion):
            motion = Motion.draw(spec.rng("motion"), p.motion_scale, p.motion_shift_px)
            for images in (shadows, lengths):
                images[1:2] = [motion.apply(image) for image in images[1:2]]
            pixels[1] = motion.move(pixels[1], views[1])
        carved = hull(shadows, views, grid, self._threads, reach=1)
        kept = grid.cells(carved)
        measured |= _overlap(carved.reshape(-1)[flat] > 0, seen, len(kept))

        fields: dict[str, NDArray[Any]] = {}
        for n, (view, image) in enumerate(zip(views, shadows, strict=True)):
            if p.image == "line_integral":
                fields[f"view{n}.npy"] = lengths[n]
                continue
            if p.image == "xray":
                fields[f"view{n}.png"] = _shaded(spec.rng(f"xray {n}"), lengths[n], view)
            fields[f"{'mask' if p.image == 'xray' else 'view'}{n}.png"] = image * np.uint8(255)
        end = ".npy.zst" if p.compress else ".npy"
        fields |= {f"volume{p.grid}{end}": truth, f"hull{p.grid}{end}": carved}
        if p.shares:
            fields[f"share{p.grid}{end}"] = filled.astype(np.float16)
        if p.resample:
            coarse = Grid((p.resample,) * 3, grid.spacing_mm * p.grid / p.resample)
            coarsely = shares(tree.points, tree.voxel_mm, coarse, centre).shares
            fields[f"volume{p.resample}{end}"] = coarsely.astype(np.float16)
            fields[f"hull{p.resample}{end}"] = average_down(kept, p.grid, p.resample)
        if p.correspondences:
            fields[f"points{end}"] = np.column_stack([flat, centres, *pixels]).astype(np.float32)
        drawn = {"views": [v.to_json() for v in views], "spacing_mm": grid.spacing_mm, "centre_lps_mm": centre.tolist()}
        drawn["motion"] = motion.to_json() if motion else None
        return Sample(spec, fields, _labels(tree, grid, views, centre, motion, bool(p.resample)), drawn, measured)

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

    def _of_cells(self, filled: NDArray[np.float32], grid: Grid, views: list[View]) -> list[NDArray[np.float32]]:
        """mm of vessel along each ray as the cells hold it, by a projector of others."""
        if self.params.projector == "odl":
            from lesionforge.generators.carm import odl_geometry

            return [odl_geometry.project_astra(filled, grid, view) for view in views]
        import torch

        from lesionforge.generators.carm import torch_projector

        flat = np.flatnonzero(filled)
        cells = np.stack(np.unravel_index(flat, grid.shape), axis=1)
        values = torch.from_numpy(filled.reshape(-1)[flat])
        images = torch_projector.project_views(cells, grid, views, values, device=self._device)
        return [image.cpu().numpy() for image in images]


def _shaded(rng: np.random.Generator, length_mm: NDArray[np.float32], view: View) -> NDArray[np.uint8]:
    """An angiogram (rows, cols): vessels darken the phantom's chest; then blur, veil, noise, display."""
    display = Display.draw(rng, view.rows)
    background, dimming = display.scale(chest(rng, view))
    strength = PER_MM / dimming * math.exp(float(np.clip(rng.normal(0, 0.22), -0.4, 0.4)))
    image, _ = display.show(rng, background + strength * length_mm.astype(np.float64))
    return image


def _on(view: View, pixels: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which pixel coordinates (n, 2) lie on a view's detector."""
    row, col = np.floor(pixels + 0.5).T
    out: NDArray[np.bool_] = (row >= 0) & (row < view.rows) & (col >= 0) & (col < view.cols)
    return out


def _lit(pixels: Sequence[NDArray[np.float64]], shadows: Sequence[NDArray[np.uint8]]) -> float:
    """Share of (full cell, view) pairs whose pixel is lit: an image in another geometry would not reach 1.

    1 where there is none, as of a tree of thin vessels alone.
    """
    lit = total = 0
    for at, image in zip(pixels, shadows, strict=True):
        row, col = np.floor(at + 0.5).astype(int).T
        inside = (row >= 0) & (row < image.shape[0]) & (col >= 0) & (col < image.shape[1])
        lit += int(image[row[inside], col[inside]].sum())
        total += int(inside.sum())
    return lit / total if total else 1.0


def _overlap(kept: NDArray[np.bool_], seen: NDArray[np.bool_], hull_cells: int) -> dict[str, float]:
    """How the hull holds the truth; ``hull_recall`` is of the cells that every view sees."""
    return {
        "occupied_cells": float(len(kept)),
        "hull_cells": float(hull_cells),
        "hull_recall": float(kept[seen].mean()) if seen.any() else 0.0,
        "hull_dice": 2 * int(kept.sum()) / (len(kept) + hull_cells),
    }


def _labels(
    tree: CoronaryTree,
    grid: Grid,
    views: Sequence[View],
    centre: NDArray[np.float64],
    motion: Motion | None,
    resample: bool,
) -> dict[str, Any]:
    """What a training job needs to know: side, geometry, grid, and the stenoses a procedural tree was given."""
    stenoses = []
    for s in tree.stenoses:
        at = np.asarray(s.point) - centre
        pixels = [view.project(at[None]) for view in views]
        if motion:
            pixels[1] = motion.move(pixels[1], views[1])
        spots = [pixel[0].tolist() for pixel in pixels]
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
        "occupancy": RULE,
        "resampled": COARSE if resample else None,
        "axes": "LPS: array index (i, j, k) runs to the patient's left, posterior, head; the isocentre is the centre",
        "views": [{"name": view.name, **view.to_json()} for view in views],
        "motion": motion.to_json() if motion else None,
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
