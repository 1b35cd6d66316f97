"""Folders of label-mapped CT as the published sets lay them out: which volumes there are, what their labels mean."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from lesionforge.engine.sources.base import UNKNOWN_LICENCE, SourceError
from lesionforge.engine.sources.ct.names import legend_of, standard
from lesionforge.engine.sources.files import File, natural
from lesionforge.generators.types import BadCase

Layout = Literal["auto", "lits", "kits", "msd", "totalsegmentator", "imagecas", "pair"]
MAX_INDEX = 2**24  # bytes of dataset.json
NII = r"\.nii(?:\.gz)?"
TERMS = {
    "lits": "LiTS: CC BY-NC-ND 4.0 (cite Bilic et al. 2023)",
    "kits": "KiTS: CC BY-NC-SA 4.0 (cite Heller et al. 2019)",
    "totalsegmentator": "TotalSegmentator: CC BY 4.0 (cite Wasserthal et al. 2023)",
    "imagecas": "ImageCAS terms (cite Zeng et al. 2023, arXiv 2211.01607)",
}
CREATIVE = re.compile(r"CC[ -]?BY(?:[ -](?:SA|NC|ND))*(?:[ -]\d\.\d)?")  # no other text of the file goes further
PAIRS = (
    "a pair is NAME.nii.gz, NAME_ct, NAME_img, NAME_image or NAME_0000 with NAME_seg, NAME_label or NAME_mask, or "
    "images/NAME with labels/NAME, NAME being the same"
)
IMAGE_FOLDERS = ("images", "imagesTr")
LABEL_FOLDERS = ("labels", "labelsTr", "masks", "segmentations")


@dataclass(frozen=True)
class CtFiles:
    """One volume: its image, and one label map with its legend, or binary masks by standard name."""

    name: str
    image: File
    label: File | None = None
    masks: tuple[tuple[str, File], ...] = ()


@dataclass(frozen=True)
class CtListing:
    """What a folder holds, read as one of the layouts."""

    layout: str
    entries: tuple[CtFiles, ...]
    legend: Mapping[int, str] = field(default_factory=dict)
    licence: str = UNKNOWN_LICENCE


def find(files: Sequence[File], layout: Layout) -> CtListing:
    """The volumes below a folder.

    Raises:
        SourceError: where none is found, or, for ``auto``, where several layouts would fit.
    """
    names = [layout] if layout != "auto" else [name for name in get_args(Layout) if name not in ("auto", "pair")]
    found = [one for name in names if (one := READERS[name](files)) is not None and one.entries]
    if not found and layout == "auto" and (pairs := _pair(files)).entries:
        found = [pairs]
    if not found:
        known = ", ".join(name for name in get_args(Layout) if name != "auto")
        what = f"is not laid out like {layout}" if layout != "auto" else f"is laid out like none of {known}"
        raise SourceError(f"{what}: no image was found with its label map ({_shape(files)}); {PAIRS}")
    if len(found) > 1:
        raise SourceError(f"could be {' or '.join(f.layout for f in found)}: name one in the option layout")
    return found[0]


def _shape(files: Sequence[File]) -> str:
    """What lies there instead, in numbers: a file's name may be a patient's."""
    volumes = [file for file in files if re.search(rf"{NII}$", file.name)]
    labels = sum(bool(re.search(rf"[_.](?:seg|label|mask){NII}$", file.name)) for file in volumes)
    return f"of {len(files)} files {len(volumes)} are NIfTI, {labels} of these named as label maps"


def _lits(files: Sequence[File]) -> CtListing:
    """``volume-N.nii`` with ``segmentation-N.nii``, in one folder or in several."""
    images, labels = _named(files, rf"volume-(\d+){NII}"), _named(files, rf"segmentation-(\d+){NII}")
    return CtListing("lits", _both(images, labels), {1: "liver", 2: "liver_tumour"}, TERMS["lits"])


def _kits(files: Sequence[File]) -> CtListing:
    """``case_XXXXX/imaging.nii.gz`` with ``segmentation.nii.gz`` (KiTS19, 21 and 23; the first has no cysts)."""
    images = _named(files, rf"(case_\d+)/imaging{NII}", whole=True)
    labels = _named(files, rf"(case_\d+)/segmentation{NII}", whole=True)
    return CtListing("kits", _both(images, labels), {1: "kidney", 2: "kidney_tumour", 3: "kidney_cyst"}, TERMS["kits"])


def _imagecas(files: Sequence[File]) -> CtListing:
    """``N.img.nii.gz`` with ``N.label.nii.gz``."""
    images, labels = _named(files, rf"(.+)\.img{NII}"), _named(files, rf"(.+)\.label{NII}")
    return CtListing("imagecas", _both(images, labels), {1: "coronary"}, TERMS["imagecas"])


def _totalsegmentator(files: Sequence[File]) -> CtListing:
    """``sNNNN/ct.nii.gz`` with ``segmentations/STRUCTURE.nii.gz``, each a binary mask."""
    images = _named(files, rf"(s\d+)/ct{NII}", whole=True)
    masks: dict[str, list[tuple[str, File]]] = {}
    for file in files:
        if match := re.search(rf"(?:^|/)(s\d+)/segmentations/(\w+?){NII}$", file.name):
            masks.setdefault(match[1], []).append((standard(match[2]), file))
    entries = [
        CtFiles(name, images[name], masks=tuple(masks[name])) for name in sorted(masks, key=natural) if name in images
    ]
    return CtListing("totalsegmentator", tuple(entries), {}, TERMS["totalsegmentator"])


def _msd(files: Sequence[File]) -> CtListing | None:
    """``imagesTr``, ``labelsTr`` and ``dataset.json``: the Medical Segmentation Decathlon, and nnU-Net's raw format."""
    index = next((f for f in files if f.name == "dataset.json"), None)
    if index is None:
        return None
    try:
        if index.size > MAX_INDEX:
            raise ValueError("too large")
        content = json.loads(index.read())
        legend = legend_of(_values(content["labels"]))
        modality = " ".join(str(m) for m in (content.get("modality") or content.get("channel_names") or {}).values())
        licence = CREATIVE.search(str(content.get("licence") or content.get("license")).upper())
    except BadCase as error:
        raise SourceError(f"dataset.json {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SourceError(
            "dataset.json cannot be understood: it names labels as the Decathlon's or nnU-Net's do"
        ) from None
    if modality and "CT" not in modality.upper().split():
        raise SourceError("dataset.json says another modality than CT")
    images = _named(files, rf"imagesTr/([^/]+?)(?:_0000)?{NII}", whole=True)
    labels = _named(files, rf"labelsTr/([^/]+?){NII}", whole=True)
    return CtListing(
        "msd", _both(images, labels), legend, f"as its dataset.json says: {licence[0]}" if licence else UNKNOWN_LICENCE
    )


def _values(labels: Mapping[str, Any]) -> dict[int, str]:
    """value -> name, whichever way round it is written (the Decathlon's, or nnU-Net v2's)."""
    if all(key.isdecimal() and isinstance(name, str) for key, name in labels.items()):
        return {int(key): name for key, name in labels.items()}
    return {int(value): name for name, value in labels.items()}


def _pair(files: Sequence[File]) -> CtListing:
    """See ``PAIRS``; of two images of one name the first in the folder's order is read."""
    ends = r"(?:_ct|_img|_image|_0000)?"
    images = _named(files, rf"(?:{'|'.join(IMAGE_FOLDERS)})/([^/]+?){ends}{NII}", whole=True)
    labels = _named(files, rf"(?:{'|'.join(LABEL_FOLDERS)})/([^/]+?)(?:_seg|_label|_mask)?{NII}", whole=True)
    if not _both(images, labels):
        labels = _named(files, rf"(.+?)[_.](?:seg|label|mask){NII}", whole=True)
        images = _named(files, rf"(.+?){ends}{NII}", whole=True)
    return CtListing("pair", _both(images, labels))


READERS: Mapping[str, Callable[[Sequence[File]], CtListing | None]] = {
    "lits": _lits,
    "kits": _kits,
    "msd": _msd,
    "totalsegmentator": _totalsegmentator,
    "imagecas": _imagecas,
    "pair": _pair,
}


def _named(files: Sequence[File], pattern: str, whole: bool = False) -> dict[str, File]:
    """Files by what the pattern's group says of their names; of two alike the first. ``whole``: with their folders."""
    out: dict[str, File] = {}
    for file in files:
        base = file.name.rsplit("/", 1)[-1]
        match = re.search(rf"(?:^|/){pattern}$", file.name) if whole else re.fullmatch(pattern, base)
        if match and not base.startswith("."):
            out.setdefault(match[1], file)
    return out


def _both(images: Mapping[str, File], labels: Mapping[str, File]) -> tuple[CtFiles, ...]:
    return tuple(CtFiles(name, images[name], labels[name]) for name in sorted(labels, key=natural) if name in images)
