"""Real CT for tests: folders of image and label pairs, made of the data that a checkout may have beside it."""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import sato
from skimage.graph import route_through_array

ORGANS = {1: "spleen", 2: "kidney_right", 3: "kidney_left", 5: "liver", 7: "pancreas"}
FINER = 3  # voxels of 0.5 mm for the cardiac CT's of 1.5 mm
PART = (slice(36, 70), slice(8, 46), slice(48, 76))  # about the right coronary artery
OSTIUM, GROOVE = (56, 33, 67), (46, 19, 53)  # voxels of the artery: near the aorta, and down in the groove
RADIUS_MM, LEAST_HU = 2.0, 150.0  # what belongs to the lumen: about the line, and brighter than half way to fat


def organs(data: Path, folder: Path) -> Path:
    """The abdominal CT (3 mm, native) with its organ labels, as a pair."""
    for kind, name in (("images", "example_ct_sm"), ("labels", "example_seg")):
        if not (file := data / "ct_organs" / f"{name}.nii.gz").is_file():
            pytest.skip(f"no abdominal CT: {file.name} is missing")
        (folder / kind).mkdir(parents=True)
        shutil.copy(file, folder / kind / "case1.nii.gz")
    return folder


@lru_cache(maxsize=1)
def artery(data: Path) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """The first centimetres of the right coronary artery in the cardiac CT, which nobody labelled: traced here.

    The way of least cost through tubular voxels (Sato's filter) between two voxels that a person chose; the lumen is
    what is bright and near that way. Real tissue, real calcium, the scan's own blur (1.5 mm), finer voxels.

    Returns:
        HU on voxels of 0.5 mm, the lumen, its centreline (n, 3) in voxels, and the affine to RAS mm.
    """
    file = data / "ct_cardiac" / "pulm_ct_cropped.nii.gz"
    if not file.is_file():
        pytest.skip(f"no cardiac CT: {file.name} is missing")
    image = nib.load(file)
    part = np.asarray(image.dataobj[PART], np.float64)
    low = np.array([s.start for s in PART])
    tubes = sato(np.clip(part, -100, 500), sigmas=(1.0, 1.4), black_ridges=False)
    way, _ = route_through_array(
        1 / (tubes / tubes.max() + 0.01), np.array(OSTIUM) - low, np.array(GROOVE) - low, geometric=True
    )
    hu = ndimage.zoom(part, FINER, order=3, mode="nearest", grid_mode=True)
    line = ndimage.gaussian_filter1d((np.array(way) + 0.5) * FINER - 0.5, 1.5, axis=0, mode="nearest")
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    line = np.stack([np.interp(np.arange(0, along[-1], 0.5), along, line[:, axis]) for axis in range(3)], axis=1)
    off = np.ones(hu.shape, bool)
    off[tuple(np.rint(line).astype(int).T)] = False
    affine = image.affine.copy()
    affine[:3, 3] = (image.affine @ [*(low + 0.5 / FINER - 0.5), 1])[:3]
    affine[:3, :3] /= FINER
    near = ndimage.distance_transform_edt(off) * 1.5 / FINER <= RADIUS_MM
    parts, _ = ndimage.label(near & (hu >= LEAST_HU))
    lumen = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return hu, lumen, line, affine


def cardiac(data: Path, folder: Path) -> Path:
    """The artery and what is about it, as a pair."""
    hu, lumen, _, affine = artery(data)
    for kind, array in (("images", np.rint(hu).astype(np.int16)), ("labels", lumen.astype(np.uint8))):
        (folder / kind).mkdir(parents=True)
        nib.save(nib.Nifti1Image(array, affine), folder / kind / "rca.nii.gz")
    return folder
