"""A cohort of phantom trees, drawn once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from lesionforge.generators.phantom.tree.calibre import Bifurcation
from lesionforge.generators.phantom.tree.coronary import phantom_tree
from lesionforge.generators.phantom.tree.heart import Heart
from lesionforge.generators.types import Branch, CoronaryTree, Side, stream

SEEDS = 24


@dataclass(frozen=True)
class Grown:
    """A tree and the heart it lies on."""

    heart: Heart
    tree: CoronaryTree


def murray_error(fork: Bifurcation, branches: Sequence[Branch]) -> float:
    """(sum of r_child^3) / r_parent^3 - 1, zero for a healthy tree."""
    cubes = [float(branches[c].radii[0]) ** 3 for c in fork.children]
    if fork.distal is not None:
        cubes.append(float(branches[fork.parent].radii[fork.distal]) ** 3)
    return sum(cubes) / float(branches[fork.parent].radii[fork.index]) ** 3 - 1.0


def key(seed: int) -> bytes:
    return seed.to_bytes(8, "little")


@pytest.fixture(scope="session")
def cohort() -> dict[Side, list[Grown]]:
    """Both trees of every subject."""
    sides: tuple[Side, Side] = ("left", "right")
    return {
        side: [
            Grown(Heart.draw(stream(key(s), "phantom/heart")), phantom_tree(key(s), side, f"subject{s}", varied=False))
            for s in range(SEEDS)
        ]
        for side in sides
    }
