"""Real trees, read once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lesionforge.generators.types import Side


@pytest.fixture(scope="session")
def real_trees(data_dir: Path) -> dict[Side, NDArray[np.float64]]:
    """Voxel centres (n, 3), LPS mm, of the real left and right tree: ImageCAS's example label."""
    nibabel = pytest.importorskip("nibabel")
    ndimage = pytest.importorskip("scipy.ndimage")
    path = data_dir / "coronary_tree_3d" / "imagecas_example.label.nii.gz"
    if not path.exists():
        pytest.skip(f"no real tree at {path}")
    image = nibabel.load(path)
    volume = image.dataobj.get_unscaled()  # its floats take seconds
    (box,) = ndimage.find_objects((volume > 0).view(np.uint8))
    labels, _ = ndimage.label(volume[box] > 0, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    first = [part.start for part in box]
    trees = []
    for number in np.argsort(-sizes)[:2] + 1:
        world = (np.argwhere(labels == number) + first) @ image.affine[:3, :3].T + image.affine[:3, 3]
        trees.append(world * np.array([-1.0, -1.0, 1.0]))
    trees.sort(key=lambda points: float(points[:, 0].min()))  # the right tree reaches further right
    return {"right": trees[0], "left": trees[1]}
