"""From a patient's views to a tree, its files and what they are worth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from PIL import Image

from lesionforge.engine.sample import rounded
from lesionforge.generators.types import Side
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.reconstruction.clinical.case import ClinicalPair, cell_mm, clinical_pair
from lesionforge.jobs.tasks.reconstruction.clinical.inputs import Angle, apart_deg
from lesionforge.jobs.tasks.reconstruction.metrics import topology
from lesionforge.jobs.tasks.reconstruction.reprojection import view_scores
from lesionforge.jobs.tasks.reconstruction.settings import learner_class, settings
from lesionforge.jobs.tasks.reconstruction.tree import export, picture
from lesionforge.jobs.tasks.reconstruction.tree.grow import grow
from lesionforge.jobs.tasks.reconstruction.tree.line import along
from lesionforge.jobs.tasks.reconstruction.tree.tree import tree_volume

Place = tuple[float, float, float]

UNLEARNT = "viterbi"  # without --model
WIDE_DEG = 30.0  # that 3-D QCA asks of two views
COARSE = 1.25  # times the cells that networks learn from: theirs differ by 1.16
SIZE = 60  # cells an edge of the grid that networks are trained on


def reconstructed(
    angles: Sequence[Angle], side: Side, out: Path, model: Path | None, device: str, ostium_mm: Place | None = None
) -> dict[str, Any]:
    """Reconstruct, write all files into ``out`` (``tree.export``; ``sheet.png``, ``turntable.gif``, ``summary.json``).

    Args:
        angles: of one patient and side.
        model: of ``lesionforge train reconstruction``; None: the best method that learns nothing.
        ostium_mm: where the tree begins, see ``grow``.

    Returns:
        What ``summary.json`` holds; ``notes``: what a person must know before believing it.
    """
    if model is None:
        method, size, learner = UNLEARNT, SIZE, learner_class(UNLEARNT)(settings(UNLEARNT), len(angles), device)
        unlearnt = [f"no --model: this is the {method} alone, which no training has taught what a coronary tree is"]
    else:
        from lesionforge.jobs.tasks.reconstruction.models.learner import opened_learner, unlearnt_sides

        learner = opened_learner(model, device)
        if learner.views != len(angles):
            raise UsageError(f"--model learnt from {learner.views} views, {len(angles)} masks are given: give as many")
        method, size = learner.settings.network, learner.options.get("size", SIZE)
        unlearnt = unlearnt_sides(learner, [side])
    case = clinical_pair(angles, side, size)
    pair, notes = case.pair, [*doubts(case), *unlearnt]
    volume = learner.predict(pair)
    tree = grow(volume, pair, learner.threshold, ostium_mm)
    export.write(out, tree, volume, pair)
    Image.fromarray(picture.sheet(tree, volume, pair)).save(out / "sheet.png")
    (out / "turntable.gif").write_bytes(picture.turntable(tree))
    every = zip(pair.views, angles, case.moved_px, case.alignments, strict=True)
    views = [
        {"name": view.name, **view.to_json(), "assumed": one.assumed, "moved_px": move, "alignment": found.to_json()}
        for view, one, move, found in every
    ]
    cells = volume >= learner.threshold
    length = float(sum(along(branch.points)[-1] for branch in tree.branches))
    body: dict[str, Any] = {"side": side, "method": method, "consistent": case.consistent, "views": views}
    body |= {"spacing_mm": pair.grid.spacing_mm, "notes": notes}
    body["tree"] = {"branches": len(tree.branches), "length_mm": length, "lost": tree.lost}
    body["tree"]["unexplained"] = list(tree.unexplained)
    body["tree"] |= {"reprojection": view_scores(pair, tree_volume(tree, pair.grid))}
    body["cells"] = {"pieces": topology(cells)[0], "reprojection": view_scores(pair, cells)}
    body["hull"] = {"pieces": topology(pair.hull)[0], "reprojection": view_scores(pair, pair.hull)}
    told: dict[str, Any] = rounded(body)
    (out / "summary.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    return told


def doubts(case: ClinicalPair) -> list[str]:
    """What speaks against the tree before it is made."""
    out = [
        f"view {n} does not fit view 1 (agreement {one.agreement:.2f}): another patient, side or angle, or a mask that "
        "lacks vessels? Do not trust this tree"
        for n, one in enumerate(case.alignments, 1)
        if not one.consistent
    ]
    widest = max(apart_deg(*two) for two in combinations(case.pair.views, 2))
    if widest < WIDE_DEG:
        out.append(f"the views are {widest:.0f} degrees apart: below {WIDE_DEG:g} depth is a guess, add another view")
    if case.pair.grid.spacing_mm > COARSE * cell_mm(case.pair.grid.shape[0]):
        out.append(
            f"the masks show so wide a tree that its cells are {case.pair.grid.spacing_mm:.1f} mm, and vessels run "
            "together: is the pixel spacing right, and nothing but the tree in the masks?"
        )
    return out
