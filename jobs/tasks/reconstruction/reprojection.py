"""A reconstruction seen from the views that it was made from: all that can be measured where no truth is known.

Its cells are projected as cubes, exactly (``carm.projector``): a pixel is lit where its ray passes through one, or a
cell's centre falls into it. Cells of 2 mm are 10 pixels wide, so that even the true tree's cells do not reach 1. The
hull of two silhouettes covers both wholly: these measures cannot rank methods without the hull's beside them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.projector import project_views, silhouette
from lesionforge.generators.carm.view import View
from lesionforge.jobs.tasks.reconstruction.metrics import dice, image_chamfer
from lesionforge.jobs.tasks.reconstruction.pairs import Pair

Mask = NDArray[np.bool_]
AROUND = np.ones((3, 3), bool)


def shadows(cells: Mask, grid: Grid, views: Sequence[View]) -> list[Mask]:
    """What the views see of occupied cells: (rows, cols) each."""
    lengths = project_views(cells, grid, views, threads=1)
    return [silhouette(length, cells, grid, view) > 0 for length, view in zip(lengths, views, strict=True)]


def view_scores(pair: Pair, cells: Mask) -> list[dict[str, float]]:
    """Scores in each view against its silhouette.

    ``dsc``; ``dsc_eroded``: after an erosion of both by 3 x 3 pixels, as the paper's text says (its code dilates both);
    ``chamfer``: pixels, both directions summed, without erosion; ``covered``: share of the silhouette.

    Args:
        pair: its views and silhouettes.
        cells: found, of its grid.
    """
    out = []
    for seen, shadow in zip(shadows(cells, pair.grid, pair.views), pair.shadows, strict=True):
        true = shadow > 0
        thin = [ndimage.binary_erosion(image, AROUND) for image in (true, seen)]
        scores = {"dsc": dice(true, seen), "dsc_eroded": dice(*thin), "chamfer": image_chamfer(true, seen)}
        out.append(scores | {"covered": float((true & seen).sum() / max(1, true.sum()))})
    return out


def reprojection_scores(pair: Pair, cells: Mask) -> dict[str, float]:
    """``view_scores`` of all views in one: ``dsc_x0``, ``dsc_x0_eroded``, ``chamfer_x0``, and so on."""
    out: dict[str, float] = {}
    for n, scores in enumerate(view_scores(pair, cells)):
        out |= {f"dsc_x{n}": scores["dsc"], f"dsc_x{n}_eroded": scores["dsc_eroded"]}
        out[f"chamfer_x{n}"] = scores["chamfer"]
    return out
