"""Where the crops of a reading test come from: a dataset's drawn lesions, and the real ones of a source."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from lesionforge.engine.privacy import unnamed
from lesionforge.generators.lesion.classes import LABELS, PLAQUES, TUMOURS, canonical, home, mapped
from lesionforge.generators.types import Angiogram, BadCase, Volume, array_member
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.places import DataPlace, chosen, common_key
from lesionforge.jobs.studies.readers.crops import WINDOWS, Crop, Window, of_frame, of_volume
from lesionforge.sinks.exports.frames import UNGRADED
from lesionforge.sinks.exports.pictures import pictures
from lesionforge.sinks.reader import Samples

LEAST_VOXELS = 20  # of a real lesion: smaller marks are strays
MARKED = tuple(f"{organ}_tumour" for organ in ("liver", "kidney", "pancreas"))  # real ones, of no stage

Found = tuple[Crop, bytes]  # with a hash of the frame before drawing: no frame is shown twice


def group(kind: str) -> str:
    """What is matched between drawn and real: severity, class of plaque, or the tumour's organ."""
    return home(kind) if kind in (*TUMOURS, *MARKED) else kind


def pick(found: Iterator[Found], each: int, wanted: Mapping[str, int], seen: set[bytes]) -> list[Crop]:
    """Crops until there are ``each``, no frame twice.

    Args:
        found: crops in drawn order.
        each: how many.
        wanted: how many of a group, where the other side has so many; what they leave may be of any.
        seen: frames that were shown; those that are picked are added.
    """
    left, spare = Counter(wanted), each - sum(wanted.values())
    out: list[Crop] = []
    for crop, frame in found:
        if frame in seen:
            continue
        if left[group(crop.kind)] > 0:
            left[group(crop.kind)] -= 1
        elif spare > 0:
            spare -= 1
        else:
            continue
        seen.add(frame)
        out.append(crop)
        if len(out) == each:
            break
    return out


def window_of(place: str) -> Window | None:
    """How a dataset's CT is shown; None for angiograms.

    Raises:
        UsageError: where it holds no picture with lesions.
    """
    there = chosen(place, None, "--synthetic")
    if array_member("ct", there.members) is None:
        return None
    lesions = Samples(there.store, None, []).column("labels.lesions")
    kinds = {one["class"] for some in lesions for one in some or ()}
    return WINDOWS["plaques" if kinds & set(PLAQUES) else "tumours"]


def of_dataset(
    place: DataPlace, drawn: bool, classes: Sequence[str], window: Window | None, rng: np.random.Generator
) -> Iterator[Found]:
    """Lesions of a generated dataset in random order: drawn ones, or what stands for real ones.

    Those that it knows to be real, from the frames before drawing; where it has none, as in phantoms, all.
    """
    there = chosen(place.uri, None, place.option)
    if window is not None:
        ct = array_member("ct", there.members)
        if ct is None:
            raise UsageError(f"{place.option} {place.uri} has no CT, and the other data are CT: give data of one kind")
        there = Samples(there.store, None, [ct, "json"])
    elif any(name in there.members for name in ("image.png",)):
        there = Samples(there.store, None, [n for n in ("image.png", "source.png", "json") if n in there.members])
    real = not drawn and window is None and _has_real(there)
    for number in rng.permutation(len(there)).tolist():
        sample = there[number]
        record = sample["json"]
        subject = str(record.get("subject") or record["sample_id"])
        options: list[tuple[Any, Sequence[float], str]] = []
        if window is not None:
            frame = record["sample_id"].encode()
            for one in record["lesions"]:
                options.append((sample[ct], _middle(one["box"]), one["class"]))
        else:
            source = sample.get("source.png")
            frame = _hash(source) if source is not None else record["sample_id"].encode()
            for picture in pictures(record, sample.keys()):
                image = source if real and source is not None else sample[picture.member]
                for one in picture.lesions:
                    told = bool(one.record.get("synthetic", True))
                    if one.shown and told != real:
                        options.append((image, one.box, str(one.record.get("severity_class") or UNGRADED)))
        spacing = record["spacing_mm"] if window is not None else ()
        yield from _one(options, classes, window, spacing, drawn, subject, frame, rng)


def of_source(
    place: DataPlace,
    classes: Sequence[str],
    window: Window | None,
    rng: np.random.Generator,
    unreadable: Callable[[str], None],
) -> Iterator[Found]:
    """Real lesions of a source in random order, one of a case."""
    source, key = place.source, common_key([place])
    for number in rng.permutation(source.cases).tolist():
        try:
            case = unnamed(source.read(number), key)
        except BadCase as error:
            unreadable(str(error))
            continue
        options: list[tuple[Any, Sequence[float], str]] = []
        if window is None and isinstance(case, Angiogram):
            options = [(case.image, one.box, one.severity_class or UNGRADED) for one in case.lesions]
            frame = _hash(case.image)
        elif window is not None and isinstance(case, Volume):
            options = [(case.hu, middle, kind) for middle, kind in _marked(case)]
            frame = case.source_id.encode()
        else:
            raise UsageError(f"{place.option} {place.uri} and the drawn data are not of one kind: angiograms, or CT")
        spacing = case.spacing_mm if isinstance(case, Volume) else ()
        yield from _one(options, classes, window, spacing, False, case.subject, frame, rng)


def _one(
    options: Sequence[tuple[Any, Sequence[float], str]],
    classes: Sequence[str],
    window: Window | None,
    spacing: Sequence[float],
    drawn: bool,
    subject: str,
    frame: bytes,
    rng: np.random.Generator,
) -> Iterator[Found]:
    """A crop about one of a case's lesions, where it has one that is wanted and fits."""
    wanted = [one for one in options if not classes or one[2] in classes or group(one[2]) in classes]
    if not wanted:
        return
    voxels, where, kind = wanted[int(rng.integers(len(wanted)))]
    cut = of_frame(voxels, where, rng) if window is None else of_volume(voxels, spacing, where, window, rng)
    if cut is not None:
        yield Crop(*cut, drawn, kind, subject), frame


def _marked(case: Volume) -> list[tuple[list[float], str]]:
    """Middles in voxels and classes of the lesions that a volume's own labels mark."""
    if case.labels is None:
        return []
    ours, out = mapped(case.labels, canonical(case.legend)), []
    for value, name in enumerate(LABELS):
        if name not in (*MARKED, *PLAQUES, *TUMOURS) or not (ours == value).any():
            continue
        pieces, _ = ndimage.label(ours == value)
        sizes = np.bincount(pieces.ravel())
        for n, box in enumerate(ndimage.find_objects(pieces), 1):
            if sizes[n] >= LEAST_VOXELS:
                out.append(([(side.start + side.stop - 1) / 2 for side in box], name))
    return out


def _middle(box: Sequence[float]) -> list[float]:
    """Of a box of voxels (i0, j0, k0, i1, j1, k1), the ends beyond the last."""
    return [(low + high - 1) / 2 for low, high in zip(box[:3], box[3:], strict=True)]


def _has_real(there: Samples) -> bool:
    try:
        told = Samples(there.store, None, []).column("labels.lesions")
    except ValueError:
        return False
    return any(one.get("synthetic") is False for some in told for one in some or ())


def _hash(image: Any) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest()
