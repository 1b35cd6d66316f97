"""Compiled inner loops of the projector and the back-projector.

All release the interpreter lock and write only rows or cells of their own, so any number of threads gives the same
bits. No fast-math: no operation may be reordered or fused. They sit in one file because numba's cache watches only
the file a function stands in. Points are relative to the isocentre in mm, ``g`` is ``View.constants()``.

**One cell, one row of pixels** (``_row``, ``_inside``). A ray is x(s) = source + (depth + s) D with
D = d + a u + b v (a, b: tangents of the pixel), so d.D = 1 and s is the depth past the cell's centre. Relative to
that centre the ray passes p(s) = (depth a - U) u + (depth b - V) v + s D, numbers of the size of a cell, which is
why single precision is enough there (1e-6 of a chord; all that goes before is double). Three slabs |p(s)| <= h cut
out [near, far]; its length times |D| is the chord. |D| belongs to the pixel, not the cell: it is applied once, at
the end. A ray that runs in a plane of faces to within rounding (AP, odd detector) may count for one, both or
neither of the neighbours there. Eight pixels are done at a time because that fills a vector register; a fixed
count lets the compiler use it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm.view import Constants
from lesionforge.generators.kernels import inline, jit

LANES = 8  # pixels per step; buffers are this much wider than the detector
STRIPE = 3  # 2**3 rows: how the detector is dealt out to threads

Shape = tuple[int, int, int]
Real = Any  # np.float32; mypy follows no scalar arithmetic of numpy
Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Table = NDArray[np.int32]
Views = tuple[Constants, ...]


@jit
def _centre(flat: int, shape: Shape, spacing: float) -> tuple[float, float, float]:
    """World position of a cell from its flat index."""
    k = flat % shape[2]
    ij = flat // shape[2]
    j = ij % shape[1]
    i = ij // shape[1]
    return (
        (i - 0.5 * (shape[0] - 1)) * spacing,
        (j - 0.5 * (shape[1] - 1)) * spacing,
        (k - 0.5 * (shape[2] - 1)) * spacing,
    )


@jit
def _pixel(x: float, y: float, z: float, g: Constants) -> tuple[int, int]:
    """Nearest pixel (row, col) of a point. Silhouette and hull both decide by this very function."""
    ux, uy, vx, vy, vz, dx, dy, dz, sod, fu, fv, cc, cr = g
    inverse = 1.0 / (sod + (dx * x + dy * y + dz * z))
    col = ((ux * x + uy * y) * inverse) * fu + cc
    row = ((vx * x + vy * y + vz * z) * inverse) * fv + cr
    return math.floor(row + 0.5), math.floor(col + 0.5)


@jit
def _window(
    x: float, y: float, z: float, half: float, g: Constants, rows: int, cols: int
) -> tuple[int, int, int, int, float, float, float]:
    """Pixels a cube of half edge ``half`` can reach: r0, r1, c0, c1 (inclusive, clipped), then U, V, depth.

    Over the cube the tangent differs from the centre's by (u - tan d).e / (depth + d.e), e the offset from the
    centre; its largest numerator over its smallest denominator bounds it to about 0.1 % of the window."""
    ux, uy, vx, vy, vz, dx, dy, dz, sod, fu, fv, cc, cr = g
    along, down = ux * x + uy * y, vx * x + vy * y + vz * z
    depth = sod + (dx * x + dy * y + dz * z)
    inverse = 1.0 / depth
    tu, tv = along * inverse, down * inverse
    scale = half / (depth - half * (abs(dx) + abs(dy) + abs(dz)))
    reach_c = fu * scale * (abs(ux - tu * dx) + abs(uy - tu * dy) + abs(tu * dz))
    reach_r = fv * scale * (abs(vx - tv * dx) + abs(vy - tv * dy) + abs(vz - tv * dz))
    col, row = tu * fu + cc, tv * fv + cr
    r0 = max(math.ceil(row - reach_r), 0)
    r1 = min(math.floor(row + reach_r), rows - 1)
    c0 = max(math.ceil(col - reach_c), 0)
    c1 = min(math.floor(col + reach_c), cols - 1)
    return r0, r1, c0, c1, along, down, depth


@inline
def _slab(p: Real, direction: Real, half: Real) -> tuple[Any, Any]:
    """[near, far] of a ray between two planes; a ray along the planes gets a tiny slope instead of 1 / 0."""
    tiny = np.float32(1e-20)
    slope = direction if abs(direction) > tiny else tiny
    inverse = np.float32(1) / slope
    middle = -p * inverse
    reach = half * abs(inverse)
    return middle - reach, middle + reach


@jit
def _row(row: int, c0: int, along: float, down: float, depth: float, half: Real, g: Constants) -> tuple[Any, ...]:
    """What the pixels of one row share, seen from one cell: p and D in x and y at ``c0``, and the slab in z."""
    ux, uy, vx, vy, vz, dx, dy, dz, _, fu, fv, cc, cr = g
    a, b = (c0 - cc) / fu, (row - cr) / fv
    ea, eb = depth * a - along, depth * b - down
    near, far = _slab(np.float32(eb * vz), np.float32(dz + b * vz), half)
    px, py = np.float32(ea * ux + eb * vx), np.float32(ea * uy + eb * vy)
    return px, np.float32(dx + a * ux + b * vx), py, np.float32(dy + a * uy + b * vy), near, far


@jit
def _steps(depth: float, g: Constants) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Change of p and of D, in x and in y, from one column to the next."""
    step = 1.0 / g[9]
    return (
        np.float32(depth * step * g[0]),
        np.float32(step * g[0]),
        np.float32(depth * step * g[1]),
        np.float32(step * g[1]),
    )


@inline
def _inside(px: Real, dx: Real, py: Real, dy: Real, near: Real, far: Real, half: Real) -> Any:
    """Length in s that the slabs in x and y leave of [near, far], 0 where the ray misses the cell."""
    near_x, far_x = _slab(px, dx, half)
    near_y, far_y = _slab(py, dy, half)
    near_x = near_x if near_x > near_y else near_y
    near_x = near_x if near_x > near else near
    far_x = far_x if far_x < far_y else far_y
    far_x = far_x if far_x < far else far
    length = far_x - near_x
    return length if length > np.float32(0) else np.float32(0)


@jit
def splat(
    cells: Indices, values: Floats, shape: Shape, spacing: float, g: Constants, buffer: Floats, part: int, parts: int
) -> None:
    """Add the cells, in order, to the rows of ``buffer`` (rows, cols + LANES) that are this part's."""
    rows, cols = buffer.shape[0], buffer.shape[1] - LANES
    half = 0.5 * spacing
    half32 = np.float32(half)
    for n in range(cells.size):
        x, y, z = _centre(cells[n], shape, spacing)
        r0, r1, c0, c1, along, down, depth = _window(x, y, z, half, g, rows, cols)
        value = values[n]
        gx, hx, gy, hy = _steps(depth, g)
        for start in range(c0, c1 + 1, LANES):
            for row in range(r0, r1 + 1):
                if parts > 1 and (row >> STRIPE) % parts != part:
                    continue
                px, dx, py, dy, near, far = _row(row, start, along, down, depth, half32, g)
                line = buffer[row, start : start + LANES]
                for k in range(LANES):
                    q = np.float32(k)
                    line[k] += value * _inside(px + q * gx, dx + q * hx, py + q * gy, dy + q * hy, near, far, half32)


@jit
def lengthen(source: Floats, g: Constants, target: Floats, part: int, parts: int) -> None:
    """target = source * |D|, from depth to length along the ray; the widths may differ by the padding."""
    rows, cols = min(source.shape[0], target.shape[0]), min(source.shape[1], target.shape[1])
    fu, fv, cc, cr = np.float32(g[9]), g[10], np.float32(g[11]), g[12]
    for row in range(rows):
        if (row >> STRIPE) % parts == part:
            b = (row - cr) / fv
            across = np.float32(1.0 + b * b)
            for col in range(cols):
                a = (np.float32(col) - cc) / fu
                target[row, col] = source[row, col] * np.float32(math.sqrt(across + a * a))


@jit
def mark(cells: Indices, shape: Shape, spacing: float, g: Constants, lit: Bytes) -> None:
    """Light the pixels in which an occupied cell's centre falls."""
    rows, cols = lit.shape
    for n in range(cells.size):
        x, y, z = _centre(cells[n], shape, spacing)
        row, col = _pixel(x, y, z, g)
        if 0 <= row < rows and 0 <= col < cols:
            lit[row, col] = 1


@jit
def integral(image: NDArray[Any], table: Table) -> None:
    """Summed-area table (rows + 1, cols + 1) int32 of the number of nonzero pixels; its first row and column are 0."""
    for row in range(image.shape[0]):
        run = np.int32(0)
        for col in range(image.shape[1]):
            run += np.int32(image[row, col] != 0)
            table[row + 1, col + 1] = table[row, col + 1] + run


@jit
def _empty(table: Table, r0: int, r1: int, c0: int, c1: int) -> bool:
    """True where no pixel of the window is lit, or the window is empty."""
    if r1 < r0 or c1 < c0:
        return True
    lit = table[r1 + 1, c1 + 1] - table[r0, c1 + 1] - table[r1 + 1, c0] + table[r0, c0]
    return bool(lit == 0)


@jit
def gather(
    cells: Indices,
    lo: int,
    hi: int,
    shape: Shape,
    spacing: float,
    g: Constants,
    image: Floats,
    table: Table,
    out: Floats,
) -> None:
    """out[n] = sum of chord * image over pixels, for cells lo..hi (of ``cells``, or of the grid if it is empty)."""
    rows, cols = image.shape[0], image.shape[1] - LANES
    total, chord = np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
    half = 0.5 * spacing
    half32 = np.float32(half)
    for n in range(lo, hi):
        x, y, z = _centre(cells[n] if cells.size else n, shape, spacing)
        r0, r1, c0, c1, along, down, depth = _window(x, y, z, half, g, rows, cols)
        if _empty(table, r0, r1, c0, c1):
            out[n] = 0
            continue
        total[:] = 0
        gx, hx, gy, hy = _steps(depth, g)
        for start in range(c0, c1 + 1, LANES):
            for row in range(r0, r1 + 1):
                px, dx, py, dy, near, far = _row(row, start, along, down, depth, half32, g)
                line = image[row, start : start + LANES]
                for k in range(LANES):
                    q = np.float32(k)
                    chord[k] = _inside(px + q * gx, dx + q * hx, py + q * gy, dy + q * hy, near, far, half32)
                for k in range(LANES):
                    total[k] += line[k] * chord[k]
        out[n] = total.sum()


@jit
def _lit(at: Shape, edge: int, shape: Shape, spacing: float, lit: Bytes, tables: Table, gs: Views) -> bool:
    """False where some view has nothing lit in the window of the block of ``edge`` cells that begins ``at`` a cell."""
    x = (at[0] + 0.5 * (edge - 1) - 0.5 * (shape[0] - 1)) * spacing
    y = (at[1] + 0.5 * (edge - 1) - 0.5 * (shape[1] - 1)) * spacing
    z = (at[2] + 0.5 * (edge - 1) - 0.5 * (shape[2] - 1)) * spacing
    rows, cols = lit.shape[1], lit.shape[2]
    for v in range(len(gs)):
        # Half a pixel more on each side: nearest-pixel rounding.
        r0, r1, c0, c1, _, _, _ = _window(x, y, z, 0.5 * edge * spacing, gs[v], rows, cols)
        r0, r1 = max(r0 - 1, 0), min(r1 + 1, rows - 1)
        c0, c1 = max(c0 - 1, 0), min(c1 + 1, cols - 1)
        if _empty(tables[v], r0, r1, c0, c1):
            return False
    return True


@jit
def _carve(
    at: Shape, edge: int, spacing: float, reach: float, lit: Bytes, tables: Table, gs: Views, out: Bytes
) -> None:
    """``carve`` cell by cell in a block; a later view is looked at only where the earlier ones are lit."""
    shape, rows, cols = out.shape, lit.shape[1], lit.shape[2]
    for v in range(len(gs)):
        g, image, table = gs[v], lit[v], tables[v]
        for i in range(at[0], min(at[0] + edge, shape[0])):
            x = (i - 0.5 * (shape[0] - 1)) * spacing
            for j in range(at[1], min(at[1] + edge, shape[1])):
                y = (j - 0.5 * (shape[1] - 1)) * spacing
                for k in range(at[2], min(at[2] + edge, shape[2])):
                    if v > 0 and out[i, j, k] == 0:
                        continue
                    z = (k - 0.5 * (shape[2] - 1)) * spacing
                    row, col = _pixel(x, y, z, g)
                    inside = 0 <= row < rows and 0 <= col < cols
                    if inside and image[row, col] == 0:
                        inside = False
                        if reach > 0:
                            r0, r1, c0, c1, _, _, _ = _window(x, y, z, 0.5 * reach * spacing, g, rows, cols)
                            inside = not _empty(table, r0, r1, c0, c1)
                    out[i, j, k] = inside


@jit
def carve(
    lit: Bytes, tables: Table, gs: Views, spacing: float, reach: float, block: int, part: int, parts: int, out: Bytes
) -> None:
    """out = 1 where a cell's centre is lit in every view, or else its footprint, as much of it as ``reach`` says.

    Blocks with nothing lit in some view, and such eighths of the others, are skipped: same result as dense."""
    shape, half = out.shape, block // 2
    for bi in range(part * block, shape[0], parts * block):
        for bj in range(0, shape[1], block):
            for bk in range(0, shape[2], block):
                if not _lit((bi, bj, bk), block, shape, spacing, lit, tables, gs):
                    continue
                for eighth in range(8):
                    at = (bi + half * (eighth >> 2), bj + half * (eighth >> 1 & 1), bk + half * (eighth & 1))
                    if _lit(at, half, shape, spacing, lit, tables, gs):
                        _carve(at, half, spacing, reach, lit, tables, gs, out)
