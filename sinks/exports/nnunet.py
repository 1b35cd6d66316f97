"""nnU-Net's raw format: ``imagesTr``, ``labelsTr``, ``imagesTs``, ``labelsTs``, ``dataset.json``; and folds by subject.

nnU-Net finds the folder as ``nnUNet_raw/DatasetNNN_NAME``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from lesionforge.sinks.exports.volumes import Volumes

FOLDS = 5  # nnU-Net's number
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SCANNER = 1  # NIfTI's code: coordinates of the scanner


class Case(NamedTuple):
    """A scan without its voxels."""

    key: str
    subject: str
    added: bool


def write(volumes: Volumes, folder: Path) -> None:
    """Write the volumes bit by bit as NIfTI, named by their sample ids, and ``dataset.json`` last.

    ``train`` and ``val`` are both training cases to nnU-Net, which would deal them into folds case by case, and so a
    subject's variants into training and validation at once. ``splits_final.json``, which its planner takes over, keeps
    subjects together: one fold of the dataset's own splits, or else five. What is added validates nothing.

    A dataset of test samples alone becomes a folder to predict on and to evaluate with.
    """
    cases: dict[str, list[Case]] = {}
    for split in volumes.splits:
        end = "Ts" if split == "test" else "Tr"
        images, labels = folder / f"images{end}", folder / f"labels{end}"
        for scan in volumes.read(split):
            images.mkdir(parents=True, exist_ok=True)
            labels.mkdir(exist_ok=True)
            save_nifti(scan.hu, scan.affine, images / f"{scan.key}_0000.nii.gz")
            save_nifti(scan.labels, scan.affine, labels / f"{scan.key}.nii.gz")
            cases.setdefault(split, []).append(Case(scan.key, scan.subject, scan.added))
    if folds := _folds(cases):
        (folder / "splits_final.json").write_text(json.dumps(folds, indent=1), encoding="utf-8")
    body = {
        "channel_names": {"0": "CT"},
        "labels": {name: value for value, name in enumerate(["background", *volumes.classes])},
        "numTraining": sum(len(found) for split, found in cases.items() if split != "test"),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(body, indent=1), encoding="utf-8")


def save_nifti(voxels: NDArray[Any], affine: NDArray[np.float64], path: Path) -> None:
    """Write an array as NIfTI-1; ``affine`` (4, 4): from its indices to LPS mm."""
    image = nib.Nifti1Image(voxels, RAS_FROM_LPS @ affine)
    image.set_qform(image.affine, SCANNER)
    image.set_sform(image.affine, SCANNER)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _folds(cases: dict[str, list[Case]]) -> list[dict[str, list[str]]]:
    """nnU-Net's folds; none where a single subject allows no validation.

    Raises:
        ValueError: where nnU-Net would have to validate on what is added.
    """
    train, val = cases.get("train", []), cases.get("val", [])
    if train and val:
        held = {one.subject for one in val}
        return [{"train": _keys(one for one in train if one.subject not in held), "val": _keys(val)}]
    every = train or val
    place = {subject: n for n, subject in enumerate(sorted({one.subject for one in every if not one.added}))}
    count = min(FOLDS, len(place))
    fold_of = {subject: n % count for subject, n in place.items()}
    folds = [
        {
            "train": _keys(one for one in every if fold_of.get(one.subject) != fold),
            "val": _keys(one for one in every if fold_of.get(one.subject) == fold and not one.added),
        }
        for fold in range(count)
    ]
    if all(fold["train"] for fold in folds):
        return folds
    if any(one.added for one in every):
        raise ValueError(
            "the one subject to validate on is also all that there is to learn from: give a second subject, or add a "
            "dataset of others"
        )
    return []


def _keys(cases: Iterable[Case]) -> list[str]:
    return [one.key for one in cases]
