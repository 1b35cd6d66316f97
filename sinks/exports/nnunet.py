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
    source: str
    added: bool


def write(volumes: Volumes, folder: Path) -> list[str]:
    """Write the volumes bit by bit as NIfTI, named by their sample ids, and ``dataset.json`` last.

    ``train`` and ``val`` are both training cases to nnU-Net, which would deal them into folds case by case, and so a
    subject's variants into training and validation at once. ``splits_final.json``, which its planner takes over, keeps
    subjects together: one fold of the dataset's own splits, or else five. What is added validates nothing.

    A dataset of test samples alone becomes a folder to predict on and to evaluate with.

    Returns:
        Notices.
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
            cases.setdefault(split, []).append(Case(scan.key, scan.subject, scan.source, scan.added))
    train, notices = [*cases.get("train", []), *cases.get("val", [])], list[str]()
    if folds := _folds(cases):
        (folder / "splits_final.json").write_text(json.dumps(folds, indent=1), encoding="utf-8")
    elif len(train) > 1:
        notices.append("all training cases are of one subject, so there are no folds to validate on: train with all")
    body = {
        "channel_names": {"0": "CT"},
        "labels": {name: value for value, name in enumerate(["background", *volumes.classes])},
        "numTraining": len(train),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(body, indent=1), encoding="utf-8")
    return notices


def save_nifti(voxels: NDArray[Any], affine: NDArray[np.float64], path: Path) -> None:
    """Write an array as NIfTI-1; ``affine`` (4, 4): from its indices to LPS mm."""
    image = nib.Nifti1Image(voxels, RAS_FROM_LPS @ affine)
    image.set_qform(image.affine, SCANNER)
    image.set_sform(image.affine, SCANNER)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _folds(cases: dict[str, list[Case]]) -> list[dict[str, list[str]]]:
    """nnU-Net's folds; none where all is of one subject."""
    train, val = cases.get("train", []), cases.get("val", [])
    of_scan = {one.source: one.subject for one in (*train, *val) if not one.added}
    # Who is added may be called otherwise: hashes may have other keys.
    real_name = {one.subject: of_scan[one.source] for one in (*train, *val) if one.source in of_scan}
    subject = {one.key: real_name.get(one.subject, one.subject) for one in (*train, *val)}
    if train and val:
        held = [{subject[one.key] for one in val}]
    else:
        real = sorted({subject[one.key] for one in (*train, *val) if not one.added})
        held = [set(real[n :: min(FOLDS, len(real))]) for n in range(min(FOLDS, len(real)))]
    folds = [
        {
            "train": _keys(one for one in (train or val) if subject[one.key] not in some),
            "val": _keys(one for one in (val or train) if subject[one.key] in some and not one.added),
        }
        for some in held
    ]
    return folds if all(fold["train"] and fold["val"] for fold in folds) else []


def _keys(cases: Iterable[Case]) -> list[str]:
    return [one.key for one in cases]
