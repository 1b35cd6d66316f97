"""What is reconstructed: the views of one tree, and what is true of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm.backproject import hull
from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.occupancy import occupied
from lesionforge.generators.carm.view import View
from lesionforge.generators.types import Side

REACH = 0.6  # of a cell's footprint that must hold a lit pixel: a tenth of the cells fewer than with all of it


@dataclass(frozen=True)
class Pair:
    """Silhouettes of one tree from two views or more, in one geometry; ``truth`` where it is known.

    ``shadows``: uint8 (rows, cols) of each view, 1 where a vessel is. ``grid``: what is reconstructed on.
    ``truth``: share of each of its cells that the tree fills. ``target``: the cells that count as the tree's.
    """

    views: tuple[View, ...]
    shadows: tuple[NDArray[np.uint8], ...]
    grid: Grid
    side: Side
    subject: str
    source_id: str
    truth: NDArray[np.float16] | None = None
    paper: NDArray[np.bool_] | None = None
    sample: str = ""

    @cached_property
    def target(self) -> NDArray[np.bool_]:
        """The paper's where it is wanted, else those at least half full, thin vessels as a line of cells."""
        if self.paper is not None:
            return self.paper
        assert self.truth is not None
        return occupied(self.truth.astype(np.float32)) > 0

    @cached_property
    def hull(self) -> NDArray[np.bool_]:
        """The cells that every view leaves."""
        return hull(self.shadows, self.views, self.grid, 1, REACH) > 0


def papers(volume: NDArray[np.uint8], size: int) -> NDArray[np.bool_]:
    """The paper's target: the volume's occupied cells by trilinear sampling, all that is above 0 (XRA-Diff's code)."""
    n = volume.shape[0]
    at = (np.arange(size) + 0.5) * n / size - 0.5
    low = np.floor(at).astype(int)
    high = np.where(at > low, low + 1, low)
    out = volume > 0
    for axis in range(3):
        out = np.take(out, low, axis) | np.take(out, np.minimum(high, n - 1), axis)
    return out


def pair_of_sample(sample: Mapping[str, Any], size: int, rule: str = "paper") -> Pair:
    """A bi-plane sample; ``size``: cells an edge of the grid to reconstruct on, whose truth it stores."""
    record = sample["json"]
    views = tuple(View.from_json({k: v for k, v in one.items() if k != "name"}) for one in record["views"])
    spacing = record["spacing_mm"] * record["grid"][0] / size
    shadows = tuple((_shadow(sample, n) > 0).astype(np.uint8) for n in range(len(views)))
    truth = sample[f"volume{size}.npy.zst"]
    grid = Grid((size,) * 3, spacing)
    paper = papers(sample[f"volume{record['grid'][0]}.npy.zst"], size) if rule == "paper" else None
    who = record["side"], record["subject"], record["source_id"]
    return Pair(views, shadows, grid, *who, truth, paper, record["sample_id"])


def _shadow(sample: Mapping[str, Any], n: int) -> NDArray[Any]:
    found: Sequence[NDArray[Any]] = [sample[name] for name in (f"mask{n}.png", f"view{n}.png") if name in sample]
    return found[0]
