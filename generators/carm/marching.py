"""Marching cubes of the few voxels that a tree fills of its box: only the cubes that its surface crosses are visited.

Which triangles a cube's eight corners make is asked of scikit-image, once for each of the 256 kinds of cube. The
surface is the one that it finds in the whole box (tests), in a tenth of the time.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm import cells
from lesionforge.generators.kernels import jit

Triangles = NDArray[np.int32]
Points = NDArray[np.float64]
_OWN = 12  # a vertex in the middle of the cube, beside those on its twelve edges


def marched(voxels: NDArray[np.int64]) -> tuple[Points, Triangles]:
    """The surface half way between voxels and what is about them.

    Args:
        voxels: (n, 3) indices.

    Returns:
        Vertices (m, 3) in units of voxels, and triangles (t, 3), whose corners turn right seen from outside.
    """
    low = voxels.min(axis=0) - 1
    codes = np.zeros(voxels.max(axis=0) - low + 1, np.uint8)  # of the cube from a voxel to the next along each axis
    _mark(voxels - low, codes)
    flat = codes.reshape(-1)
    cubes = cells.nonzero(flat)
    first, corners = _kinds()
    count = int(np.diff(first)[flat[cubes]].sum())
    vertices, triangles = np.empty((3 * count, 3)), np.empty((count, 3), np.int32)
    found = _assemble(cubes, codes, first, corners, vertices, triangles)
    return vertices[:found] + low, triangles


@functools.cache
def _kinds() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the triangles of each kind of cube begin, and their corners: edge (axis * 4 + one of four) or ``_OWN``."""
    from skimage.measure import marching_cubes  # takes a second to import

    first, corners = [0, 0], list[list[int]]()
    for code in range(1, 255):
        cube = np.array([code >> bit & 1 for bit in range(8)], np.float32).reshape(2, 2, 2)
        found, triangles, _, _ = marching_cubes(cube, 0.5, allow_degenerate=False)
        names = []
        for vertex in found:
            one, *others = np.flatnonzero(vertex % 1)
            two, three = np.delete(vertex, one).astype(int)
            names.append(_OWN if others else int(one * 4 + two * 2 + three))
        corners += [[names[n] for n in triangle] for triangle in triangles]
        first.append(len(corners))
    return np.array([*first, len(corners)]), np.array(corners)


@jit
def _mark(voxels: NDArray[np.int64], codes: NDArray[np.uint8]) -> None:
    """Tell each cube which of its corners are voxels, one bit each."""
    for n in range(len(voxels)):
        i, j, k = voxels[n]
        for bit in range(8):
            codes[i - (bit >> 2), j - (bit >> 1 & 1), k - (bit & 1)] |= 1 << bit


@jit
def _assemble(
    cubes: NDArray[np.int64],
    codes: NDArray[np.uint8],
    first: NDArray[np.int64],
    corners: NDArray[np.int64],
    vertices: Points,
    triangles: Triangles,
) -> int:
    """Number the vertices, each once, as cubes come by; returns how many there are.

    Of edges only those of the layer of cubes before and of this one are remembered: what is older than ``since`` is of
    one that the place was used for before.
    """
    nj, nk = codes.shape[1], codes.shape[2]
    names = np.full((2, nj + 1, nk + 1, 3), -1, np.int32)
    layer, since, begin = -2, 0, 0
    count, made = 0, 0
    for n in range(len(cubes)):
        i, j, k = cubes[n] // (nj * nk), cubes[n] // nk % nj, cubes[n] % nk
        if i != layer:
            since = begin if i == layer + 1 else count
            layer, begin = i, count
        code = codes[i, j, k]
        mine = -1
        for t in range(first[code], first[code + 1]):
            for c in range(3):
                edge = corners[t, c]
                if edge == _OWN:
                    if mine < 0:
                        mine = count
                        vertices[count] = i + 0.5, j + 0.5, k + 0.5
                        count += 1
                    triangles[made, c] = mine
                    continue
                axis, one, two = edge >> 2, edge >> 1 & 1, edge & 1
                x = i + (0 if axis == 0 else one)
                y = j + (one if axis == 0 else 0 if axis == 1 else two)
                z = k + (two if axis != 2 else 0)
                name = names[x & 1, y, z, axis]
                if name < (begin if x > i else since):
                    name = count
                    names[x & 1, y, z, axis] = name
                    vertices[count] = x, y, z
                    vertices[count, axis] += 0.5
                    count += 1
                triangles[made, c] = name
            made += 1
    return count
