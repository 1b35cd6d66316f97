"""A run as it lies on a disk: an XA DICOM file, or a folder of frames."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pydicom

from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.pictures.picture import decode, letters, pixel_hash
from lesionforge.engine.sources.xa.pixels import MAX_BYTES, MAX_FRAMES, XaRun
from lesionforge.engine.sources.xa.runs import pixel_mm, view_deg
from lesionforge.generators.types import BadCase, significant
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.runs import HeldFilm, Run

PACE: dicom.Allowed = dict.fromkeys(("FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate"))
RUN: dicom.Allowed = {**dicom.XA_RUN, **PACE}
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
FOLDER = "a folder of pictures does not say it"
NUMBER = re.compile(r"(\D*)(\d+)")


@dataclass(frozen=True)
class Opened:
    """A run, and why something of it is not known, by field of ``Run``.

    ``fps``: frames a second, None where nobody said (``run.fps`` is then a guess). ``patient``: for comparison alone.
    ``notes``: what a reader should know of the pixels.
    """

    run: Run
    fps: float | None
    why: dict[str, str]
    patient: dicom.PatientId = dicom.NOBODY
    notes: list[str] = field(default_factory=list)


def opened(path: Path, what: str) -> Opened:
    """Read a run.

    Args:
        path: a DICOM file, or a folder of 8-bit pictures, one a frame, in the order of the numbers in their names.
        what: it is called in messages: paths may name a patient (promise P8).

    Raises:
        UsageError: it is neither, or cannot be read.
    """
    try:
        out = _folder(path) if path.is_dir() else _file(path.read_bytes())
    except BadCase as error:
        raise UsageError(f"{what} {error}") from None
    except OSError as error:
        raise UsageError(f"{what} cannot be read: {error.strerror or type(error).__name__}") from None
    if any(letters(out.run.film[n]) for n in (0, len(out.run.film) // 2)):
        out.notes.append("something is written on the frames: pictures and film of this run may name the patient")
    return out


def one_patient(runs: Sequence[Opened]) -> None:
    """Refuse runs of several people.

    Raises:
        UsageError: their files say so.
    """
    if len({one.patient for one in runs if one.patient.id}) > 1:
        raise UsageError("the runs have different PatientIDs: give those of one patient")


def _file(data: bytes) -> Opened:
    header = dicom.read(data, RUN)
    frames, notes = XaRun(header).film()
    fps, no_fps = _fps(header)
    angles, no_angles = view_deg(header)
    pitch, no_pitch = pixel_mm(header, None)
    no_pitch = no_pitch.partition(":")[0]  # what follows is about a source's options
    patient = dicom.patient(data)
    why = {key: said for key, said in (("fps", no_fps), ("angles", no_angles), ("pixel_mm", no_pitch)) if said}
    said = [notes["display"]] if notes["display"].startswith("no window") else []
    if "YES" in str(header.get("BurnedInAnnotation", "")):
        said.append("its header says that the patient's data are written on the frames")
    held = HeldFilm(frames)
    source_id = pixel_hash(frames[len(frames) // 2])
    run = Run(f"read/{source_id}", source_id, held, angles=angles, pixel_mm=(pitch, pitch) if pitch else None)
    return Opened(run if fps is None else replace(run, fps=fps), fps, why, patient, said)


def _folder(path: Path) -> Opened:
    files = sorted(
        (one for one in path.iterdir() if one.suffix.lower() in PICTURES), key=lambda one: (order(one.name), one.name)
    )
    if not files:
        raise BadCase(f"is a folder without pictures: give a DICOM file, or frames as {', '.join(PICTURES)}")
    if len(files) > MAX_FRAMES:
        raise BadCase(f"has {len(files)} pictures; 1 to {MAX_FRAMES} are read as a run")
    frames = []
    for n, file in enumerate(files, 1):
        try:
            frames.append(decode(file.read_bytes()).copy())  # Pillow's is read-only, of which torch warns
        except BadCase as error:
            raise BadCase(f"has a frame, number {n}, that {error}") from None
        if frames[-1].shape != frames[0].shape:
            raise BadCase(f"has frames of two sizes, {frames[0].shape} and {frames[-1].shape}: give one run a folder")
        if sum(frame.size for frame in frames) > MAX_BYTES:
            raise BadCase(f"unpacks to more than {MAX_BYTES} bytes")
    source_id = pixel_hash(frames[len(frames) // 2])
    run = Run(f"read/{source_id}", source_id, HeldFilm(frames))
    return Opened(run, None, dict.fromkeys(("fps", "angles", "pixel_mm"), FOLDER))


def order(name: str) -> list[tuple[str, int]]:
    """``frame10`` after ``frame9``."""
    return [(part, int(number)) for part, number in NUMBER.findall(name)]


def _fps(header: pydicom.Dataset) -> tuple[float | None, str]:
    """Frames a second; or None, and why."""
    try:
        times = [step for step in dicom.components(header, "FrameTimeVector") if step]
        for step in (dicom.number(header, "FrameTime", 0), sum(times) / max(len(times), 1)):
            if step > 0:
                return significant(1000 / step), ""  # FrameTime is rounded to what fits into 16 characters
        for key in ("CineRate", "RecommendedDisplayFrameRate"):
            if (rate := dicom.number(header, key, 0)) > 0:
                return rate, ""
    except BadCase as error:
        return None, str(error)
    return None, "FrameTime (0018,1063) and CineRate (0018,0040) are missing"
