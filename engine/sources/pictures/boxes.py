"""``voc:FOLDER`` and ``yolo:FOLDER``: pictures with boxes around their lesions, and no mask."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Interval

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.files import File, natural, stem, texts
from lesionforge.engine.sources.folder import Folder, FolderOptions, FolderSource
from lesionforge.engine.sources.pictures.box_text import LabelledBox, check, read_voc, read_yolo
from lesionforge.engine.sources.pictures.masks import mask_folder, read_mask
from lesionforge.engine.sources.pictures.picture import ENDINGS, decode, pixel_hash
from lesionforge.generators.types import Angiogram, BadCase, SeverityClass, Side


@dataclass(frozen=True)
class BoxOptions(FolderOptions):
    """What the files do not say.

    Attributes:
        classes: the label files' classes and the severity that each stands for, null where lesions are not graded.
        masks: folder of vessel masks named as the pictures; relative to the source's own place where it is no absolute
            path or URL. Without one a generator that must know the vessels, such as ``stenosis``, takes no picture.
        side: the tree that every picture shows.
        pixel_mm: edge of a pixel at the isocentre.
    """

    classes: Mapping[str, SeverityClass | None] = field(default_factory=dict)
    masks: str | None = None
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

    A picture without a label file is a case whose lesions are unknown (note ``lesions_labelled``); one with an empty
    file has no lesion.
    """

    ending: ClassVar[str]
    label_folders: ClassVar[tuple[str, ...]]
    picture_folders: ClassVar[tuple[str, ...]]

    def __init__(self, place: str, options: BoxOptions) -> None:
        super().__init__(place, options)
        folder = Folder(place)
        images = next((found for sub in self.picture_folders if (found := folder.files(sub))), folder.files())
        labels = next((found for sub in self.label_folders if (found := folder.files(sub))), folder.files())
        pictures = {stem(n): f for n, f in images.items() if n.rsplit(".", 1)[-1].lower() in ENDINGS}
        self._masks = mask_folder(place, options.masks)
        self._labels = {stem(n): f for n, f in labels.items() if n.lower().endswith(f".{self.ending}")}
        if not pictures or not self._labels:
            raise SourceError(
                f"holds {len(pictures)} pictures and {len(self._labels)} .{self.ending} files; give a folder "
                f"of NAME.png with NAME.{self.ending}, or with {self.picture_folders[0]}/ and {self.label_folders[0]}/"
            )
        names = sorted({*pictures, *self._labels}, key=natural)
        order = self.by_subject(names, options.subject)
        self._found: list[tuple[str, File | None]] = [(names[i], pictures.get(names[i])) for i in order]

    def case_files(self, case: int) -> Sequence[File]:
        """The picture and its mask; none where there are labels alone."""
        name, picture = self._found[case]
        return [file for file in (picture, self._masks.get(name)) if file and picture]

    def annotations(self) -> Sequence[bytes]:
        """Every label file."""
        return texts(self._labels.values())

    def locate(self, case: int) -> str:
        """The picture, or the label file without one."""
        name, picture = self._found[case]
        return (picture or self._labels[name]).path

    def read(self, case: int) -> Angiogram:
        """One picture with its lesions."""
        name, picture = self._found[case]
        try:
            if picture is None:
                raise BadCase("there are labels but no such picture")
            image = decode(picture.read())
            shape = image.shape[0], image.shape[1]
            labels, vessel = self._labels.get(name), self._masks.get(name)
            mask, notes = read_mask(vessel, image) if vessel else (None, {})
            lesions = check(self._parse(labels.read(), shape) if labels else [], shape, self.options.classes)
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
            notes={"lesions_labelled": labels is not None} | lesions.notes | notes,
        )

    def content(self, case: int, whole: bool) -> bytes:
        """The picture's pixels."""
        picture = self._found[case][1]
        return pixel_hash(decode(picture.read())).encode() if picture else b""

    @abstractmethod
    def _parse(self, data: bytes, shape: tuple[int, int]) -> list[LabelledBox]:
        """The boxes of a label file."""


class Voc(BoxedPictures):
    """Pascal VOC, as the Danilov set has it: ``NAME.xml``; or ``JPEGImages`` or ``images`` with ``Annotations``."""

    Options: ClassVar[type[VocOptions]] = VocOptions
    ending = "xml"
    label_folders = ("Annotations", "annotations")
    picture_folders = ("JPEGImages", "images")

    def _parse(self, data: bytes, shape: tuple[int, int]) -> list[LabelledBox]:
        return read_voc(data, shape)


class Yolo(BoxedPictures):
    """YOLO: ``images/NAME.png`` with ``labels/NAME.txt``, as DiGDA's labels beside ARCADE's pictures."""

    Options: ClassVar[type[YoloOptions]] = YoloOptions
    ending = "txt"
    label_folders = ("labels",)
    picture_folders = ("images",)

    def _parse(self, data: bytes, shape: tuple[int, int]) -> list[LabelledBox]:
        return read_yolo(data, shape)
