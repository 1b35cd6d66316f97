"""Chains of skeleton pixels between their ends and junctions, and the distance of a point to the wall of a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit


@jit
def chains(
    skeleton: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Take a one-pixel-wide skeleton apart.

    ``skeleton`` uint8 (rows, cols), non-zero on the skeleton, its outermost pixels zero. A pixel with one neighbour
    of eight is an end, with three or more a junction; junction pixels that touch are one node.

    Returns: pixels int64 (n, 2) x, y of all chains one after the other, without the node pixels; first int64 (m + 1,),
    chain i being ``pixels[first[i]:first[i + 1]]``; ties int64 (m, 2), the nodes at its start and end, -1, -1 for a
    closed ring; nodes float64 (k, 2), their centres.
    """
    rows, cols = skeleton.shape
    degree = np.zeros((rows, cols), np.int8)
    count = 0
    for y in range(1, rows - 1):
        for x in range(1, cols - 1):
            if skeleton[y, x]:
                count += 1
                for dy in range(-1, 2):
                    for dx in range(-1, 2):
                        if (dy or dx) and skeleton[y + dy, x + dx]:
                            degree[y, x] += 1

    node = np.full((rows, cols), -1, np.int64)
    nodes = np.zeros((count + 1, 2))
    found = 0
    stack = np.zeros((count + 1, 2), np.int64)
    for y in range(1, rows - 1):
        for x in range(1, cols - 1):
            if not skeleton[y, x] or node[y, x] >= 0 or degree[y, x] == 2:
                continue
            node[y, x] = found
            stack[0, 0], stack[0, 1] = x, y
            top, size = 1, 0
            while top:
                top -= 1
                px, py = stack[top, 0], stack[top, 1]
                nodes[found, 0] += px
                nodes[found, 1] += py
                size += 1
                if degree[py, px] < 3:
                    continue
                for dy in range(-1, 2):
                    for dx in range(-1, 2):
                        if degree[py + dy, px + dx] >= 3 and node[py + dy, px + dx] < 0:
                            node[py + dy, px + dx] = found
                            stack[top, 0], stack[top, 1] = px + dx, py + dy
                            top += 1
            nodes[found, 0] /= size
            nodes[found, 1] /= size
            found += 1

    pixels = np.zeros((count + 1, 2), np.int64)
    first = np.zeros(count + 2, np.int64)
    ties = np.full((count + 1, 2), -1, np.int64)
    seen = np.zeros((rows, cols), np.bool_)
    tied, filled = 0, 0
    for ring in range(2):  # first from the nodes, then whatever is left: closed rings
        for y in range(1, rows - 1):
            for x in range(1, cols - 1):
                if not skeleton[y, x] or seen[y, x] or degree[y, x] != 2:
                    continue
                start = -1
                for dy in range(-1, 2):
                    for dx in range(-1, 2):
                        if start < 0 and node[y + dy, x + dx] >= 0:
                            start = node[y + dy, x + dx]
                if start < 0 and ring == 0:
                    continue
                end, px, py, length = -1, x, y, 0
                going = True
                while going:
                    seen[py, px] = True
                    pixels[filled, 0], pixels[filled, 1] = px, py
                    filled += 1
                    length += 1
                    going = False
                    reached = -1
                    for dy in range(-1, 2):
                        for dx in range(-1, 2):
                            nx, ny = px + dx, py + dy
                            if node[ny, nx] >= 0 and (length > 1 or node[ny, nx] != start):
                                reached = node[ny, nx]
                    if reached >= 0:
                        end = reached
                        break
                    for dy in range(-1, 2):
                        for dx in range(-1, 2):
                            nx, ny = px + dx, py + dy
                            if not going and skeleton[ny, nx] and not seen[ny, nx] and node[ny, nx] < 0:
                                px, py = nx, ny
                                going = True
                                break
                        if going:
                            break
                if end < 0:
                    end = start  # back where it came from, or a ring
                ties[tied, 0], ties[tied, 1] = start, end
                tied += 1
                first[tied] = filled
    return pixels[:filled], first[: tied + 1], ties[:tied], nodes[:found]


@jit
def wall_distance(mask: NDArray[np.uint8], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each point to the nearest pixel centre outside the mask, in pixels.

    ``mask`` uint8 (rows, cols); ``points`` float64 (n, 2) x, y. The exact Euclidean distance transform between its
    grid points, without computing it everywhere else. Outside the image counts as inside the mask: a vessel that leaves
    the picture does not end in a tip.
    """
    rows, cols = mask.shape
    out = np.zeros(points.shape[0])
    for i in range(points.shape[0]):
        x, y = points[i]
        cx, cy = int(np.rint(x)), int(np.rint(y))
        best = float(max(rows, cols)) ** 2
        ring = 0
        while ring <= max(rows, cols) and (ring - 0.5) * abs(ring - 0.5) < best:
            for py in range(max(cy - ring, 0), min(cy + ring, rows - 1) + 1):
                step = 1 if abs(py - cy) == ring else max(2 * ring, 1)
                for px in range(cx - ring, cx + ring + 1, step):
                    if 0 <= px < cols and not mask[py, px]:
                        best = min(best, (px - x) ** 2 + (py - y) ** 2)
            ring += 1
        out[i] = np.sqrt(best)
    return out
