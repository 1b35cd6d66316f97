"""One procedural coronary tree: centrelines, radii, stenoses, voxels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.phantom.tree.grow import grow
from lesionforge.generators.phantom.tree.heart import Heart
from lesionforge.generators.phantom.tree.label import Reading
from lesionforge.generators.phantom.tree.stenosis import TreeNarrowing, narrow
from lesionforge.generators.phantom.tree.voxels import voxelise
from lesionforge.generators.types import Branch, CoronaryTree, Side, Stenosis, stream

LICENCE = "CC0-1.0"  # made here from random numbers, of nobody


def coronary_tree(
    rng: np.random.Generator,
    side: Side,
    *,
    stenoses: int | Sequence[TreeNarrowing] = 0,
    heart: Heart | None = None,
) -> tuple[tuple[Branch, ...], tuple[Stenosis, ...]]:
    """Draw the branches of one tree and the stenoses built into it.

    Args:
        rng: the only source of randomness.
        side: "left" (left main, LAD, circumflex) or "right".
        stenoses: how many to draw (30-90 %, 5-15 mm, shortened where a tree has less room), or exactly which ones.
        heart: the subject's heart; drawn where absent. Both trees of a subject must share one.

    Returns:
        Branches (a parent before its children, radii with the stenoses in them) and the stenoses as measured.

    Raises:
        ValueError: a stenosis that cannot be (percent, length, segment), or more of them than there is room for.
    """
    heart = Heart.draw(rng) if heart is None else heart
    return narrow(rng, grow(rng, heart, side), stenoses)


def phantom_tree(
    key: bytes,
    side: Side,
    subject: str,
    *,
    stenoses: int | Sequence[TreeNarrowing] = 0,
    voxel_mm: float = 0.4,
    varied: bool = True,
) -> CoronaryTree:
    """The tree of one subject as a case: a pure function of its arguments.

    Args:
        key: the subject's random key; the left and the right tree of one key lie on the same heart.
        side: which tree.
        subject: name under which splits are made; no randomness comes from it.
        stenoses: see ``coronary_tree``.
        voxel_mm: edge length of the voxels.
        varied: hearts as different as patients' (``Heart.varied``), as labels of their CT show them
            (``label.Reading``). Otherwise the whole tree with every twig that phantoms of CT and angiograms have.
    """
    heart = Heart.draw(stream(key, "phantom/heart"))
    rng = stream(key, f"phantom/{side}")
    if varied:
        traits = stream(key, "phantom/variety")
        heart = heart.varied(traits)
        healthy = Reading.draw(traits).label(grow(rng, heart, side))
    else:
        healthy = grow(rng, heart, side)
    branches, found = narrow(rng, healthy, stenoses)
    points = voxelise(branches, voxel_mm)
    return CoronaryTree(
        subject=subject,
        source_id=_hash(points),
        licence=LICENCE,
        side=side,
        points=points,
        voxel_mm=(voxel_mm, voxel_mm, voxel_mm),
        branches=branches,
        stenoses=found,
        # A run of such a label shows the vessels that the label leaves out: they grow again from the seed.
        notes={"dominance": heart.dominance} | ({"seed": key.hex()} if varied else {}),
    )


def _hash(points: NDArray[np.float32]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(points, dtype="<f4").tobytes(), digest_size=16).hexdigest()
