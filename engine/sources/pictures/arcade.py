"""``arcade:FOLDER``: ARCADE (Popov et al. 2024, Zenodo 10390295), angiograms with lesions and SYNTAX segments.

A frame is a case, whichever of the two tasks shows it: the SYNTAX segments of a picture of the stenosis task are those
of its twin in the SYNTAX task. ARCADE's parts cut through such twins (70 pictures of stenosis/train stand in
syntax/val, 17 of stenosis/val in syntax/train), so a frame belongs to the part that its picture in the stenosis task
is in; only a frame without one goes by the SYNTAX task. The test part is opened where it is asked for, never else.

ARCADE names no patients. A frame is a subject of its own, frames that nearly repeat each other (``twins.NEAR``) are
one subject, and a frame of ``train`` that nearly repeats one of ``val`` is left out: no cine run leaks by these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.files import File
from lesionforge.engine.sources.folder import Folder, FolderOptions, FolderSource
from lesionforge.engine.sources.pictures import twins
from lesionforge.engine.sources.pictures.arcade_index import EDGE, ArcadeLabels, ArcadePicture, Part, pictures
from lesionforge.engine.sources.pictures.box_text import LabelledBox, check, read_yolo
from lesionforge.engine.sources.pictures.picture import decode, pixel_hash
from lesionforge.engine.sources.pictures.polygons import MAX_OVERHANG_PX, check_inside, lumen, outline
from lesionforge.engine.sources.places import beside
from lesionforge.generators.types import Angiogram, BadCase, SeverityClass, Side

RIGHT_SEGMENTS = frozenset({"1", "2", "3", "4", "16a", "16b", "16c"})
CATEGORY = re.compile(r"([1-9]|1[0-6])[a-c]?|stenosis")  # a SYNTAX segment, or a lesion
DIGDA_CLASSES: dict[str, SeverityClass | None] = {"0": "moderate", "1": "severe"}


@dataclass(frozen=True)
class ArcadeOptions(FolderOptions):
    """Which frames, and whose lesions.

    Attributes:
        part: ARCADE's own part.
        require: what a frame must have: SYNTAX segments, labels of lesions (which may say that there is none), both,
            or anything.
        labels: folder of DiGDA's labels (``PART/labels/N.txt``, N the picture's number in the stenosis task), taken
            in place of ARCADE's lesions: squares around the lesions from 50 %DS up, graded. Relative to the ARCADE
            folder where it is no absolute path or URL.
    """

    part: Part = "train"
    require: Literal["any", "lesions", "segments", "both"] = "segments"
    labels: str | None = None


@dataclass(frozen=True)
class ArcadeFrame:
    """One frame: its picture (the stenosis task's where there are two) and what each task says about it."""

    file: File
    stenosis: ArcadeLabels | None
    syntax: ArcadeLabels | None

    @property
    def name(self) -> str:
        """As ARCADE counts it, e.g. ``stenosis/train/650``."""
        return self._labels.name

    @property
    def part(self) -> Part:
        """The part it belongs to."""
        return self._labels.part

    @property
    def _labels(self) -> ArcadeLabels:
        labels = self.stenosis or self.syntax
        assert labels is not None, "a frame comes from one task at least"
        return labels


class Arcade(FolderSource):
    """Frames of one part of ARCADE by number: those of the stenosis task first."""

    Options: ClassVar[type[ArcadeOptions]] = ArcadeOptions
    keeps = True

    def __init__(self, place: str, options: ArcadeOptions) -> None:
        super().__init__(place, options)
        folder = Folder(place)
        self._graded = _label_files(place, options) if options.labels is not None else None
        found, self._texts, unlisted = pictures(folder, ("test",) if options.part == "test" else ("val", "train"))
        thumbs = twins.thumbnails([picture.file for picture in found])
        numbered = _join(found, thumbs)
        frames = [frame for _, frame in numbered]
        first = twins.near_duplicates(thumbs[[number for number, _ in numbered]])
        wanted = [i for i, frame in enumerate(frames) if frame.part == options.part and self._wanted(frame)]
        repeating = [i for i in wanted if frames[first[i]].part != options.part]
        kept = [(frames[i], frames[first[i]].name) for i in wanted if i not in repeating]
        self.left_over = {
            "pictures that no annotation file lists": unlisted,
            "frames that nearly repeat one of another part": [frames[i].file.path for i in repeating],
        }
        order = self.by_subject([subject for _, subject in kept], options.subject)
        self._frames = [kept[case][0] for case in order]
        self.licence = "CC BY 4.0 (ARCADE, Zenodo 10390295)"
        if self._graded is not None:
            self.licence += "; labels CC BY-NC-SA 4.0 (medipixel/DiGDA)"
        parts = sorted({frame.part for frame in frames})
        if options.part not in parts:
            raise SourceError(
                f"holds no frame of part {options.part}, only of {', '.join(parts)}: set the option part, or give a "
                "folder that has it"
            )
        if not kept:
            raise SourceError(
                f"no frame of part {options.part} has {options.require}; set the source's option require to "
                f"any, lesions, segments or both (the folder holds {len(frames)} frames)"
            )

    def case_files(self, case: int) -> Sequence[File]:
        """The picture, and DiGDA's labels; ARCADE's own are in the task's COCO file."""
        frame = self._frames[case]
        graded = self._graded and frame.stenosis and self._graded.get(_label_file(frame.stenosis))
        return [frame.file, graded] if graded else [frame.file]

    def annotations(self) -> Sequence[bytes]:
        """Every COCO file."""
        return self._texts

    def read(self, case: int) -> Angiogram:
        """One frame."""
        frame = self._frames[case]
        try:
            return self._read(frame, f"arcade/{self.subject_name(case)}")
        except BadCase as error:
            raise BadCase(f"{frame.name}: {error}") from None

    def grades(self, case: int) -> list[str]:
        """Severity class of each lesion that DiGDA's labels grade; none without them, or where they cannot be read."""
        frame = self._frames[case]
        try:
            marked = self._marked(frame, (EDGE, EDGE)) if self._graded is not None else []
            lesions = check(marked, (EDGE, EDGE), DIGDA_CLASSES).lesions
        except BadCase:  # reading the case will say so
            return []
        return [lesion.severity_class for lesion in lesions if lesion.severity_class]

    def content(self, case: int, whole: bool) -> bytes:
        """The frame's pixels."""
        return pixel_hash(decode(self._frames[case].file.read())).encode()

    def _read(self, frame: ArcadeFrame, subject: str) -> Angiogram:
        image = decode(frame.file.read())
        shape = image.shape[0], image.shape[1]
        notes: dict[str, Any] = {"frame": frame.name}
        if frame.syntax and frame.syntax.name != frame.name:
            notes["segments_of"] = frame.syntax.name
        segments, flat = _segments(frame.syntax, shape)
        mask = lumen([polygon for _, polygon in segments], shape) if segments else None
        notes |= {"degenerate_segments": flat} if flat else {}
        lesions = check(self._marked(frame, shape), shape, DIGDA_CLASSES | {"stenosis": None})
        notes["lesions_labelled"] = self._has_lesion_labels(frame) and lesions.known
        return Angiogram(
            subject=subject,
            source_id=pixel_hash(image),
            licence=self.licence,
            image=image,
            mask=mask,
            lesions=lesions.lesions,
            segments=segments,
            side=_side({name for name, _ in segments}),
            notes=notes | lesions.notes,
        )

    def _marked(self, frame: ArcadeFrame, shape: tuple[int, int]) -> list[LabelledBox]:
        if frame.stenosis is None or not self._has_lesion_labels(frame):
            return []
        if self._graded is not None:
            return read_yolo(self._graded[_label_file(frame.stenosis)].read(), shape)
        _fit(frame.stenosis, shape)
        return [_lesion(a, frame.stenosis.names, shape) for a in frame.stenosis.annotations]

    def _has_lesion_labels(self, frame: ArcadeFrame) -> bool:
        if frame.stenosis is None:
            return False
        return self._graded is None or _label_file(frame.stenosis) in self._graded

    def _wanted(self, frame: ArcadeFrame) -> bool:
        segments = frame.syntax is not None and bool(frame.syntax.annotations)
        lesions = self._has_lesion_labels(frame)
        return {"any": True, "lesions": lesions, "segments": segments, "both": segments and lesions}[
            self.options.require
        ]


def _join(found: list[ArcadePicture], thumbs: twins.Thumbnails) -> list[tuple[int, ArcadeFrame]]:
    """Frames with the numbers of their pictures, in a fixed order: val before train, the stenosis task first."""
    stenosis = [i for i, p in enumerate(found) if "stenosis" in p.labels]
    alone = [i for i in stenosis if "syntax" not in found[i].labels]
    syntax = [i for i, p in enumerate(found) if "stenosis" not in p.labels]
    partner = twins.same_frames([p.file for p in found], thumbs, alone, syntax)
    frames = []
    for i in stenosis:
        labels = found[partner.get(i, i)].labels.get("syntax")
        frames.append((i, ArcadeFrame(found[i].file, found[i].labels["stenosis"], labels)))
    for i in sorted(set(syntax) - set(partner.values())):
        frames.append((i, ArcadeFrame(found[i].file, None, found[i].labels["syntax"])))
    return sorted(frames, key=lambda f: (f[1].part != "val", f[1].stenosis is None, f[0]))


def _label_file(labels: ArcadeLabels) -> str:
    return f"{labels.name.rsplit('/', 1)[1]}.txt"


def _label_files(place: str, options: ArcadeOptions) -> dict[str, File]:
    folder = Folder(beside(place, str(options.labels)))
    for sub in (f"{options.part}/labels", f"data/{options.part}/labels"):
        if files := {name: file for name, file in folder.files(sub).items() if name.endswith(".txt")}:
            return files
    raise SourceError(
        f"option labels: that folder holds no {options.part}/labels/N.txt; give the folder of DiGDA's released labels"
    )


def _fit(labels: ArcadeLabels, shape: tuple[int, int]) -> None:
    """Refuses labels that were drawn on a picture of another size."""
    (rows, cols), (seen_rows, seen_cols) = labels.shape, shape
    if labels.shape != shape:
        raise BadCase(f"its annotation is about {cols} x {rows} pixels, the picture has {seen_cols} x {seen_rows}")


def _segments(
    labels: ArcadeLabels | None, shape: tuple[int, int]
) -> tuple[tuple[tuple[str, NDArray[np.float64]], ...], list[str]]:
    """Names and polygons of a picture's segments, and a note on each polygon without an area."""
    segments, flat = [], []
    if labels:
        _fit(labels, shape)
    for annotation in labels.annotations if labels else ():
        name = _category(annotation, labels.names if labels else {})
        if name == "stenosis":
            raise BadCase("category stenosis stands among its SYNTAX segments")
        outlines = outline(annotation.get("segmentation"))
        if not any(len(polygon.points) for polygon in outlines):
            raise BadCase(f"segment {name} has no polygon: draw one, or take its annotation out")
        for polygon in outlines:
            check_inside(polygon, shape)
            if polygon.area > 0:
                segments.append((name, polygon.points))
            else:
                flat.append(f"segment {name}: a polygon of {len(polygon.points)} points without area")
    return tuple(segments), flat


def _lesion(annotation: Mapping[str, Any], names: Mapping[int, str], shape: tuple[int, int]) -> LabelledBox:
    name = _category(annotation, names)
    if name != "stenosis":
        raise BadCase("a SYNTAX segment stands among its stenoses")
    try:
        x, y, w, h = (float(v) for v in annotation["bbox"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise BadCase("a lesion's bbox is not [x, y, width, height]") from None
    outlines = outline(annotation.get("segmentation"))
    for polygon in outlines:
        check_inside(polygon, shape)
    if drawn := [polygon.points for polygon in outlines if len(polygon.points)]:
        every = np.concatenate(drawn)
        if np.abs(np.concatenate([every.min(0) - (x, y), every.max(0) - (x + w, y + h)])).max() > MAX_OVERHANG_PX:
            raise BadCase("a lesion's bbox is not that of its own polygon: is it [x, y, width, height], in pixels?")
    points = max(outlines, key=lambda polygon: polygon.area).points if outlines else None
    return LabelledBox((x, y, x + w, y + h), name, points)


def _category(annotation: Mapping[str, Any], names: Mapping[int, str]) -> str:
    number = annotation.get("category_id")
    if not isinstance(number, int) or number not in names:
        raise BadCase("an annotation has a category that its file does not name")
    if not CATEGORY.fullmatch(names[number]):
        raise BadCase("a category of its annotation file is none of ARCADE's: a SYNTAX segment or stenosis")
    return names[number]


def _side(segments: set[str]) -> Side | None:
    if not segments:
        return None
    return "right" if segments & RIGHT_SEGMENTS else "left"
