"""A cohort of phantom trees, drawn once for all tests of this folder, and the real data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

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


@pytest.fixture(scope="session")
def real_trees(data_dir: Path) -> dict[Side, NDArray[np.float64]]:
    """Voxel centres (n, 3), LPS mm, of the real left and right tree: ImageCAS's example label."""
    nibabel = pytest.importorskip("nibabel")
    ndimage = pytest.importorskip("scipy.ndimage")
    path = data_dir / "coronary_tree_3d" / "imagecas_example.label.nii.gz"
    if not path.exists():
        pytest.skip(f"no real tree at {path}")
    image = nibabel.load(path)
    labels, _ = ndimage.label(np.asarray(image.dataobj) > 0, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    trees = []
    for number in np.argsort(-sizes)[:2] + 1:
        world = np.argwhere(labels == number) @ image.affine[:3, :3].T + image.affine[:3, 3]
        trees.append(world * np.array([-1.0, -1.0, 1.0]))
    trees.sort(key=lambda points: float(points[:, 0].min()))  # the right tree reaches further right
    return {"right": trees[0], "left": trees[1]}
