"""The plain types every room speaks: what a source yields, what the plan asks for, what a generator returns.

Nothing here knows Ray, storage or files. World coordinates are DICOM patient coordinates in millimetres:
+x to the patient's left, +y posterior, +z to the head (LPS).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # a fifth of what `lesionforge --help` takes
    import numpy as np
    from numpy.typing import NDArray

Side = Literal["left", "right"]
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")  # in the order in which they are listed everywhere
SeverityClass = Literal["mild", "moderate", "severe"]


DIGITS = 9  # significant ones of every number that is written or decides: the bits below are the CPU's own
NOTHING = 1e-12  # what is nearer to 0 is what rounding left of 0


def significant(value: float) -> float:
    """A number as every CPU and BLAS has it (promise P1): rounded, and never -0."""
    return float(f"{value:.{DIGITS}g}") + 0.0 if abs(value) > NOTHING else 0.0


def severity_class(percent_ds: float) -> SeverityClass:
    """Class of a percent diameter stenosis, half-open: mild below 50, moderate [50, 70), severe [70, 100]."""
    percent_ds = significant(percent_ds)
    return "severe" if percent_ds >= 70 else "moderate" if percent_ds >= 50 else "mild"


class UserError(Exception):
    """Something that a person can mend; the message is the whole answer, and a command ends with it alone."""


class BadCase(Exception):
    """A source case that cannot be used; the message is the reason written into the quarantine."""


class Rejected(Exception):
    """A drawn sample that misses its quality limits; the engine draws again, then quarantines."""


@dataclass(frozen=True)
class Stenosis:
    """A narrowing built into a tree: position along its branch and severity.

    ``percent_ds`` is the percent diameter stenosis, (1 - MLD / reference diameter) * 100.
    """

    segment: str  # SYNTAX segment name
    point: tuple[float, float, float]  # LPS mm, centre of the narrowing on the centreline
    length_mm: float
    reference_mm: float  # healthy diameter at the minimum
    mld_mm: float  # minimal lumen diameter
    percent_ds: float


@dataclass(frozen=True)
class Branch:
    """One vessel's centreline.

    ``points`` float64 (n, 3) in LPS mm from proximal to distal, ``radii`` float64 (n,) in mm (the lumen, so
    stenoses are in it), ``segments`` the SYNTAX segment name at each point.
    """

    name: str
    points: NDArray[np.float64]
    radii: NDArray[np.float64]
    segments: tuple[str, ...]
    parent: int = -1  # index of the parent branch, -1 for the root


@dataclass(frozen=True)
class CoronaryTree:
    """One coronary tree as occupied voxels in the world, whatever it was read from.

    ``points`` float32 (n, 3): the centres of the occupied source voxels in LPS mm. ``voxel_mm``: their edge
    lengths along LPS, ``lattice`` (3, 3) the steps in LPS mm from a voxel to the next along each axis of the array
    (columns) where that is turned. ``branches`` and ``stenoses`` are known for procedural trees only.
    """

    subject: str
    source_id: str  # hash of the voxels, never a file name
    licence: str
    side: Side
    points: NDArray[np.float32]
    voxel_mm: tuple[float, float, float]
    branches: tuple[Branch, ...] = ()
    stenoses: tuple[Stenosis, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)  # e.g. stray voxels dropped
    lattice: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Lesion:
    """A narrowing marked on a source frame, whoever marked it.

    ``box`` (x0, y0, x1, y1) in image coordinates as COCO's: the left edge of the first column is x = 0, so the
    centre of the first pixel is (0.5, 0.5). Every position in a label follows this. ``severity_class`` and
    ``percent_ds`` are None where nobody graded it.
    """

    box: tuple[float, float, float, float]
    severity_class: SeverityClass | None = None
    percent_ds: float | None = None
    polygon: NDArray[np.float64] | None = None  # (n, 2) x, y


@dataclass(frozen=True)
class Angiogram:
    """One frame of a coronary angiogram, vessels darker than their surroundings.

    ``image`` uint8 (rows, cols): display grey levels as the source stores them, so that pixels nobody edits can stay
    bit-identical. ``mask`` bool (rows, cols): the lumen, of every vessel or only of the vessels the source scored
    (``mask_is_complete``); None where the source has none. ``segments``: SYNTAX segment names and polygons (n, 2).
    ``pixel_mm``: at the isocentre, that is detector pixel / magnification; None where unknown. ``view_deg``:
    positioner primary (LAO +) and secondary (cranial +) angle.
    """

    subject: str
    source_id: str  # hash of the pixels, never a file name
    licence: str
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None = None
    mask_is_complete: bool = False
    lesions: tuple[Lesion, ...] = ()
    segments: tuple[tuple[str, NDArray[np.float64]], ...] = ()
    side: Side | None = None
    view_deg: tuple[float, float] | None = None
    pixel_mm: float | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)  # e.g. degenerate boxes dropped


@dataclass(frozen=True)
class Volume:
    """A CT volume, its axes along the patient's.

    ``hu`` int16 (i, j, k) in Hounsfield units as the source stores them, so that voxels nobody edits can stay
    bit-identical; i runs to the patient's left, j to the back, k to the head (LPS). ``spacing_mm``: edge lengths of a
    voxel. ``origin_mm``: LPS position of the centre of voxel (0, 0, 0). ``labels`` uint8 (i, j, k), 0 where nothing is
    labelled; ``legend``: what each value means, by standard names (``liver``, ``kidney``, ``pancreas``, ``coronary``
    for the lumen of both trees, ``coronary_left``, ``liver_tumour`` ...). ``trees``: the coronary centrelines, where
    they are known (phantoms).
    """

    subject: str
    source_id: str  # hash of the voxels, never a file name
    licence: str
    hu: NDArray[np.int16]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    labels: NDArray[np.uint8] | None = None
    legend: Mapping[int, str] = field(default_factory=dict)
    trees: tuple[CoronaryTree, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)  # e.g. resampled from, slices missing


Case = CoronaryTree | Angiogram | Volume


@dataclass(frozen=True)
class Scene:
    """What a generator with ``backgrounds`` is given where a recipe has some: a case, and a frame to lie behind it.

    ``background`` is of a subject of its own, which is in the case's split and in no other.
    """

    case: Case
    background: Angiogram

    @property
    def subject(self) -> str:
        """The case's."""
        return self.case.subject

    @property
    def source_id(self) -> str:
        """The case's."""
        return self.case.source_id

    @property
    def licence(self) -> str:
        """The case's."""
        return self.case.licence

    @property
    def notes(self) -> Mapping[str, Any]:
        """The case's."""
        return self.case.notes


Given = Case | Scene  # to a generator


@dataclass(frozen=True)
class SampleSpec:
    """What the plan asks for: one sample, identified before anything is read or drawn."""

    sample_id: str
    split: Split
    variant: int  # 0 ... multiply-1
    source: int  # index into recipe.sources
    case: int  # index inside that source
    target: str | None  # class asked for by the recipe's balance
    key: bytes  # seeds every random number of this sample
    attempt: int = 0  # redraws so far

    def rng(self, stage: str) -> np.random.Generator:
        """A counter-based stream of this sample's own, one per stage name (promise P1)."""
        return stream(self.key, f"{stage}/{self.attempt}")


def stream(key: bytes, stage: str) -> np.random.Generator:
    """Philox generator keyed by BLAKE2b(key, stage): same key and stage, same numbers, on any machine."""
    import numpy as np

    digest = hashlib.blake2b(stage.encode(), key=key, digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, dtype="<u8")))


@dataclass
class Sample:
    """What a generator returns.

    ``fields`` maps member names, as they stand in the shard after the sample's key (``view0.png``,
    ``volume128.npy``), to arrays. ``labels`` is what a training job needs, ``drawn`` every parameter drawn,
    ``measured`` what independent code measured on the result. All three end in the sample's ``json`` member.
    """

    spec: SampleSpec
    fields: dict[str, NDArray[Any]]
    labels: dict[str, Any]
    drawn: dict[str, Any]
    measured: dict[str, float]


DELTA = ".delta.npy.zst"
_ARRAYS = (".npy.zst", DELTA, ".npy", ".npy.gz")  # the last of datasets made before the first two were


def array_member(stem: str, names: Iterable[str]) -> str | None:
    """Which of a sample's members is the array ``stem`` (``ct``, ``label``), however it is packed; None where none."""
    there = set(names)
    return next((name for end in _ARRAYS if (name := f"{stem}{end}") in there), None)


def check_field(name: str, value: Any) -> None:
    """Hold a field of a sample against what a shard stores under its name.

    ``.png``: uint8 or uint16 (H, W), or uint8 (H, W, 3); ``.npy``, ``.npy.zst`` and ``.npy.gz``: any array of finite
    numbers; ``.delta.npy.zst``: int16 with one axis or more, as CT.

    Raises:
        ValueError: naming field, value and fix.
    """
    import numpy as np

    kind = name.removesuffix(".gz").removesuffix(".zst").rsplit(".", 1)[-1]
    if kind not in ("png", "npy") or name.endswith((".png.zst", ".png.gz")):
        raise ValueError(f"field {name!r}: no encoding for .{kind}; use .png, .npy, .npy.zst, .delta.npy.zst or .json")
    if not isinstance(value, np.ndarray):
        raise ValueError(f"field {name!r}: a {type(value).__name__} is no numpy array")
    if kind == "png":
        grey = value.ndim == 2 and value.dtype in (np.uint8, np.uint16)
        colour = value.ndim == 3 and value.shape[2] == 3 and value.dtype == np.uint8
        if not (grey or colour):
            raise ValueError(
                f"field {name!r}: {value.dtype} {value.shape} is no PNG; give uint8/uint16 (H, W) or uint8 RGB"
            )
    elif value.dtype.hasobject:
        raise ValueError(f"field {name!r}: an object array would need pickle; give a numeric array")
    elif name.endswith(DELTA) and (value.dtype != np.int16 or not value.ndim):
        raise ValueError(f"field {name!r}: {value.dtype} {value.shape} is no int16 volume; use .npy.zst")
    elif value.dtype.kind in "fc" and not np.isfinite(value).all():
        raise ValueError(f"field {name!r}: holds NaN or infinity")


@dataclass(frozen=True)
class Panel:
    """One picture of a sample for people: uint8 (H, W) layers by name, the first the picture, the rest overlays."""

    title: str
    layers: Mapping[str, NDArray[np.uint8]]
