"""A binary NIfTI label as a list of its voxels: a few megabytes at a time, whatever its size."""

from __future__ import annotations

import math
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.sources.nifti import Header, opened, planes
from lesionforge.engine.sources.trees.split import Label
from lesionforge.generators.types import BadCase

MAX_BYTES = 2**30  # of all voxels; a coronary CT of 512 x 512 x 300 has 8e7 to 6e8, by the type of its numbers
MAX_LABELLED = 2**22  # voxels of the label; two trees have about 2e5
MAX_BOX = 2**27  # voxels of the box around them, which is searched for components


def read_label(fs: Any, path: str) -> Label:
    """Read ``.nii`` or ``.nii.gz`` from an fsspec file system.

    Raises:
        BadCase: for what is no three-dimensional, binary NIfTI-1 volume with a usable affine.
    """
    with opened(fs, path) as (header, stream):
        shape, dtype = header.shape, header.dtype
        if (nbytes := math.prod(shape) * dtype.itemsize) > MAX_BYTES:
            raise BadCase(f"claims {shape} voxels of {dtype}, {nbytes} bytes; at most {MAX_BYTES} are read")
        if header.scaled:
            raise BadCase(f"scales its voxels by {header.slope} and {header.intercept}; a label holds plain 0 and 1")
        voxels = _voxels(header, stream)
    if len(voxels) and (box := np.ptp(voxels, axis=0) + 1).prod(dtype=np.int64) > MAX_BOX:
        raise BadCase(f"its label spreads over {' x '.join(map(str, box))} voxels, more than any two trees do")
    return Label(voxels, header.affine)


def _voxels(header: Header, stream: BinaryIO) -> NDArray[np.int32]:
    found, values, count = [], set[float](), 0
    for k, slab in enumerate(planes(header, stream)):
        plane = slab.ravel(order="F")
        at = np.flatnonzero(plane)
        count += len(at)
        if count > MAX_LABELLED:
            raise BadCase(f"labels more than {MAX_LABELLED} voxels; two coronary trees have about 2e5")
        values.update(np.unique(plane[at]).tolist())
        if len(values) > 1:
            raise BadCase(f"is not binary: beside 0 it holds {', '.join(f'{v:g}' for v in sorted(values)[:4])}")
        rows = header.shape[0]
        found.append(np.stack([at % rows, at // rows, np.full(at.shape, k)], axis=1).astype(np.int32))
    return np.concatenate(found)
