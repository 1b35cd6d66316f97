"""Which CT slices are one series, and whose: by its UID, and within it by numbers compared with a tolerance.

Writers round, and leave elements out: 0 beside -0, 0.70315 beside 0.703149, a frame of reference in every other slice.
What was parted by that would be volumes with half of the slices, at twice the spacing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pydicom
from numpy.typing import NDArray

from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.dicom import NOBODY, PatientId
from lesionforge.engine.sources.files import File, refuse_passing
from lesionforge.generators.types import BadCase

SAME_PLACE_MM = 0.01
SAME = 1e-3  # of direction cosines, and of the mm between pixels: also within ``series.SliceStack``
TEXTS = ("Rows", "Columns", "ConvolutionKernel", "FrameOfReferenceUID")
NUMBERS = {"ImageOrientationPatient": 6, "PixelSpacing": 2}
GROUPING = (*dicom.PATIENT, "SeriesInstanceUID", *TEXTS, *NUMBERS, "ImagePositionPatient", "ReferencedSeriesSequence",
            "ReferencedFrameOfReferenceSequence", "Modality", "ImageType")  # fmt: skip
Kind = Literal["slice", "segmentation", "localizer", "structure set", "other"]
Value = str | tuple[float, ...]
FLAWS = (
    "",
    "its slices say several patients' ids and are of one volume: write one PatientID where they are one person's, else "
    "give each person's a SeriesInstanceUID of its own",
    "its slices lie between those of another part of the series, which differ in kernel, frame of reference, spacing "
    "or direction: neither is a volume",
)
OFF_GRID = 0.1  # of the distance between slices: as far do those of two reconstructions on one grid never lie


@dataclass(frozen=True)
class Member:
    """What a file belongs to, for comparison alone: hold it no longer than it takes to number the series."""

    kind: Kind
    patient: PatientId = NOBODY
    series: str = ""  # its UID; of a segmentation that which it refers to
    said: Mapping[str, Value] = field(default_factory=dict)  # what slices of one volume share, as far as they say it
    place: tuple[float, ...] = ()

    @classmethod
    def of(cls, file: File) -> Member:
        """Of a file; a broken one is a slice of a series of its own, so that its case tells why."""
        alone = cls("slice", series=f"\0{file.path}")
        try:
            with file.open() as stream:
                header = dicom.head(stream, GROUPING)
        except (BadCase, OSError) as error:
            refuse_passing(error)
            return alone
        modality, patient = dicom.text(header, "Modality").upper(), dicom.patient_of(header)
        try:
            refers = header.get("ReferencedSeriesSequence") or [pydicom.Dataset()]
            localizer = "LOCALIZER" in (header.get("ImageType") or ())
        except Exception:  # a value is parsed when it is asked for
            return alone
        if modality == "SEG":
            return cls("segmentation", patient, dicom.text(refers[0], "SeriesInstanceUID"), _said(header))
        if modality == "RTSTRUCT":
            return cls("structure set", patient, *_drawn_on(header))
        if modality not in ("CT", ""):
            return cls("other")
        if localizer:
            return cls("localizer")
        place = _numbers(header, "ImagePositionPatient", 3)
        return cls("slice", patient, dicom.text(header, "SeriesInstanceUID"), _said(header), place)


def _drawn_on(header: pydicom.Dataset) -> tuple[str, dict[str, Value]]:
    """The UIDs of the series and of the frame of reference that a structure set was drawn on, as far as it says."""
    try:
        (frame, *_) = header.ReferencedFrameOfReferenceSequence
        (study, *_) = frame.get("RTReferencedStudySequence") or [pydicom.Dataset()]
        (series, *_) = study.get("RTReferencedSeriesSequence") or [pydicom.Dataset()]
        uid = dicom.text(series, "SeriesInstanceUID")
        said = {"FrameOfReferenceUID": dicom.text(frame, "FrameOfReferenceUID")}
    except Exception:  # missing or broken: it is of none
        return "", _said(header)
    return uid, {key: value for key, value in said.items() if value}


def _said(header: pydicom.Dataset) -> dict[str, Value]:
    out: dict[str, Value] = {key: dicom.text(header, key) for key in TEXTS}
    out |= {key: _numbers(header, key, count) for key, count in NUMBERS.items()}
    return {key: value for key, value in out.items() if value}


def _numbers(header: pydicom.Dataset, key: str, count: int) -> tuple[float, ...]:
    try:
        return tuple(dicom.numbers(header, key, count).tolist())
    except Exception:  # missing or broken: said again when the series is read
        return ()


@dataclass(frozen=True)
class Series:
    """A series' slices and segmentations by their numbers among the files; ``parts``: of how many by one UID.

    ``flaw``: why it is no volume of one person, a number in ``FLAWS``. ``near``: structure sets drawn on it, and
    what else was drawn in its frame of reference on a series that is not there.
    """

    slices: list[int]
    segmentations: list[int]
    person: str  # empty where no slice says whose it is
    parts: int
    flaw: int = 0
    near: Sequence[int] = ()


def series_of(members: Sequence[Member]) -> list[Series]:
    """The series among files, in the order of their first slices; the slice that tells the patient comes first."""
    names = dicom.told_apart([member.patient for member in members])
    buckets: dict[str, list[int]] = {}
    masks = [(n, member) for n, member in enumerate(members) if member.kind in ("segmentation", "structure set")]
    for n, member in enumerate(members):
        if member.kind == "slice":
            buckets.setdefault(member.series, []).append(n)
    unnamed = buckets.pop("", [])
    if len(buckets) == 1:  # slices without a UID among those of one series
        next(iter(buckets.values())).extend(unnamed)
    elif unnamed:
        buckets[""] = unnamed
    out = []
    for uid, bucket in buckets.items():
        parts = _parted(sorted(bucket), members)
        flaws = _flaws(parts, names, members)
        for part, flaw in zip(parts, flaws, strict=True):
            person = next((names[n] for n in part if names[n]), "")
            frames = {_frame(members[n]) for n in part} - {""}
            own, near = [], []
            for n, member in masks:
                if names[n] and person and names[n] != person:
                    continue
                framed = _frame(member) in frames
                if member.kind == "segmentation" and (member.series == uid if member.series else framed):
                    own.append(n)
                elif member.series == uid or (framed and member.series not in buckets):
                    near.append(n)
            first = sorted(part, key=lambda n: not names[n])
            out.append(Series(first, own, person, len(parts), flaw, near))
    return sorted(out, key=lambda series: min(series.slices))


def _flaws(parts: Sequence[Sequence[int]], names: Sequence[str], members: Sequence[Member]) -> list[int]:
    """Of each part: two people whose frames of reference differ are two under one UID, of a program that writes one."""
    people = [{names[n] for n in part} - {""} for part in parts]
    frames = [{_frame(members[n]) for n in part} for part in parts]
    own = all(len(who) == len(frame) == 1 and "" not in frame for who, frame in zip(people, frames, strict=True))
    frame_of: dict[str, set[str]] = {}
    for who, frame in zip(people, frames, strict=True):
        for name in who:
            frame_of.setdefault(name, set()).update(frame)
    apart = own and sum(map(len, frame_of.values())) == len(set().union(*frames))
    if len(set().union(*people)) > 1 and not apart:
        return [1] * len(parts)
    flaw = 2 if _interleaved([[members[n] for n in part] for part in parts]) else 0
    return [flaw] * len(parts)


def _parted(bucket: list[int], members: Sequence[Member]) -> list[list[int]]:
    """The slices of one UID by volume: what differs by more than rounding is another one.

    Slices that leave something out are of the volume that they fit, unless they lie where its own do. Where they fit
    several, nobody knows: then all are one series, and its case says what is wrong with it.
    """
    said = {n: members[n].said for n in bucket}
    keys = set().union(*(one.keys() for one in said.values()))
    groups = _alike_ones([n for n in bucket if said[n].keys() == keys], said)
    for some in _alike_ones([n for n in bucket if said[n].keys() != keys], said):
        fits = [group for group in groups if _alike(said[group[0]], said[some[0]])]
        if len(fits) > 1:
            return [bucket]
        if fits and not _overlap([members[n] for n in fits[0]], [members[n] for n in some]):
            fits[0].extend(some)
        else:
            groups.append(some)
    return [sorted(group) for group in groups]


def _alike_ones(slices: list[int], said: Mapping[int, Mapping[str, Value]]) -> list[list[int]]:
    groups: list[list[int]] = []
    for n in slices:
        group = next((group for group in groups if _alike(said[group[0]], said[n])), None)
        if group is None:
            groups.append([n])
        else:
            group.append(n)
    return groups


def _overlap(some: Sequence[Member], others: Sequence[Member]) -> bool:
    """Whether slices of both lie in one place."""
    a, b = ([m.place for m in members if m.place] for members in (some, others))
    return bool(a and b) and bool((np.abs(np.array(a)[:, None] - np.array(b)[None]).max(-1) <= SAME_PLACE_MM).any())


def _interleaved(parts: Sequence[Sequence[Member]]) -> bool:
    """Whether slices of one part lie between another's, as far apart: not where those of another volume would lie.

    Or whether they fill the gaps of another part, so that both together are one volume.
    """
    places = [np.array([m.place for m in part if m.place]) for part in parts]
    for n, some in enumerate(places):
        for others in places[n + 1 :]:
            if min(len(some), len(others)) < 2:
                continue
            axis = int(np.ptp(some, axis=0).argmax())
            a, b = np.unique(some[:, axis]), np.unique(others[:, axis])
            if min(len(a), len(b)) < 2:
                continue
            step, other = (float(np.median(np.diff(heights))) for heights in (a, b))
            inside = b[(b > a[0]) & (b < a[-1])]
            far = np.abs(inside[:, None] - a[None]).min(1, initial=np.inf) > OFF_GRID * step
            if abs(step - other) <= OFF_GRID * step and far.any():
                return True
            gaps = not (_even(a) and _even(b))
            if gaps and _even(np.sort(np.concatenate([a, b]))):
                return True
    return False


def _even(heights: NDArray[np.float64]) -> bool:
    """Whether heights in order are equally far apart; two alike are not."""
    steps = np.diff(heights)
    return bool(steps.min() > SAME_PLACE_MM and np.ptp(steps) <= OFF_GRID * np.median(steps))


def _alike(a: Mapping[str, Value], b: Mapping[str, Value]) -> bool:
    """Whether nothing that both say differs."""
    for key in a.keys() & b.keys():
        one, other = a[key], b[key]
        if isinstance(one, str) or isinstance(other, str):
            if one != other:
                return False
        elif not all(abs(x - y) <= SAME for x, y in zip(one, other, strict=True)):
            return False
    return True


def _frame(member: Member) -> str:
    return str(member.said.get("FrameOfReferenceUID", ""))
