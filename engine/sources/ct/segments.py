"""What the segments of a DICOM segmentation are called, by all that its texts and codes say."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping

import pydicom

from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.ct.names import TUMOUR_OF_SOMETHING, UNKNOWN, altered, chosen, name_of, organ_in
from lesionforge.engine.sources.dicom import numbers
from lesionforge.generators.structures import kind, kind_of_file, names_lesion, organ_of, says_nothing, words
from lesionforge.generators.types import BadCase

SERIES_TEXTS = ("SeriesDescription", "ContentLabel", "ContentDescription")
OBSERVED = "RTROIObservationsSequence"
SOUGHT = re.compile(r"calcium|cancer\W*screening|embolism", re.IGNORECASE)  # a scan is called so, whatever it shows


def titles(header: pydicom.Dataset, names: Mapping[str, str], told: str = "") -> tuple[dict[int, str | None], set[int]]:
    """The standard name of each segment by its number, and those that are ``UNKNOWN`` only for the series' texts.

    These tell of a lesion that no segment is: one that says nothing is that lesion; one that says healthy anatomy is
    doubted. What stays of a liver that is to be cut, beside its tumours as TCIA has it, is liver.

    Args:
        told: what the file's own name says, which counts as the series' texts do.
    """
    segments = header.get("SegmentSequence") or ()
    texts = {int(numbers(segment, "SegmentNumber", 1)[0]): _texts(segment) for segment in segments}
    found = {which: name_of(called, names) for which, called in texts.items()}
    apart = any(name and kind(name) == "lesion" for name in found.values())
    series = SOUGHT.sub(" ", " ".join([*(_text(header, key) for key in SERIES_TEXTS), told]))
    sought = (names_lesion(series) or kind_of_file(series) == "lesion") and not apart
    doubted = set()
    for which, called in texts.items():
        if chosen(called, names):
            continue
        if "remnant" in words(called[0]) and (apart or kind(called[1]) == "healthy"):
            found[which] = name_of([f"future {called[0]}", *called[1:]], {})
        if sought and len(texts) == 1 and says_nothing(" ".join(called)):
            found[which] = name_of([*called, series], {})
        elif sought and found[which] != UNKNOWN:
            found[which] = UNKNOWN
            doubted.add(which)
    return found, doubted


def doubt(count: int) -> str:
    """Of a segment that may be the lesion which the texts of its series, or its file's name, tell of."""
    return (
        f"marks {count} voxels of healthy anatomy by its own texts, and its series' texts or its file's name tell of a "
        "lesion that no segment is: say what it is in the option masks, as {'*liver*': liver}"
    )


def _texts(segment: pydicom.Dataset) -> list[str]:
    """What a segment is called: its label, its type, and whatever else tells that it is a lesion, or of which organ.

    Its description counts as well where the label says nothing. Other texts may be about anything: a word there that
    nobody knows is none of its name.
    """
    kinds = (segment.get("SegmentedPropertyTypeCodeSequence") or [pydicom.Dataset()])[0]
    modifiers = kinds.get("SegmentedPropertyTypeModifierCodeSequence") or ()
    label, of = _text(segment, "SegmentLabel"), " ".join(_text(one, "CodeMeaning") for one in (kinds, *modifiers))
    region = " ".join(_text(one, "CodeMeaning") for one in segment.get("AnatomicRegionSequence") or ())
    description, tracked = _text(segment, "SegmentDescription"), _text(segment, "TrackingID")
    texts = [label, of]
    if _altered(segment, kinds):
        texts.append("lesion")
    together = " ".join(texts)
    if kind(together) == "lesion":
        more = (one for one in (region, description, tracked) if organ_in(f"{together} {one}"))
        return texts if organ_in(together) else [*texts, *itertools.islice(more, 1)]
    if says_nothing(label):
        texts.append(description)
    return [*texts, *(said for said in (description, tracked, region) if names_lesion(said, doubtful=True))]


def _altered(segment: pydicom.Dataset, of: pydicom.Dataset) -> bool:
    """Whether a segment's category, or the code of its type, is that of lesions, whatever the words are."""
    types = _text(of, "CodeValue")
    categories = segment.get("SegmentedPropertyCategoryCodeSequence") or [pydicom.Dataset()]
    return any(altered(_text(one, "CodeValue"), _text(one, "CodeMeaning"), types) for one in categories)


def _text(item: pydicom.Dataset, key: str) -> str:
    return str(item.get(key, "") or "")


def lesions_told(data: bytes, names: Mapping[str, str]) -> set[str]:
    """The standard names of lesions in a segmentation or a structure set; of what cannot be read, none."""
    try:
        header = dicom.read(data, dicom.SEGMENTATION)
    except BadCase:
        return set()
    types = {one.get("ReferencedROINumber"): _text(one, "RTROIInterpretedType") for one in header.get(OBSERVED) or ()}
    found = set(titles(header, names)[0].values())
    for region in header.get("StructureSetROISequence") or ():
        called, of = _text(region, "ROIName"), types.get(region.get("ROINumber"), "")
        if chosen([called], names) or kind_of_file(f"{called} {of}") != "lesion":
            found.add(name_of([called], names))
        else:  # a lesion whatever else is in it, as in "Liver-GTV"
            found.add(
                f"{organ}_tumour" if (organ := organ_of(set(words(called)), lesion=True)) else TUMOUR_OF_SOMETHING
            )
    return {name for name in found if name and kind(name) == "lesion"}


def may_be_one(name: str, other: str) -> bool:
    """Whether two lesions may be one, as far as they name their organs."""
    organs = {organ_of(set(words(one)), lesion=True) for one in (name, other)}
    return len(organs) == 1 or None in organs
