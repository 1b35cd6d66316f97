"""``masks:FOLDER``: pictures with whole-vessel masks, as segmentation sets publish them (DCA1 and its like)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.files import File, beside, natural, stem
from lesionforge.engine.sources.folder import Folder, FolderOptions, FolderSource
from lesionforge.engine.sources.pictures.picture import ENDINGS, decode, pixel_hash
from lesionforge.generators.types import Angiogram, BadCase, Side

MASK_FOLDERS = ("masks", "labels", "gt")
MASK_ENDS = ("_gt", "_mask", "_label")


@dataclass(frozen=True)
class MasksOptions(FolderOptions):
    """What the files do not say.

    Attributes:
        side: the tree that every picture shows.
        pixel_mm: edge of a pixel at the isocentre.
    """

    side: Side | None = None
    pixel_mm: Annotated[float, Interval(gt=0, le=10)] | None = None


class Masks(FolderSource):
    """``NN.png`` with ``NN_gt.png`` beside it, or ``images/NN.png`` with ``masks/NN.png``."""

    Options: ClassVar[type[MasksOptions]] = MasksOptions

    def __init__(self, place: str, options: MasksOptions) -> None:
        super().__init__(place, options)
        folder = Folder(place)
        pairs = _pairs(folder)
        if not pairs:
            raise SourceError(
                "no picture has a mask; give a folder of NN.png with NN_gt.png, or with images/ and masks/"
            )
        order = self.by_subject([stem(picture.name) for picture, _ in pairs], options.subject)
        self._pairs = [pairs[i] for i in order]

    def case_files(self, case: int) -> Sequence[File]:
        """The picture and its mask."""
        return self._pairs[case]

    def locate(self, case: int) -> str:
        """Both."""
        return " and ".join(file.path for file in self._pairs[case])

    def read(self, case: int) -> Angiogram:
        """One picture and its mask."""
        picture, mask_file = self._pairs[case]
        try:
            image = decode(picture.read())
            mask, notes = read_mask(mask_file, image)
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
        return pixel_hash(decode(self._pairs[case][0].read())).encode()


def mask_folder(place: str, where: str | None) -> dict[str, File]:
    """The masks that another source's option ``masks`` names, by their pictures' names without ending.

    Args:
        place: of the source.
        where: the option: a folder laid out as the pictures' own; None: no masks.
    """
    if where is None:
        return {}
    try:
        files = list(Folder(beside(place, where)).walk())
    except SourceError as error:
        raise SourceError(f"option masks: {error}") from None
    found = [f for f in files if f.name.rsplit(".", 1)[-1].lower() in ENDINGS]
    if not found:
        raise SourceError("option masks: that folder holds no picture; give one of NAME.png, as the pictures are named")
    return {_unmarked(file.name.rsplit(".", 1)[0]): file for file in found}


def read_mask(file: File, image: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], dict[str, str]]:
    """The vessel mask (rows, cols) of a picture, and notes on how it is stored.

    Raises:
        BadCase: where it is none, or of another size.
    """
    try:
        mask, notes = _binary(decode(file.read()))
        if mask.shape != image.shape:
            raise BadCase(f"has {_size(mask)} pixels, the picture {_size(image)}")
    except BadCase as error:
        raise BadCase(f"its mask {error}") from None
    return mask, notes


def _unmarked(name: str) -> str:
    return re.sub(f"({'|'.join(MASK_ENDS)})$", "", name)


def _pairs(folder: Folder) -> list[tuple[File, File]]:
    """Pictures with their masks, by number or name."""
    images = _pictures(folder.files("images"))
    for sub in MASK_FOLDERS if images else ():
        if masks := _pictures(folder.files(sub)):
            named = {_unmarked(name): file for name, file in masks.items()}
            break
    else:
        images = _pictures(folder.files())
        named = {name.removesuffix(end): f for name, f in images.items() for end in MASK_ENDS if name.endswith(end)}
    return [(images[name], named[name]) for name in sorted(named, key=natural) if name in images]


def _pictures(files: dict[str, File]) -> dict[str, File]:
    return {stem(name): file for name, file in files.items() if name.rsplit(".", 1)[-1].lower() in ENDINGS}


def _binary(values: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], dict[str, str]]:
    """The vessel: the brighter of two levels, or what lies above half where a mask was smoothed or JPEG-coded."""
    low, high = int(values.min()), int(values.max())
    if low == high:
        raise BadCase(f"is empty: every pixel is {low}")
    mask = values > (low + high) / 2
    if mask.mean() > 0.5:
        raise BadCase(f"covers {100 * mask.mean():.0f} % of the picture: is it inverted? Vessels are bright in a mask")
    between = float(((values != low) & (values != high)).mean())
    notes = {"mask_levels": f"{100 * between:.1f} % of the mask lies between its two levels"} if between else {}
    return mask, notes


def _size(image: NDArray[np.generic]) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
