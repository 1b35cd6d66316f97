"""``masks:FOLDER``: pictures with whole-vessel masks, as segmentation sets publish them (DCA1 and its like)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import scipy
from annotated_types import Interval
from numpy.typing import NDArray

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.files import File, natural
from lesionforge.engine.sources.folder import Folder, FolderOptions, FolderSource
from lesionforge.engine.sources.pictures.names import Named, alone, by_name, doubled, in_folders, of_kind, only, unended
from lesionforge.engine.sources.pictures.picture import decode, numbers, pixel_hash
from lesionforge.engine.sources.places import beside
from lesionforge.generators.types import Angiogram, BadCase, Side

MASK_FOLDERS = ("masks", "labels", "gt")
MASK_ENDS = ("_gt", "_mask", "_label")
# Of pixels between the ends, those that equal a neighbour: all in a map of classes, up to .5 where two levels were
# smoothed, resized or JPEG-coded (measured on real masks).
EVEN = 0.75
# Of pixels in the middle of the range, those amid their like: up to .03 there, .2 and more in a spoiled map of classes.
FLAT, LIKE, MIDDLE = 0.15, 0.1, (0.2, 0.8)
# Odd pixels: how far from the highest level, as a part of the range, and how many of those at it.
ODD_LEVELS, ODD_SHARE = 0.02, 0.01
Values = tuple[Annotated[int, Interval(ge=0, le=65535)], ...]


@dataclass(frozen=True)
class MasksOptions(FolderOptions):
    """What the files do not say.

    Attributes:
        vessel_values: what is vessel in masks that hold class numbers, as ``[127]`` where 255 is the catheter: grey
            levels as they are stored, or numbers of a palette. Masks of two levels need none.
        side: the tree that every picture shows.
        pixel_mm: edge of a pixel at the isocentre.
    """

    vessel_values: Values | None = None
    side: Side | None = None
    pixel_mm: Annotated[float, Interval(gt=0, le=10)] | None = None


class Masks(FolderSource):
    """``NN.png`` with ``NN_gt.png`` beside it, or ``images/NN.png`` with ``masks/NN.png``."""

    Options: ClassVar[type[MasksOptions]] = MasksOptions
    keeps = True

    def __init__(self, place: str, options: MasksOptions) -> None:
        super().__init__(place, options)
        found, masks = _pictures_and_masks(Folder(place))
        names = sorted({*found} & {*masks}, key=natural)
        self.left_over = {
            "pictures without a mask": alone(found, masks),
            "masks without a picture": alone(masks, found),
            **doubled(found, masks),
        }
        if not names:
            raise SourceError(
                "no picture has a mask; give a folder of NN.png with NN_gt.png, or with images/ and masks/"
            )
        order = self.by_subject(names, options.subject)
        self._pairs = [(found[names[i]], masks[names[i]]) for i in order]

    def case_files(self, case: int) -> Sequence[File]:
        """The picture and its mask; more where several have their names."""
        found, masks = self._pairs[case]
        return [*found, *masks]

    def locate(self, case: int) -> str:
        """Both."""
        return " and ".join(file.path for file in self.case_files(case))

    def read(self, case: int) -> Angiogram:
        """One picture and its mask."""
        found, masks = self._pairs[case]
        try:
            only(found, "pictures")
            image = decode(found[0].read())
            mask, notes = read_mask(masks, image, self.options.vessel_values)
        except BadCase as error:
            raise BadCase(f"picture {case + 1}: {error}") from None
        return Angiogram(
            subject=f"masks/{self.subject_name(case)}",
            source_id=pixel_hash(image),
            licence=self.licence,
            image=image,
            mask=mask,
            mask_is_complete=True,
            side=self.options.side,
            pixel_mm=self.options.pixel_mm,
            notes=notes,
        )

    def content(self, case: int, whole: bool) -> bytes:
        """The picture's pixels."""
        return pixel_hash(decode(self._pairs[case][0][0].read())).encode()


def mask_folder(place: str, where: str | None) -> Named:
    """The masks that another source's option ``masks`` names, by their pictures' names without ending.

    Args:
        place: of the source.
        where: the option: a folder laid out as the pictures' own; None: no masks.
    """
    if where is None:
        return {}
    try:
        found = of_kind(Folder(beside(place, where)).walk())
    except SourceError as error:
        raise SourceError(f"option masks: {error}") from None
    if not found:
        raise SourceError("option masks: that folder holds no picture; give one of NAME.png, as the pictures are named")
    return by_name(found, _unmarked)


def read_mask(
    files: Sequence[File], image: NDArray[np.uint8], vessel_values: Values | None
) -> tuple[NDArray[np.bool_] | None, dict[str, str]]:
    """The vessel mask (rows, cols) of a picture, and notes on how it is stored.

    Args:
        files: the mask, None for none; several are refused.
        image: the picture.
        vessel_values: see ``MasksOptions``.

    Raises:
        BadCase: where it is none, or of another size, or nobody says which of its classes are vessel.
    """
    file = only(files, "masks")
    if file is None:
        return None, {}
    try:
        mask, notes = vessel_mask(file.read(), vessel_values)
        if mask.shape != image.shape:
            raise BadCase(f"has {_size(mask)} pixels, the picture {_size(image)}")
    except BadCase as error:
        raise BadCase(f"its mask {error}") from None
    return mask, notes


def vessel_mask(data: bytes, vessel_values: Values | None = None) -> tuple[NDArray[np.bool_], dict[str, str]]:
    """The vessels (rows, cols) that a mask's file shows, and notes on how it is stored; see ``read_mask``.

    Raises:
        BadCase: where it is none, or nobody says which of its classes are vessel.
    """
    if vessel_values is None:
        mask, notes = _brighter(decode(data, deep=True))
    else:
        mask, notes = _named(numbers(data), vessel_values), {}
    if mask.mean() > 0.5:
        share = 100 * mask.mean()
        raise BadCase(f"covers {share:.0f} % of the picture: is it inverted? Vessels are bright in a mask")
    return mask, notes


def _unmarked(name: str) -> str:
    """Of a mask: what its picture is called, without the ending."""
    return re.sub(f"({'|'.join(MASK_ENDS)})$", "", unended(name))


def _pictures_and_masks(folder: Folder) -> tuple[Named, Named]:
    """Pictures and masks by number or name."""
    images = in_folders(folder, ("images",))
    if images and (masks := in_folders(folder, MASK_FOLDERS, name=_unmarked)):
        return images, masks
    there = of_kind(folder.files().values())
    marked = [file for file in there if unended(file.name) != _unmarked(file.name)]
    return by_name([file for file in there if file not in marked], unended), by_name(marked, _unmarked)


def _brighter(values: NDArray[np.integer]) -> tuple[NDArray[np.bool_], dict[str, str]]:
    """The vessel: the brighter of two levels, or what lies above half where a mask was smoothed or JPEG-coded."""
    levels = np.unique(values)
    low, high = int(levels[0]), int(levels[-1])
    if low == high:
        raise BadCase(f"is empty: every pixel is {low}")
    between = float(_between(values).mean())
    values = _settled(values, low, high)
    levels = np.unique(values)
    if len(levels) == 3 or _even(values) >= EVEN or _flat(values) >= FLAT:
        raise BadCase(f"holds {_few(levels)}: name those of the vessel in the source's option vessel_values")
    notes = {"mask_levels": f"{100 * between:.1f} % of the mask lies between its two levels"} if between else {}
    return values > (low + high) / 2, notes


def _settled(values: NDArray[np.integer], low: int, high: int) -> NDArray[np.integer]:
    """With the few odd pixels just below the highest level at it: no class, which would be more than a few pixels."""
    near = (values > high - ODD_LEVELS * (high - low)) & (values < high)
    return np.where(near, high, values) if near.sum() <= ODD_SHARE * (values == high).sum() else values


def _named(values: NDArray[np.int64], vessel_values: Values) -> NDArray[np.bool_]:
    """The pixels of these values."""
    levels = np.unique(values)
    if len(levels) > 3 and _even(values) < EVEN:
        raise BadCase(f"was smoothed: it holds {_few(levels)}, and its class numbers are lost")
    mask: NDArray[np.bool_] = np.isin(values, vessel_values)
    if not mask.any():
        raise BadCase(f"holds {_few(levels)}, none of which option vessel_values names")
    return mask


def _between(values: NDArray[np.integer]) -> NDArray[np.bool_]:
    """The pixels between the lowest and the highest level."""
    between: NDArray[np.bool_] = (values != values.min()) & (values != values.max())
    return between


def _even(values: NDArray[np.integer]) -> float:
    """Share of the pixels between the ends that equal one of their four neighbours: see ``EVEN``."""
    same = np.zeros(values.shape, np.bool_)
    down, right = values[1:] == values[:-1], values[:, 1:] == values[:, :-1]
    same[1:] |= down
    same[:-1] |= down
    same[:, 1:] |= right
    same[:, :-1] |= right
    between = _between(values)
    return float(same[between].mean()) if between.any() else 0.0


def _flat(values: NDArray[np.integer]) -> float:
    """Share of the pixels in the middle of the range whose eight neighbours are like them: see ``FLAT``."""
    low, high = float(values.min()), float(values.max())
    first, last = (low + part * (high - low) for part in MIDDLE)
    middle = (values > first) & (values < last)
    spread = scipy.ndimage.maximum_filter(values, 3) - scipy.ndimage.minimum_filter(values, 3)
    return float((spread[middle] <= LIKE * (high - low)).mean()) if middle.any() else 0.0


def _few(levels: NDArray[np.generic]) -> str:
    shown = ", ".join(str(level) for level in levels[:8])
    return f"{len(levels)} levels ({shown}{', ...' if len(levels) > 8 else ''})"


def _size(image: NDArray[np.generic]) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
