"""The sparse projector in torch: the same chords as ``projector``, batched over views, on any device.

Each cell gets a fixed window of pixels, large enough for the largest shadow; chords of a chunk of cells are one
tensor (views, cells, window rows, window columns), scattered with ``index_add``. On the CPU that adds in order and
the result is the same every time; on CUDA it adds atomically, so the last bits vary: images that become labels
(promise P1, level L1) come from ``projector``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.projector import check_clear
from lesionforge.generators.carm.view import View

if TYPE_CHECKING:
    import torch

_TENSORS = 14  # window-sized float32 tensors alive at once, by count of the lines of ``_chords``


def project_views(
    occupied: NDArray[Any],
    grid: Grid,
    views: Sequence[View],
    values: torch.Tensor | None = None,
    device: str = "cpu",
    memory_mb: int = 256,
) -> torch.Tensor:
    """Line integrals (views, rows, cols) float32 on ``device``, differentiable in ``values``.

    Args:
        occupied: volume of ``grid.shape``, nonzero is occupied, or cell indices (n, 3).
        grid: where the cells are.
        views: all of one detector size.
        values: per mm, (n,) for the cells in flat order (or the order of ``occupied``, if a list); default 1.
        device: a torch device string; it must know float64.
        memory_mb: bound on the working tensors; cells are taken in chunks that fit.

    Raises:
        ValueError: no view, detectors of different sizes, values that do not fit, or a grid at the source.
        ImportError: torch is not installed.
    """
    import torch

    if not views or len({(view.rows, view.cols) for view in views}) > 1:
        raise ValueError(f"{len(views)} views of sizes {[(v.rows, v.cols) for v in views]}: give some, of one size")
    for view in views:
        check_clear(grid, view)
    flat = grid.cells(occupied)
    weights = torch.ones(flat.size, device=device) if values is None else values.to(device, torch.float32)
    if weights.shape != (flat.size,):
        raise ValueError(f"values have shape {tuple(weights.shape)}: give ({flat.size},), one per occupied cell")
    index = np.stack(np.unravel_index(flat, grid.shape), axis=1)
    centres = torch.as_tensor(grid.centres(index), dtype=torch.float64, device=device)
    constants = np.array([view.constants() for view in views])
    g = torch.as_tensor(constants, dtype=torch.float64, device=device).T[:, :, None]  # (13, views, 1)
    rows, cols = views[0].rows, views[0].cols
    size = _window(grid, constants)
    image = torch.zeros(len(views) * rows * cols, device=device)
    chunk = max(1, (memory_mb << 20) // (_TENSORS * 4 * len(views) * size * size))
    for first in range(0, flat.size, chunk):
        part = slice(first, first + chunk)
        chords, pixel, seen = _chords(centres[part], g, 0.5 * grid.spacing_mm, size, rows, cols)
        chords = chords * weights[part, None, None]
        image = image.index_add(0, pixel[seen], chords[seen])
    return image.reshape(len(views), rows, cols)


def _window(grid: Grid, constants: NDArray[np.float64]) -> int:
    """Pixels on the edge of a window that holds any cell's shadow: the bound of ``kernels._window`` at its worst."""
    half, reach = 0.5 * grid.spacing_mm, 0.5 * float(np.linalg.norm(grid.extent_mm))
    worst = 0.0
    for view in constants:
        sod, focal = view[8], max(view[9], view[10])
        clear = sod - 0.5 * float(np.abs(view[5:8]) @ np.asarray(grid.extent_mm))
        slope = np.hypot(1.0, reach / clear)  # |u - tan d|, as u and d are orthogonal
        worst = max(worst, 2 * focal * half * np.sqrt(3.0) * slope / clear)
    return int(np.ceil(worst)) + 1


def _chords(
    centres: torch.Tensor, g: torch.Tensor, half: float, size: int, rows: int, cols: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Chords in mm, flat pixel index and whether the pixel exists, each (views, cells, size, size).

    Double precision up to the position of the ray relative to the cell's centre, single after, as in ``kernels``.
    """
    import torch

    ux, uy, vx, vy, vz, dx, dy, dz, sod, fu, fv, cc, cr = g
    x, y, z = centres.T[:, None, :]
    along, down = ux * x + uy * y, vx * x + vy * y + vz * z
    depth = sod + (dx * x + dy * y + dz * z)
    c0 = torch.floor(along / depth * fu + cc - 0.5 * (size - 1) + 0.5)
    r0 = torch.floor(down / depth * fv + cr - 0.5 * (size - 1) + 0.5)
    steps = torch.arange(size, device=centres.device, dtype=torch.float64)
    col, row = c0[..., None] + steps, r0[..., None] + steps  # (views, cells, size)
    a, b = (col - cc[..., None]) / fu[..., None], (row - cr[..., None]) / fv[..., None]
    ea = (depth[..., None] * a - along[..., None])[..., None, :]
    eb = (depth[..., None] * b - down[..., None])[..., :, None]
    a, b = a[..., None, :], b[..., :, None]
    near = torch.tensor(-torch.inf, device=centres.device)
    far = torch.tensor(torch.inf, device=centres.device)
    zero = torch.zeros_like(ux)
    for u, v, d in ((ux, vx, dx), (uy, vy, dy), (zero, vz, dz)):
        u, v, d = (w[..., None, None] for w in (u, v, d))
        p, slope = (ea * u + eb * v).float(), (d + a * u + b * v).float()
        slope = torch.where(slope.abs() > 1e-20, slope, torch.full_like(slope, 1e-20))
        middle, reach = -p / slope, half / slope.abs()
        near, far = torch.maximum(near, middle - reach), torch.minimum(far, middle + reach)
    chords = (far - near).clamp_min(0.0) * torch.sqrt(1.0 + a * a + b * b).float()
    seen = (((row >= 0) & (row < rows))[..., :, None]) & (((col >= 0) & (col < cols))[..., None, :])
    view = torch.arange(g.shape[1], device=centres.device)[:, None, None, None]
    pixel = (view * rows + row[..., :, None].long()) * cols + col[..., None, :].long()
    return chords, pixel, seen
