"""From paths of cells to branches: at a fork the larger, straighter vessel goes on, others are its side branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.int64]
Floats = NDArray[np.float64]

AHEAD = 6  # cells over which the direction at a fork is told


@dataclass(frozen=True)
class Chain:
    """The cells of a branch from the one of its parent that it leaves from to its end.

    ``parent``: number of the parent's chain, -1 of the first.
    """

    cells: Cells
    parent: int


def chains(paths: Sequence[Cells], places: NDArray[np.int64], radii: Floats) -> list[Chain]:
    """A tree's branches, each parent before its side branches, these from proximal to distal.

    Which vessel goes on at a fork: that with the largest volume beyond, by how straight on it runs.

    Args:
        paths: cells' numbers, each path from a cell of an earlier one (``Ways.paths``).
        places: (n, 3) of all cells.
        radii: (n,) in cells.
    """
    after: dict[int, list[int]] = {}
    for path in paths:
        for a, b in zip(path[:-1].tolist(), path[1:].tolist(), strict=True):
            after.setdefault(a, []).append(b)
    root = int(paths[0][0])
    order = [root]
    for cell in order:
        order += after.get(cell, [])
    beyond = dict.fromkeys(order, 0.0)
    for cell in reversed(order):
        for child in after.get(cell, []):
            step = float(np.linalg.norm(places[child] - places[cell]))
            beyond[cell] += beyond[child] + step * float(radii[child]) ** 2
    out: list[Chain] = []
    todo: list[tuple[list[int], int]] = [([root], -1)]
    while todo:
        chain, parent = todo.pop(0)
        number, sides = len(out), []
        while forward := after.get(chain[-1], []):
            best = max(forward, key=lambda cell: (_weight(chain, cell, after, beyond, places), -cell))
            sides += [([chain[-1], cell], number) for cell in forward if cell != best]
            chain.append(best)
        out.append(Chain(np.array(chain), parent))
        todo += sides
    return out


def _weight(
    chain: list[int], cell: int, after: dict[int, list[int]], beyond: dict[int, float], places: NDArray[np.int64]
) -> float:
    """Of going on to ``cell``: the volume beyond, less where the way bends."""
    ahead = [chain[-1], cell]
    while len(ahead) <= AHEAD and (forward := after.get(ahead[-1], [])):
        ahead.append(max(forward, key=lambda one: (beyond[one], -one)))
    come = places[chain[-1]] - places[chain[max(0, len(chain) - 1 - AHEAD)]]
    go = places[ahead[-1]] - places[chain[-1]]
    size = float(np.linalg.norm(come) * np.linalg.norm(go))
    straight = float(come @ go) / size if size else 1.0
    return (beyond[cell] + 1e-6) * (1.25 + straight)


def names(parents: Sequence[int]) -> list[str]:
    """``main``; its side branches ``1``, ``2`` ... from proximal to distal; theirs ``1.1``, ``1.2`` ..."""
    out: list[str] = []
    count: dict[int, int] = {}
    for parent in parents:
        if parent < 0:
            out.append("main")
            continue
        count[parent] = count.get(parent, 0) + 1
        out.append(f"{out[parent]}.{count[parent]}" if parents[parent] >= 0 else str(count[parent]))
    return out
