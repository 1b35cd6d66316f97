"""The header of a NIfTI-1 file: how its voxels are stored, and where they lie in the patient."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from lesionforge.engine.sources.ct.axes import apart_mm
from lesionforge.generators.types import BadCase

logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # it quotes what broken headers hold
HEADER_BYTES = 348
NIFTI_2 = tuple((540).to_bytes(4, order) for order in ("little", "big"))
MAX_EDGE = 4096
SPACING_MM = (0.01, 20.0)
MAX_OFFSET = 2**20  # bytes before the voxels: header extensions
MAX_MM = 1e5  # of the affine's offset: further away is no patient
MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # of xyzt_units' length: what says none is in mm, as everybody reads it
FORMS_MM = 0.5  # the corners' places by sform and by qform, which many a tool rounds
SPACING_SHARE = 0.01  # between pixdim and the affine's columns
LITS_EDGE = 512
LPS_FROM_RAS = np.array([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class NiftiHeader:
    """What a NIfTI file says of its voxels; ``affine`` from index to LPS mm, ``placed``: it is more than a default."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    slope: float
    intercept: float
    affine: NDArray[np.float64]
    placed: bool
    offset: int

    @classmethod
    def read(cls, stream: Any) -> NiftiHeader:
        """From the start of an unpacked file; the stream is left behind the header.

        Raises:
            BadCase: for what is no three-dimensional NIfTI-1 volume with plain numbers and a usable affine.
        """
        try:
            block = stream.read(HEADER_BYTES)
            if block[:4] in NIFTI_2:
                raise BadCase("is NIfTI-2, which is not read: save it as NIfTI-1, as by nibabel.Nifti1Image.from_image")
            found = nib.Nifti1Header(block, check=False)
            pixdim = np.array(found["pixdim"][1:4], np.float64)  # nibabel makes 1 of 0
            found.check_fix()
            shape, dtype = found.get_data_shape(), found.get_data_dtype()
            slope, intercept = found.get_slope_inter()
            affine, other = _affines(found)
            offset = int(found.get_data_offset())
        except (ImageFileError, HeaderDataError, WrapStructError, ValueError, OverflowError) as error:
            raise BadCase(f"is no NIfTI file ({type(error).__name__})") from None
        if len(shape) > 3 and set(shape[3:]) == {1}:
            shape = shape[:3]
        if len(shape) != 3 or min(shape) < 1 or max(shape) > MAX_EDGE:
            raise BadCase(f"has shape {shape}; volumes of at most {MAX_EDGE} voxels an edge are read")
        if dtype.kind not in "uif":
            raise BadCase(f"holds {dtype} voxels; plain numbers are read")
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise BadCase("its affine is singular or not finite, so the voxels have no place in the patient")
        spacing = np.sqrt((affine[:3, :3] ** 2).sum(0))
        if spacing.min() < SPACING_MM[0] or spacing.max() > SPACING_MM[1] or np.abs(affine[:3, 3]).max() > MAX_MM:
            raise BadCase(
                f"its voxels are {' x '.join(f'{mm:.3g}' for mm in spacing)} mm, the first of them "
                f"{np.abs(affine[:3, 3]).max():.3g} mm away; {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm are read"
            )
        if not 348 <= offset <= MAX_OFFSET:
            raise BadCase(f"its voxels begin at byte {offset}; 352 is usual, at most {MAX_OFFSET} is read")
        placed = int(found["sform_code"]) > 0 or int(found["qform_code"]) > 0
        if placed:
            edges = np.abs(pixdim) * _unit_mm(found)
            if (edges == 0).any():
                if int(found["sform_code"]) <= 0:
                    raise BadCase("its pixdim says voxels of 0 mm, and its qform has no others: write true ones")
                other = None  # a qform without sizes says nothing
            far = 0.0 if other is None else apart_mm(affine, other, shape)
            if not far <= FORMS_MM:
                raise BadCase(f"its sform and its qform put it up to {far:.1f} mm apart: keep the true one alone")
            if not (np.abs(edges / spacing - 1) <= SPACING_SHARE)[edges != 0].all():  # 0 says nothing
                raise BadCase(
                    f"its pixdim says voxels of {' x '.join(f'{v:.3g}' for v in edges)} mm, its affine of "
                    f"{' x '.join(f'{v:.3g}' for v in spacing)} mm: keep the true one"
                )
        scale = (1.0, 0.0) if slope is None or not np.isfinite(slope) else (float(slope), float(intercept))
        return cls((shape[0], shape[1], shape[2]), dtype, *scale, affine, placed, offset)

    @property
    def scaled(self) -> bool:
        """Whether stored numbers are others than those meant."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    @property
    def doubts(self) -> dict[str, str]:
        """For a case's notes: what is plainly said and hardly true."""
        out = doubts_of(self.affine)
        spacing = np.sqrt((self.affine[:3, :3] ** 2).sum(0))
        if self.shape[:2] == (LITS_EDGE, LITS_EDGE) and np.array_equal(spacing, np.ones(3)):
            out["spacing"] = (
                "says 1 x 1 x 1 mm, as LiTS 28 to 47 do, which lost theirs: sizes in mm are wrong unless it was "
                "resampled; mend the header from 3D-IRCADb-01, or take the file out"
            )
        return out


def doubts_of(affine: NDArray[np.float64]) -> dict[str, str]:
    """A note where an affine to LPS mm is what is written for want of one."""
    edges = np.sqrt((affine[:3, :3] ** 2).sum(0))
    if not np.array_equal(affine, LPS_FROM_RAS[:, None] * np.diag([*edges, 1.0])):
        return {}
    return {
        "affine": "is the identity, or that times the spacing, as written by tools that know no place: left and front "
        "may be swapped"
    }


def _unit_mm(found: Any) -> float:
    unit = int(found["xyzt_units"]) & 7
    if unit not in MM:
        raise BadCase(f"its xyzt_units say {unit}, which is no unit of length: 2 are mm")
    return MM[unit]


def _affines(found: Any) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Index to LPS mm by what counts, and by the qform where the sform counts and both are said."""
    lengths = np.array([_unit_mm(found)] * 3 + [1.0])
    to_mm = (LPS_FROM_RAS * lengths)[:, None]
    both = int(found["sform_code"]) > 0 and int(found["qform_code"]) > 0
    return to_mm * np.asarray(found.get_best_affine(), np.float64), to_mm * found.get_qform() if both else None
