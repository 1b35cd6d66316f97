"""What a file beside a case marks, held against the case's own label map: nothing new, or what may be a lesion."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.sources.ct.axes import Axes, Floats, box_in
from lesionforge.engine.sources.ct.beside import DERIVED, MASKS, Stray
from lesionforge.engine.sources.ct.label_map import counted
from lesionforge.engine.sources.ct.nrrd import MAX_HEADER, MAX_LABELS, Nrrd, segment_names
from lesionforge.engine.sources.files import File
from lesionforge.engine.sources.nifti import volume
from lesionforge.generators.structures import Kind, kind_of_file, says_nothing
from lesionforge.generators.types import BadCase

Planes = Iterable[NDArray[np.generic]]
HEALTHY = ", and would count as healthy"
HU_FROM = -1.5  # a label map may say -1 for what it does not know; an image of HU goes below


@dataclass(frozen=True)
class Grid:
    """Voxels along LPS: ``affine`` from index to mm, ``shape``."""

    affine: Floats
    shape: tuple[int, ...]

    def holds(self, file: File) -> bool:
        """Whether a file's voxels are some of them; what cannot be read has none."""
        try:
            with _opened(file) as (affine, shape, _):
                axes = Axes.of(affine)
        except BadCase:
            return False
        return (
            box_in(axes.turned(affine, shape), tuple(shape[a] for a in axes.order), self.affine, self.shape) is not None
        )


def missed(
    stray: Stray, case: int, grid_of: Callable[[int], Grid], labels: NDArray[np.uint8] | None, lesions: Collection[int]
) -> str | None:
    """What a file beside a case marks, or may, and its label map lacks; None for nothing: see ``new_in``.

    What may be of several cases is no matter of one that it does not lie on, where it lies on another of them, or where
    nobody says that it is of any. What is of one by a number alone may be another's, if it lies on that one's voxels.

    Args:
        case: its number among the stray's.
        grid_of: the voxels of each of these; raises BadCase.
    """
    claimed = stray.is_claimed and (not stray.numbered or case in stray.numbered)
    if not stray.is_read:
        marked = labels is not None and bool(counted(labels)[list(lesions)].any())
        if stray.called != "lesion" or not claimed or (marked and _is_made_of_it(stray)):
            return None
        return f"is of a format that is not read here{HEALTHY}"
    grid = grid_of(case)
    others = [n for n in (stray.cases if claimed else stray.numbered) if n != case]
    if (others or not claimed) and not grid.holds(stray.file):
        if not claimed or any(_lies_on(stray.file, grid_of, n) for n in others):
            return None
    elif not claimed and any(_lies_on(stray.file, grid_of, n) for n in others):
        return None
    return new_in(stray.file, stray.called, grid, labels, lesions)


def _is_made_of_it(stray: Stray) -> bool:
    """Whether a file that is not read is made of a lesion's mask, or is it once more."""
    return stray.has_twin or DERIVED.search(stray.file.name) is not None


def _lies_on(file: File, grid_of: Callable[[int], Grid], case: int) -> bool:
    try:
        return grid_of(case).holds(file)
    except BadCase:  # said where that one is read
        return False


def new_in(
    file: File, called: Kind, grid: Grid, labels: NDArray[np.uint8] | None, lesions: Collection[int]
) -> str | None:
    """What a file marks that may be a lesion and is none in the label map; None for nothing.

    Images mark nothing, nor does a copy of the map or of some of its labels. Of what lies on other voxels, or cannot be
    read, only what is called a lesion counts, and what 3D Slicer's segments make a label map for certain.

    Args:
        labels: the case's map on its grid, None where it has none.
        lesions: the values in it that are lesions.
    """
    names = _segments(file)
    called = _called(file, called, {kind_of_file(name) for name in names})
    if called == "healthy":
        return None
    try:
        with _opened(file) as (affine, shape, planes):
            axes = Axes.of(affine)
            size = tuple(shape[a] for a in axes.order)
            box = box_in(axes.turned(affine, shape), size, grid.affine, grid.shape)
            if box is None and called != "lesion" and not names:
                return None
            own = None if box is None or labels is None else axes.stored(labels[box])
            counts = _counts(planes, own, strict=called != "lesion")
    except BadCase as error:
        return f"cannot be read as a mask ({error}){HEALTHY}" if called == "lesion" or names else None
    marked = sum(int(count.sum()) for count in counts.values())
    if not marked:
        return None
    if box is None:
        return f"marks {marked} voxels on another grid than the image's{HEALTHY}"
    if labels is not None and _nothing_new(counts, labels, lesions, called == "lesion"):
        return None
    if any(count[list(lesions)].any() for count in counts.values()):
        return (
            f"marks {marked} voxels, of which some are a lesion in the label map and some are none: another label map, "
            "as another reader's or a predicted one"
        )
    return f"marks {marked} voxels that are no lesion in the label map{HEALTHY}"


def _called(file: File, called: Kind, segments: Collection[Kind]) -> Kind:
    """What a file is called in the light of what its segments are."""
    if called == "lesion" or "lesion" in segments:
        return "lesion"
    if segments and says_nothing(MASKS.sub("", file.name.rpartition("/")[2])):  # as 3D Slicer's Segmentation.seg.nrrd
        return "unknown" if "unknown" in segments else "healthy"
    return "unknown" if "unknown" in segments else called


def _segments(file: File) -> list[str]:
    """What 3D Slicer calls the segments of a file."""
    if not file.name.lower().endswith(".nrrd"):
        return []
    with file.open() as stream:
        return segment_names(stream.read(MAX_HEADER))


@contextmanager
def _opened(file: File) -> Iterator[tuple[Floats, tuple[int, ...], Planes]]:
    """A file's affine to LPS mm, its shape, and its slices along the last axis."""
    if file.name.lower().endswith(".nrrd"):
        found = Nrrd.of(file.read())
        yield found.affine, found.shape, _slices(found)
        return
    with volume(file) as (header, planes):
        yield header.affine, header.shape, planes


def _slices(found: Nrrd) -> Iterator[NDArray[np.generic]]:
    yield from np.moveaxis(found.values.reshape(found.shape, order="F"), 2, 0)


def _counts(planes: Planes, labels: NDArray[np.uint8] | None, strict: bool) -> dict[float, NDArray[np.int64]]:
    """By each value of a label map but 0: how many of its voxels lie on each value (256,) of another; none of an image.

    Args:
        labels: the other one, on the same voxels; as if 0 everywhere where absent.
        strict: take it for an image unless it holds few and whole numbers; else only for what none can mean as a mask:
            many whole numbers from 0 may be of a lesion each.

    Raises:
        BadCase: for fractions of 1 in what is called a mask.
    """
    out: dict[float, NDArray[np.int64]] = {}
    for k, plane in enumerate(planes):
        at = (plane != 0) & (plane == plane)  # what is no number marks nothing
        if not at.any():
            continue
        values, which = np.unique(plane[at], return_inverse=True)
        known = np.union1d(values, list(out))
        if known[0] < HU_FROM:
            return {}
        whole = np.array_equal(known, np.rint(known))
        if not whole or (len(known) > MAX_LABELS and (strict or known[0] < 0)):
            if strict or whole or known[-1] > 1:
                return {}
            raise BadCase("holds fractions of 1, and who says where it begins?")
        there = np.zeros(len(which), np.uint8) if labels is None else labels[:, :, k][at]
        both = np.bincount(which.ravel() * 256 + there, minlength=256 * len(values)).reshape(-1, 256)
        for value, count in zip(values.tolist(), both, strict=True):
            out[value] = out.get(value, 0) + count
    return out


def _nothing_new(
    counts: Mapping[float, NDArray[np.int64]], labels: NDArray[np.uint8], lesions: Collection[int], is_lesion: bool
) -> bool:
    """Whether each value marks lesions that are known alone, or is a copy: of whole labels, and of nothing else.

    What is called a lesion is no copy of healthy labels alone.
    """
    healthy = np.ones(256, bool)
    healthy[list(lesions)] = False
    if not any(count[healthy].any() for count in counts.values()):
        return True
    if is_lesion and not any(count[~healthy].any() for count in counts.values()):
        return False
    whole = counted(labels)  # 0 is told of above
    for count in counts.values():
        rest = np.where(healthy, count, 0)
        if rest[0] or not ((rest == 0) | (rest == whole)).all():
            return False
    return True
