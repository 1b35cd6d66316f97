"""The files of a reconstructed tree, for the programs of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm.surface import surface
from lesionforge.generators.types import significant
from lesionforge.jobs.tasks.reconstruction.pairs import Pair
from lesionforge.jobs.tasks.reconstruction.tree import polydata
from lesionforge.jobs.tasks.reconstruction.tree.line import along
from lesionforge.jobs.tasks.reconstruction.tree.narrow import LEAST_MM, LEAST_PERCENT
from lesionforge.jobs.tasks.reconstruction.tree.tree import Tree, lumen
from lesionforge.sinks.exports.nnunet import save_nifti

AXES = "LPS mm from the isocentre: x to the patient's left, y posterior, z to the head; NIfTI files say so in RAS"


def write(folder: Path, tree: Tree, volume: NDArray[np.float32], pair: Pair) -> list[Path]:
    """Write a tree's files into a folder and return their paths.

    ``tree.nii.gz``: the lumen, 1 in voxels of 0.4 mm. ``likelihood.nii.gz``: what it was grown from, float32 on the
    pair's grid. ``tree.stl``: the lumen's surface, closed. ``tree.vtk``, ``tree.vtp``: centrelines with the radius,
    healthy diameter, %DS, branch and generation at each point; ``tree.swc``: centrelines with radii. ``tree.json``: the
    branches and narrowings in numbers. The isocentre is at 0, whatever the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = ("tree.nii.gz", "likelihood.nii.gz", "tree.stl", "tree.vtk", "tree.vtp", "tree.swc", "tree.json")
    paths = [folder / name for name in names]
    held = lumen(tree)
    edge = held.voxel_mm[0]
    at = np.rint(held.points.astype(np.float64) / edge).astype(np.int64)
    low = at.min(0) - 1
    filled = np.zeros(at.max(0) - low + 2, np.uint8)
    filled[tuple((at - low).T)] = 1
    save_nifti(filled, _affine(edge, low * edge), paths[0])
    save_nifti(volume, _affine(pair.grid.spacing_mm, pair.grid.centres([[0, 0, 0]])[0]), paths[1])
    paths[2].write_bytes(polydata.stl(surface(held)))
    line = polydata.Centreline.of(tree)
    texts = polydata.vtk(line), polydata.vtp(line), polydata.swc(line), json.dumps(numbers(tree), indent=1)
    for path, text in zip(paths[3:], texts, strict=True):
        path.write_text(text, encoding="ascii")
    return paths


def numbers(tree: Tree) -> dict[str, Any]:
    """Branches and narrowings as a table holds them; lengths in mm.

    ``narrowings``: those beyond doubt, of vessels and narrowings as wide and as narrow as ``least`` says; others may
    lie where ``not_assessable`` says.
    """
    branches = [
        {
            "name": branch.name,
            "parent": tree.branches[branch.parent].name if branch.parent >= 0 else None,
            "length_mm": round(float(along(branch.points)[-1]), 2),
            "proximal_diameter_mm": round(2 * float(branch.radii[0]), 2),
            "distal_diameter_mm": round(2 * float(branch.radii[-1]), 2),
        }
        for branch in tree.branches
    ]
    found = [
        {
            "branch": one.segment,
            "point_mm": [round(x, 2) for x in one.point],
            "length_mm": round(one.length_mm, 2),
            "reference_mm": round(one.reference_mm, 2),
            "mld_mm": round(one.mld_mm, 2),
            "percent_ds": round(one.percent_ds, 1),
            "uncertainty": round(one.uncertainty, 1),
            "views": list(one.views),
        }
        for one in tree.narrowings
    ]
    doubts = [
        {
            "branch": one.branch,
            "point_mm": [round(x, 2) for x in one.point],
            "start_mm": round(one.start_mm, 2),
            "length_mm": round(one.length_mm, 2),
            "why": one.why,
            "looks_percent_ds": None if one.percent_ds is None else round(one.percent_ds, 1),
        }
        for one in tree.unassessed
    ]
    told: dict[str, Any] = {"side": tree.side, "axes": AXES, "lost": significant(tree.lost)}
    told |= {"unexplained": [significant(share) for share in tree.unexplained]}
    told |= {"branches": branches, "narrowings": found}
    return told | {"least": {"percent_ds": LEAST_PERCENT, "reference_mm": LEAST_MM}, "not_assessable": doubts}


def _affine(edge: float, first: NDArray[np.float64]) -> NDArray[np.float64]:
    """From an array's indices to LPS mm; ``first``: the centre of voxel (0, 0, 0)."""
    out = np.diag([edge, edge, edge, 1.0])
    out[:3, 3] = first
    return out
