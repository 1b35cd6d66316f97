"""``voc:FOLDER`` and ``yolo:FOLDER``: pictures with boxes around their lesions, and no mask."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Interval

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.files import File, natural, texts
from lesionforge.engine.sources.folder import Folder, FolderOptions, FolderSource
from lesionforge.engine.sources.pictures.box_text import LabelledBox, check, read_voc, read_yolo
from lesionforge.engine.sources.pictures.masks import Values, mask_folder, read_mask
from lesionforge.engine.sources.pictures.names import alone, beside, doubled, in_folders, only
from lesionforge.engine.sources.pictures.picture import decode, pixel_hash
from lesionforge.generators.types import Angiogram, BadCase, SeverityClass, Side

PARTS = ("train", "valid", "val", "test")  # folders by which published sets are split


@dataclass(frozen=True)
class BoxOptions(FolderOptions):
    """What the files do not say.

    Attributes:
        classes: the label files' classes and the severity that each stands for, null where lesions are not graded.
        masks: folder of vessel masks named as the pictures; relative to the source's own place where it is no absolute
            path or URL. Where one lacks, the ``stenosis`` generator finds the vessels.
        vessel_values: what is vessel in masks that hold class numbers, see ``masks:``.
        side: the tree that every picture shows.
        pixel_mm: edge of a pixel at the isocentre.
    """

    classes: Mapping[str, SeverityClass | None] = field(default_factory=dict)
    masks: str | None = None
    vessel_values: Values | None = None
    side: Side | None = None
    pixel_mm: Annotated[float, Interval(gt=0, le=10)] | None = None


@dataclass(frozen=True)
class VocOptions(BoxOptions):
    """Of a Pascal VOC folder.

    Attributes:
        classes: the classes in ``<name>`` and the severity that each stands for, null where lesions are not graded.
    """

    classes: Mapping[str, SeverityClass | None] = field(default_factory=lambda: {"Stenosis": None, "stenosis": None})


@dataclass(frozen=True)
class YoloOptions(BoxOptions):
    """Of a YOLO folder.

    Attributes:
        classes: the classes by number and the severity that each stands for, null where lesions are not graded; DiGDA's
            unless said otherwise.
    """

    classes: Mapping[str, SeverityClass | None] = field(default_factory=lambda: {"0": "moderate", "1": "severe"})


class BoxedPictures(FolderSource):
    """Pictures with a label file of the same name: beside them, or in ``images`` and the format's folder of labels.

    A picture without a label file is a case whose lesions are unknown (note ``lesions_labelled``), as are those of one
    whose boxes are all too small; one with an empty file has no lesion.
    """

    ending: ClassVar[str]
    label_folders: ClassVar[tuple[str, ...]]
    picture_folders: ClassVar[tuple[str, ...]]
    keeps = True

    def __init__(self, place: str, options: BoxOptions) -> None:
        super().__init__(place, options)
        folder = Folder(place)
        self._pictures = in_folders(folder, self.picture_folders) or beside(folder)
        self._masks = mask_folder(place, options.masks)
        labels = (self.ending,)
        self._labels = in_folders(folder, self.label_folders, labels) or beside(folder, labels)
        lonely = {name: texts(files) for name, files in self._labels.items() if name not in self._pictures}
        others = [name for name, found in lonely.items() if not any(self._is_label(text) for text in found)]
        self.left_over = {
            f".{self.ending} files that hold no labels": [f.path for n in others for f in self._labels[n]],
            "masks without a picture": alone(self._masks, self._pictures),
            **doubled(self._pictures, self._masks, self._labels),
        }
        self._labels = {name: files for name, files in self._labels.items() if name not in others}
        if not self._pictures or not self._labels:
            if part := next((part for part in PARTS if in_folders(folder, (part,))), None):
                raise SourceError(f"holds parts: give one of them, as the folder {part} in it")
            raise SourceError(
                f"holds {len(self._pictures)} pictures and {len(self._labels)} .{self.ending} files of labels; give a "
                f"folder of NAME.png with NAME.{self.ending}, or with {self.picture_folders[0]}/ and "
                f"{self.label_folders[0]}/"
            )
        names = sorted({*self._pictures, *self._labels}, key=natural)
        self._names = [names[i] for i in self.by_subject(names, options.subject)]
        self.unmasked = sum(name not in self._masks for name in names)

    def case_files(self, case: int) -> Sequence[File]:
        """The pictures of the case's name, their masks and their labels."""
        name = self._names[case]
        return [file for found in (self._pictures, self._masks, self._labels) for file in found.get(name, ())]

    def locate(self, case: int) -> str:
        """The picture, or the label file without one."""
        name = self._names[case]
        return " and ".join(file.path for file in self._pictures.get(name, self._labels.get(name, ())))

    def read(self, case: int) -> Angiogram:
        """One picture with its lesions."""
        name = self._names[case]
        try:
            picture = only(self._pictures.get(name, ()), "pictures")
            if picture is None:
                raise BadCase("there are labels but no such picture")
            image = decode(picture.read())
            shape = image.shape[0], image.shape[1]
            labels = only(self._labels.get(name, ()), "label files")
            mask, notes = read_mask(self._masks.get(name, ()), image, self.options.vessel_values)
            boxes, said = self._parse(labels.read(), shape) if labels else ([], {})
            lesions = check(boxes, shape, self.options.classes)
        except BadCase as error:
            raise BadCase(f"picture {case + 1}: {error}") from None
        return Angiogram(
            subject=f"{self.ending}/{self.subject_name(case)}",
            source_id=pixel_hash(image),
            licence=self.licence,
            image=image,
            mask=mask,
            mask_is_complete=mask is not None,
            lesions=lesions.lesions,
            side=self.options.side,
            pixel_mm=self.options.pixel_mm,
            notes={"lesions_labelled": labels is not None and lesions.known} | said | lesions.notes | notes,
        )

    def content(self, case: int, whole: bool) -> bytes:
        """The picture's pixels."""
        picture = only(self._pictures.get(self._names[case], ()), "pictures")
        return pixel_hash(decode(picture.read())).encode() if picture else b""

    def _is_label(self, _data: bytes) -> bool:
        """Whether a file of the labels' ending beside no picture is one, and not of another kind."""
        return True

    @abstractmethod
    def _parse(self, data: bytes, shape: tuple[int, int]) -> tuple[list[LabelledBox], dict[str, str]]:
        """The boxes of a label file, and notes on them."""


class Voc(BoxedPictures):
    """Pascal VOC, as the Danilov set has it: ``NAME.xml``; or ``JPEGImages`` or ``images`` with ``Annotations``."""

    Options: ClassVar[type[VocOptions]] = VocOptions
    ending = "xml"
    label_folders = ("Annotations", "annotations")
    picture_folders = ("JPEGImages", "images")

    def _parse(self, data: bytes, shape: tuple[int, int]) -> tuple[list[LabelledBox], dict[str, str]]:
        return read_voc(data, shape)


class Yolo(BoxedPictures):
    """YOLO: ``images/NAME.png`` with ``labels/NAME.txt``, as DiGDA's labels beside ARCADE's pictures."""

    Options: ClassVar[type[YoloOptions]] = YoloOptions
    ending = "txt"
    label_folders = ("labels",)
    picture_folders = ("images",)

    def _parse(self, data: bytes, shape: tuple[int, int]) -> tuple[list[LabelledBox], dict[str, str]]:
        return read_yolo(data, shape), {}

    def _is_label(self, data: bytes) -> bool:
        """LabelImg leaves its classes.txt beside the labels, others a README.txt."""
        try:
            read_yolo(data, (1, 1))
        except BadCase:
            return False
        return True
