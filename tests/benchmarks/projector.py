"""Projector and back-projector against the alternatives: ``python tests/benchmarks/projector.py``.

The case is a real coronary tree at 128^3 on 0.95 mm (ImageCAS example; a helix tube where the data is absent), the
output two 512 x 512 views. Every round runs every method once, so a busy machine slows all alike; the slow ones
sit out the later rounds. Accuracy is the sum of absolute errors over the sum of the truth: against the closed form
of an ellipsoid given as partial volumes (so the projectors are judged, not the voxels), over its shadow; and on
the tree against a double-precision Siddon of the same voxels.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.generators.carm.conftest import marked

ROOT = Path(__file__).resolve().parents[2]
THREADS = len(os.sched_getaffinity(0))
sys.path.insert(0, str(ROOT))
os.environ.setdefault("NUMBA_NUM_THREADS", str(THREADS))

import itk  # noqa: E402
import numba  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from itk import RTK as rtk  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from lesionforge.generators.carm import torch_projector  # noqa: E402
from lesionforge.generators.carm.backproject import adjoint, hull  # noqa: E402
from lesionforge.generators.carm.grid import Grid  # noqa: E402
from lesionforge.generators.carm.projector import project_views, silhouette  # noqa: E402
from lesionforge.generators.carm.view import View  # noqa: E402

GRID = Grid((128, 128, 128), 0.95)
VIEWS = [View(1100, 760, 5, 0), View(1060, 790, -35, 25)]
ROUNDS, SLOW_ROUNDS = 11, 3
Array = NDArray[Any]
Row = dict[str, Any]


def tree() -> tuple[Array, str]:
    """The case as uint8 128^3, and its name."""
    data = Path(os.environ.get("LESIONFORGE_DATA", ROOT.parent / "shared" / "data"))
    path = data / "coronary_tree_3d" / "imagecas_example.label.nii.gz"
    if not path.exists():
        turn = np.linspace(0, 6 * np.pi, 4000)
        line = np.stack([35 * np.cos(turn), 35 * np.sin(turn), np.linspace(-40, 40, 4000)], 1)
        offsets = np.random.default_rng(0).normal(size=(60, 3))
        tube = (line[:, None] + 1.8 * offsets / np.linalg.norm(offsets, axis=1, keepdims=True)).reshape(-1, 3)
        return marked(GRID, tube), "helix tube"
    import nibabel
    from scipy import ndimage

    image = nibabel.load(path)
    labels, _ = ndimage.label(np.asarray(image.dataobj) > 0, np.ones((3, 3, 3)))
    trees = []
    for label in np.argsort(np.bincount(labels.ravel())[1:])[-2:] + 1:
        ras = np.argwhere(labels == label) @ image.affine[:3, :3].T + image.affine[:3, 3]
        trees.append(ras * [-1.0, -1.0, 1.0])
    left = max(trees, key=lambda points: float(points[:, 0].mean()))  # +x is the patient's left
    return marked(GRID, left - (left.min(0) + left.max(0)) / 2), "ImageCAS left tree"


def rays(view: View) -> Array:
    """Source-to-pixel vectors (rows, cols, 3)."""
    u, v, _ = view.axes
    row = (np.arange(view.rows) - (view.rows - 1) / 2) * view.pixel_mm[0]
    col = (np.arange(view.cols) - (view.cols - 1) / 2) * view.pixel_mm[1]
    return view.detector_mm - view.source_mm + row[:, None, None] * v + col[None, :, None] * u


def ellipsoid() -> tuple[Array, list[Array]]:
    """Partial volumes of an ellipsoid off the isocentre, and its closed-form line integrals."""
    axes, centre = np.array([30.0, 18.0, 24.0]), np.array([5.0, -8.0, 3.0])
    volume = np.zeros(GRID.shape, np.float32)
    offsets = ((np.arange(6) + 0.5) / 6 - 0.5) * GRID.spacing_mm
    x, y, z = (GRID.centres(np.repeat(np.arange(128)[:, None], 3, 1))[:, n] for n in range(3))
    for a in offsets:
        for b in offsets:
            for c in offsets:
                sides = [((s + o - m) / e) ** 2 for s, o, m, e in zip((x, y, z), (a, b, c), centre, axes, strict=True)]
                volume += sides[0][:, None, None] + sides[1][None, :, None] + sides[2][None, None, :] <= 1
    images = []
    for view in VIEWS:
        d, p = rays(view) / axes, (view.source_mm - centre) / axes
        a, b, c = (d * d).sum(-1), (d * p).sum(-1), (p * p).sum() - 1
        images.append(2 * np.sqrt(np.maximum(b * b - a * c, 0)) / a * np.linalg.norm(rays(view), axis=-1))
    return volume / 6**3, images


@numba.njit(cache=True, error_model="numpy")
def _enter(source, d, low, spacing, count):  # type: ignore[no-untyped-def]
    """Along one axis: parameters at which the ray enters and leaves the grid."""
    d = d if d != 0 else 1e-300
    first, last = (low - source) / d, (low + count * spacing - source) / d
    return d, min(first, last), max(first, last)


@numba.njit(cache=True, error_model="numpy")
def _start(source, d, low, spacing, count, t):  # type: ignore[no-untyped-def]
    """Along one axis: cell at parameter t, parameter of the next face, and of a whole cell."""
    at = min(max(int(np.floor((source + t * d - low) / spacing)), 0), count - 1)
    return at, (low + (at + (1 if d > 0 else 0)) * spacing - source) / d, spacing / abs(d)


@numba.njit(parallel=True, cache=True, error_model="numpy")
def _siddon(volume, spacing, source, corner, right, down, image):  # type: ignore[no-untyped-def]
    """Dense exact radiological path (Siddon 1985, incremental), one ray per pixel, in double precision."""
    ni, nj, nk = volume.shape
    lx, ly, lz = -0.5 * ni * spacing, -0.5 * nj * spacing, -0.5 * nk * spacing
    sx, sy, sz = source[0], source[1], source[2]
    for row in numba.prange(image.shape[0]):
        for col in range(image.shape[1]):
            dx, x0, x1 = _enter(sx, corner[0] + row * down[0] + col * right[0] - sx, lx, spacing, ni)
            dy, y0, y1 = _enter(sy, corner[1] + row * down[1] + col * right[1] - sy, ly, spacing, nj)
            dz, z0, z1 = _enter(sz, corner[2] + row * down[2] + col * right[2] - sz, lz, spacing, nk)
            t, far = max(x0, y0, z0), min(x1, y1, z1)
            total = 0.0
            if far > t:
                i, tx, hx = _start(sx, dx, lx, spacing, ni, t + 1e-12)
                j, ty, hy = _start(sy, dy, ly, spacing, nj, t + 1e-12)
                k, tz, hz = _start(sz, dz, lz, spacing, nk, t + 1e-12)
                mi, mj, mk = (1 if dx > 0 else -1), (1 if dy > 0 else -1), (1 if dz > 0 else -1)
                while 0 <= i < ni and 0 <= j < nj and 0 <= k < nk:
                    value = volume[np.uint64(i), np.uint64(j), np.uint64(k)]
                    until = min(tx, ty, tz)
                    total += value * (until - t)
                    t = until
                    if until == tx:
                        i, tx = i + mi, tx + hx
                    elif until == ty:
                        j, ty = j + mj, ty + hy
                    else:
                        k, tz = k + mk, tz + hz
            image[row, col] = total * np.sqrt(dx * dx + dy * dy + dz * dz)


@numba.njit(parallel=True, cache=True, error_model="numpy")
def _trilinear(padded, spacing, source, corner, right, down, step, image):  # type: ignore[no-untyped-def]
    """Dense sampling every ``step`` mm with trilinear interpolation; the volume has one cell of zeros around it."""
    ni, nj, nk = padded.shape
    ex, ey, ez = -0.5 * (ni - 1) * spacing, -0.5 * (nj - 1) * spacing, -0.5 * (nk - 1) * spacing
    sx, sy, sz = source[0], source[1], source[2]
    scale = 1.0 / spacing
    for row in numba.prange(image.shape[0]):
        for col in range(image.shape[1]):
            dx, x0, x1 = _enter(sx, corner[0] + row * down[0] + col * right[0] - sx, ex, spacing, ni - 1)
            dy, y0, y1 = _enter(sy, corner[1] + row * down[1] + col * right[1] - sy, ey, spacing, nj - 1)
            dz, z0, z1 = _enter(sz, corner[2] + row * down[2] + col * right[2] - sz, ez, spacing, nk - 1)
            t, far = max(x0, y0, z0) + 1e-9, min(x1, y1, z1) - 1e-9
            total = np.float32(0)
            pace = step / np.sqrt(dx * dx + dy * dy + dz * dz)
            t += 0.5 * pace
            x, y, z = (sx + t * dx - ex) * scale, (sy + t * dy - ey) * scale, (sz + t * dz - ez) * scale
            gx, gy, gz = pace * dx * scale, pace * dy * scale, pace * dz * scale
            for _ in range(int((far - t) / pace) + 1 if far > t else 0):
                i, j, k = np.uint64(x), np.uint64(y), np.uint64(z)
                a, b, c = np.float32(x - i), np.float32(y - j), np.float32(z - k)
                i1, j1, k1 = i + np.uint64(1), j + np.uint64(1), k + np.uint64(1)
                p00 = padded[i, j, k] + c * (padded[i, j, k1] - padded[i, j, k])
                p01 = padded[i, j1, k] + c * (padded[i, j1, k1] - padded[i, j1, k])
                p10 = padded[i1, j, k] + c * (padded[i1, j, k1] - padded[i1, j, k])
                p11 = padded[i1, j1, k] + c * (padded[i1, j1, k1] - padded[i1, j1, k])
                p0, p1 = p00 + b * (p01 - p00), p10 + b * (p11 - p10)
                total += p0 + a * (p1 - p0)
                x, y, z = x + gx, y + gy, z + gz
            image[row, col] = total * step


@numba.njit(parallel=True, cache=True, error_model="numpy")
def _dense_back(images, gs, spacing, linear, out):  # type: ignore[no-untyped-def]
    """Voxel-driven: every cell's centre looks up every image (nearest or bilinear); the minimum over views."""
    rows, cols = images.shape[1:]
    n = out.shape
    for i in numba.prange(n[0]):
        for j in range(n[1]):
            for k in range(n[2]):
                x, y = (i - 0.5 * (n[0] - 1)) * spacing, (j - 0.5 * (n[1] - 1)) * spacing
                z = (k - 0.5 * (n[2] - 1)) * spacing
                least = np.float32(np.inf)
                for v in range(len(gs)):
                    g = gs[v]
                    w = 1.0 / (g[8] + (g[5] * x + g[6] * y + g[7] * z))
                    col = (g[0] * x + g[1] * y) * w * g[9] + g[11]
                    row = (g[2] * x + g[3] * y + g[4] * z) * w * g[10] + g[12]
                    value = np.float32(0)
                    if linear:
                        r, c = int(np.floor(row)), int(np.floor(col))
                        if 0 <= r < rows - 1 and 0 <= c < cols - 1:
                            a, b = np.float32(row - r), np.float32(col - c)
                            top = images[v, r, c] * (1 - b) + images[v, r, c + 1] * b
                            low = images[v, r + 1, c] * (1 - b) + images[v, r + 1, c + 1] * b
                            value = top * (1 - a) + low * a
                    else:
                        r, c = int(np.floor(row + 0.5)), int(np.floor(col + 0.5))
                        if 0 <= r < rows and 0 <= c < cols:
                            value = images[v, r, c]
                    least = min(least, value)
                out[i, j, k] = least


def frame(view: View) -> tuple[Array, Array, Array, Array]:
    """Source, centre of pixel (0, 0), and the steps along a row and down a column."""
    u, v, _ = view.axes
    right, down = u * view.pixel_mm[1], v * view.pixel_mm[0]
    corner = view.detector_mm - right * (view.cols - 1) / 2 - down * (view.rows - 1) / 2
    return view.source_mm, corner, right, down


def siddon(volume: Array) -> list[Array]:
    images = [np.empty((view.rows, view.cols), np.float32) for view in VIEWS]
    for view, image in zip(VIEWS, images, strict=True):
        _siddon(volume, GRID.spacing_mm, *frame(view), image)
    return images


def trilinear(padded: Array, step: float) -> list[Array]:
    images = [np.empty((view.rows, view.cols), np.float32) for view in VIEWS]
    for view, image in zip(VIEWS, images, strict=True):
        _trilinear(padded, GRID.spacing_mm, *frame(view), step * GRID.spacing_mm, image)
    return images


def grid_sample(volume: Array, step: float = 1.0) -> list[Array]:
    """torch.nn.functional.grid_sample along the rays, 32 rows at a time."""
    cube = torch.as_tensor(volume, dtype=torch.float32)[None, None]
    reach = 0.5 * float(np.linalg.norm(GRID.extent_mm)) + GRID.spacing_mm
    images = []
    for view in VIEWS:
        d = torch.as_tensor(rays(view), dtype=torch.float32)
        unit = d / d.norm(dim=-1, keepdim=True)
        source = torch.as_tensor(view.source_mm, dtype=torch.float32)
        width = step * GRID.spacing_mm
        depth = torch.arange(view.sod_mm - reach, view.sod_mm + reach, width)
        bands = []
        for band in unit.split(32):
            points = source + depth[:, None, None, None] * band  # (samples, rows, cols, 3)
            place = points.flip(-1) * (2 / torch.tensor(GRID.extent_mm[::-1]))
            bands.append(torch.nn.functional.grid_sample(cube, place[None], align_corners=False)[0, 0].sum(0) * width)
        images.append(torch.cat(bands).numpy())
    return images


class Rtk:
    """itk-rtk on our geometry: RTK's projections are (view, row, col), its volumes (z, y, x)."""

    def __init__(self) -> None:
        itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(THREADS)
        self.image_type = itk.Image[itk.F, 3]
        self.geometry = rtk.ThreeDCircularProjectionGeometry.New()
        for view in VIEWS:
            u, v, _ = view.axes
            self.geometry.AddProjection(*(list(map(float, p)) for p in (view.source_mm, view.detector_mm, u, v)))

    def stack(self, images: Array) -> Any:
        view = VIEWS[0]
        stack = itk.image_from_array(np.ascontiguousarray(images, np.float32))
        stack.SetSpacing([view.pixel_mm[1], view.pixel_mm[0], 1.0])
        stack.SetOrigin([-(view.cols - 1) / 2 * view.pixel_mm[1], -(view.rows - 1) / 2 * view.pixel_mm[0], 0.0])
        return stack

    def volume(self, volume: Array) -> Any:
        image = itk.image_from_array(np.ascontiguousarray(volume.transpose(2, 1, 0), np.float32))
        image.SetSpacing([GRID.spacing_mm] * 3)
        image.SetOrigin([-(n - 1) / 2 * GRID.spacing_mm for n in GRID.shape])
        return image

    def forward(self, volume: Any) -> list[Array]:
        blank = self.stack(np.zeros((len(VIEWS), VIEWS[0].rows, VIEWS[0].cols)))
        kernel = rtk.JosephForwardProjectionImageFilter[self.image_type, self.image_type].New()
        kernel.SetGeometry(self.geometry)
        kernel.SetInput(0, blank)
        kernel.SetInput(1, volume)
        kernel.Update()
        return list(itk.array_from_image(kernel.GetOutput()))

    def back(self, images: Any, name: str) -> Array:
        kernel = getattr(rtk, name)[self.image_type, self.image_type].New()
        kernel.SetGeometry(self.geometry)
        kernel.SetInput(0, self.volume(np.zeros(GRID.shape, np.float32)))
        kernel.SetInput(1, images)
        kernel.Update()
        return itk.array_from_image(kernel.GetOutput()).transpose(2, 1, 0)  # type: ignore[no-any-return]


def alternate(methods: dict[str, tuple[Callable[[], object], int]]) -> dict[str, list[float]]:
    """Seconds of every call: A B C, A B C, ...; each method takes part in its number of rounds."""
    for call, _ in methods.values():
        call()  # compile, fill caches
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for turn in range(max(rounds for _, rounds in methods.values())):
        for name, (call, rounds) in methods.items():
            if turn < rounds:
                start = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - start)
    return seconds


def error(images: list[Array], truth: list[Array]) -> float:
    """Sum of absolute errors over the sum of the truth, in the shadow of the truth."""
    off = sum(float(np.abs(a - b)[b > 0].sum()) for a, b in zip(images, truth, strict=True))
    return off / sum(float(b.sum()) for b in truth)


def rows(seconds: dict[str, list[float]], group: str, ours: str, extra: Callable[[str], dict[str, float]]) -> list[Row]:
    base = statistics.median(seconds[ours])
    return [
        {
            "group": group,
            "method": name,
            "median_ms": 1e3 * statistics.median(times),
            "min_ms": 1e3 * min(times),
            "ratio": statistics.median(times) / base,
            "runs": len(times),
            **extra(name),
        }
        for name, times in seconds.items()
    ]


def measure() -> dict[str, Any]:
    """Run everything; ``rows`` holds one dict per line of the table, the rest says on what."""
    torch.set_num_threads(THREADS)
    numba.set_num_threads(THREADS)
    volume, name = tree()
    dense = volume.astype(np.float32)
    cells = np.argwhere(volume)
    solid, closed = ellipsoid()
    solid_values = solid.reshape(-1)[np.flatnonzero(solid)]
    dense_0, solid_0 = np.pad(dense, 1), np.pad(solid, 1)
    engine = Rtk()
    exact = siddon(dense.astype(np.float64))
    rtk_tree, rtk_solid = engine.volume(dense), engine.volume(solid)

    # name: (on the tree, on the ellipsoid, rounds)
    forward: dict[str, tuple[Callable[[], list[Array]], Callable[[], list[Array]], int]] = {
        "ours, from the volume": (
            lambda: project_views(volume, GRID, VIEWS, threads=THREADS),
            lambda: project_views(solid, GRID, VIEWS, solid_values, THREADS),
            ROUNDS,
        ),
        "ours, from the cells": (
            lambda: project_views(cells, GRID, VIEWS, threads=THREADS),
            lambda: project_views(solid, GRID, VIEWS, solid_values, THREADS),
            ROUNDS,
        ),
        "ours in torch (sparse)": (
            lambda: list(torch_projector.project_views(volume, GRID, VIEWS).numpy()),
            lambda: list(torch_projector.project_views(solid, GRID, VIEWS, torch.as_tensor(solid_values)).numpy()),
            SLOW_ROUNDS,
        ),
        "dense Siddon, numba": (lambda: siddon(dense), lambda: siddon(solid), ROUNDS),
        "dense trilinear, numba, 1 voxel": (lambda: trilinear(dense_0, 1.0), lambda: trilinear(solid_0, 1.0), ROUNDS),
        "dense trilinear, numba, 1/2 voxel": (lambda: trilinear(dense_0, 0.5), lambda: trilinear(solid_0, 0.5), ROUNDS),
        "itk-rtk Joseph": (lambda: engine.forward(rtk_tree), lambda: engine.forward(rtk_solid), ROUNDS),
        "torch grid_sample, 1 voxel": (lambda: grid_sample(dense), lambda: grid_sample(solid), SLOW_ROUNDS),
    }
    seconds = alternate({name: (on_tree, rounds) for name, (on_tree, _, rounds) in forward.items()})
    table = rows(
        seconds,
        "project",
        "ours, from the volume",
        lambda name: {
            "error_ellipsoid": error(forward[name][1](), closed),
            "error_tree": error(forward[name][0](), exact),
        },
    )

    images = project_views(volume, GRID, VIEWS, threads=THREADS)
    masks = [silhouette(image, volume, GRID, view) for image, view in zip(images, VIEWS, strict=True)]
    both, lit = np.stack(images), np.stack(masks)
    gs = np.array([view.constants() for view in VIEWS])
    found, found_f = np.empty(GRID.shape, np.uint8), np.empty(GRID.shape, np.float32)
    rtk_images, rtk_one = engine.stack(both), [engine.stack(np.stack([m, m])) for m in masks]
    seconds = alternate(
        {
            "ours, hull": (lambda: hull(masks, VIEWS, GRID, THREADS), ROUNDS),
            "dense voxel-driven, numba, nearest": (
                lambda: _dense_back(lit, gs, GRID.spacing_mm, False, found),
                ROUNDS,
            ),
            "itk-rtk voxel-driven, both views": (
                lambda: engine.back(rtk_one[0], "BackProjectionImageFilter"),
                SLOW_ROUNDS,
            ),
        }
    )
    _dense_back(lit, gs, GRID.spacing_mm, False, found)
    carved = hull(masks, VIEWS, GRID, THREADS)
    table += rows(seconds, "hull", "ours, hull", lambda _: {})
    seconds = alternate(
        {
            "ours, adjoint, whole grid": (
                lambda: [adjoint(i, GRID, v, threads=THREADS) for i, v in zip(images, VIEWS, strict=True)],
                SLOW_ROUNDS * 2,
            ),
            "ours, adjoint, tree's cells": (
                lambda: [adjoint(i, GRID, v, cells, THREADS) for i, v in zip(images, VIEWS, strict=True)],
                ROUNDS,
            ),
            "dense voxel-driven, numba, bilinear": (
                lambda: _dense_back(both, gs, GRID.spacing_mm, True, found_f),
                ROUNDS,
            ),
            "itk-rtk Joseph back-projector": (
                lambda: engine.back(rtk_images, "JosephBackProjectionImageFilter"),
                SLOW_ROUNDS,
            ),
        }
    )
    table += rows(seconds, "adjoint", "ours, adjoint, whole grid", lambda _: {})
    return {
        "case": name,
        "cells": len(cells),
        "threads": THREADS,
        "lit_fraction": float(lit.mean()),
        "hull_cells": int(carved.sum()),
        "hull_recall": float(carved[volume != 0].mean()),
        "hull_equals_dense": bool(np.array_equal(carved, found)),
        "rows": table,
    }


def text(result: dict[str, Any]) -> str:
    """The table, for people."""
    lines = [
        f"{result['case']}: {result['cells']} occupied cells of 128^3 at 0.95 mm, two views of 512 x 512, "
        f"{result['threads']} threads",
        f"{'':9}{'method':36}{'median ms':>11}{'min ms':>10}{'x ours':>9}{'runs':>6}"
        f"{'err ellipsoid':>15}{'err tree':>11}",
    ]
    for row in result["rows"]:
        errors = "".join(
            f"{row[key]:>{width}.1e}" if key in row else ""
            for key, width in (("error_ellipsoid", 15), ("error_tree", 11))
        )
        lines.append(
            f"{row['group']:9}{row['method']:36}{row['median_ms']:>11.2f}{row['min_ms']:>10.2f}{row['ratio']:>9.2f}"
            f"{row['runs']:>6}{errors}"
        )
    lines.append(
        f"hull: {result['hull_cells']} cells, recall {result['hull_recall']}, equal to the dense one: "
        f"{result['hull_equals_dense']}"
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text(measure()))
