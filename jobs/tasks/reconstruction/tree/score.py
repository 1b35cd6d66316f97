"""What the tree that is grown of a volume is worth, beside the volume cut at a threshold."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.types import UserError
from lesionforge.jobs.tasks.reconstruction.metrics import topology, volume_scores
from lesionforge.jobs.tasks.reconstruction.pairs import Pair, papers
from lesionforge.jobs.tasks.reconstruction.tree.grow import grow
from lesionforge.jobs.tasks.reconstruction.tree.tree import Tree, tree_volume

PREFIX = "tree_"
NAMES = ("dsc", "chamfer", "o2", "cldice", "pieces")


def tree_scores(pair: Pair, volume: NDArray[np.float32], threshold: float) -> dict[str, float]:
    """Scores of ``metrics.volume_scores`` as ``tree_NAME``, NaN where no tree could be grown.

    The tree fills cells by the rule that its target was made by. ``tree_pieces`` is of ``tree_volume``, the export: the
    paper's rule samples a finer grid and so parts even the truth.
    """
    try:
        tree = grow(volume, pair, threshold)
    except UserError:
        return {PREFIX + name: math.nan for name in NAMES}
    scores = volume_scores(pair.target, by_rule(tree, pair), pair.grid.spacing_mm)
    scores["pieces"] = float(topology(tree_volume(tree, pair.grid))[0])
    return {PREFIX + name: scores[name] for name in NAMES}


def by_rule(tree: Tree, pair: Pair) -> NDArray[np.bool_]:
    """The cells of a pair's grid that are a tree's, by the rule of the pair's target."""
    if pair.paper is None:
        return tree_volume(tree, pair.grid)
    size = pair.grid.shape[0]
    fine = Grid((pair.full,) * 3, pair.grid.spacing_mm * size / pair.full)
    return papers(tree_volume(tree, fine).astype(np.uint8), size)
