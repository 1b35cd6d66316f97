"""Folders of label-mapped CT as the published sets lay them out: which volumes there are, what their labels mean."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

from lesionforge.engine.sources.base import UNKNOWN_LICENCE, SourceError
from lesionforge.engine.sources.ct.listing import CtFiles, CtListing, is_label_map
from lesionforge.engine.sources.ct.names import legend_of, owned, standard
from lesionforge.engine.sources.ct.pairing import (
    COUNTER,
    IMAGE_FOLDER,
    IMAGES_ARE,
    LABEL_FOLDER,
    LABELS_ARE,
    NII,
    TRAINING,
    Names,
    home,
    named,
    paired,
)
from lesionforge.engine.sources.files import File, natural
from lesionforge.engine.sources.trees.terms import IMAGECAS, IMAGECASX, RIGHT, SEGMENTS
from lesionforge.generators.types import BadCase

Layout = Literal["auto", "lits", "kits", "msd", "totalsegmentator", "imagecas", "imagecasx", "pair"]
MAX_INDEX = 2**24  # bytes of dataset.json
TERMS = {
    "lits": "LiTS: CC BY-NC-ND 4.0 (cite Bilic et al. 2023)",
    "kits": "KiTS: CC BY-NC-SA 4.0 (cite Heller et al. 2019)",
    "totalsegmentator": "TotalSegmentator: CC BY 4.0 (cite Wasserthal et al. 2023)",
    "abdomenatlas": "AbdomenAtlas terms (cite Qu et al. 2023, arXiv 2305.09666)",
    "imagecas": IMAGECAS,
    "imagecasx": IMAGECASX,
}
CREATIVE = re.compile(r"CC[ -]?BY(?:[ -](?:SA|NC|ND))*(?:[ -]\d\.\d)?")  # no other text of the file goes further
CT_WORDS = frozenset({"CT", "CTA", "CCTA", "CTCA", "CTPA", "CTP", "CECT", "NCCT", "NECT", "LDCT", "HRCT"})  # hold HU
SHOWN = re.compile(r"[\w .,/()+-]{1,40}")  # of dataset.json's channel: a word, no escape sequence
IMAGE_ENDS = ("_ct", "_img", "_image", "_0000")
LABEL_ENDS = ("_seg", "_label", "_mask")
PAIRS = (
    "a pair is NAME.nii.gz, NAME_ct, NAME_img, NAME_image or NAME_0000 with NAME_seg, NAME_label or NAME_mask in one "
    "folder, or images/NAME with labels/NAME (img with label, ct with seg, TrainingImg with TrainingMask), NAME being "
    "the same"
)


def find(files: Sequence[File], layout: Layout, any_modality: bool = False, with_legend: bool = False) -> CtListing:
    """The volumes below a folder.

    Args:
        any_modality: take them for CT whatever dataset.json calls them.
        with_legend: somebody says what the labels mean, so dataset.json need not.

    Raises:
        SourceError: where none is found, where two files could be one volume's label map or image, or, for ``auto``,
            where several layouts would fit.
    """
    names = [layout] if layout != "auto" else [name for name in get_args(Layout) if name not in ("auto", "pair")]
    readers: Mapping[str, Callable[[Sequence[File]], CtListing | None]] = {
        "lits": _lits,
        "kits": _kits,
        "msd": lambda files: _msd(files, any_modality, with_legend),
        "totalsegmentator": _totalsegmentator,
        "imagecas": _imagecas,
        "imagecasx": _imagecasx,
        "pair": _pair,
    }
    files = [file for file in files if not file.name.rsplit("/", 1)[-1].startswith(".")]
    found = [one for name in names if (one := readers[name](files)) is not None and one.entries]
    if not found and layout == "auto" and (pairs := _pair(files)).entries:
        found = [pairs]
    if not found:
        known = ", ".join(name for name in get_args(Layout) if name != "auto")
        what = f"is not laid out like {layout}" if layout != "auto" else f"is laid out like none of {known}"
        raise SourceError(f"{what}: no image was found with its label map ({_shape(files)}); {PAIRS}")
    if len(found) > 1:
        raise SourceError(f"could be {' or '.join(f.layout for f in found)}: name one in the option layout")
    return found[0].with_strays(files)


def _shape(files: Sequence[File]) -> str:
    """What lies there instead, in numbers: a file's name may be a patient's."""
    volumes = [file for file in files if re.search(rf"{NII}$", file.name, re.IGNORECASE)]
    maps = sum(map(is_label_map, volumes))
    return f"of {len(files)} files {len(volumes)} are NIfTI, {maps} of these named as label maps"


def _both(images: Names, labels: Names) -> tuple[CtFiles, ...]:
    return tuple(CtFiles(name, image, label) for name, image, label in paired(images, labels))


def _lits(files: Sequence[File]) -> CtListing:
    """``volume-N.nii`` with ``segmentation-N.nii``, in one folder, or in folders of their own side by side."""
    images, labels = named(files, rf"volume-(\d+){NII}"), named(files, rf"segmentation-(\d+){NII}")
    return CtListing("lits", _both(images, labels), {1: "liver", 2: "liver_tumour"}, TERMS["lits"])


def _kits(files: Sequence[File]) -> CtListing:
    """``case_XXXXX/imaging.nii.gz`` with ``segmentation.nii.gz`` (KiTS19, 23), or the majority's of KiTS21."""
    images, labels = (
        named(files, rf"(case_\d+)/imaging{NII}"),
        named(files, rf"(case_\d+)/(?:segmentation|aggregated_MAJ_seg){NII}"),
    )
    return CtListing("kits", _both(images, labels), {1: "kidney", 2: "kidney_tumour", 3: "kidney_cyst"}, TERMS["kits"])


def _imagecas(files: Sequence[File]) -> CtListing:
    """``N.img.nii.gz`` with ``N.label.nii.gz``."""
    images, labels = named(files, rf"([^/]+)\.img{NII}"), named(files, rf"([^/]+)\.label{NII}")
    return CtListing("imagecas", _both(images, labels), {1: "coronary"}, TERMS["imagecas"])


def _imagecasx(files: Sequence[File]) -> CtListing:
    """``volumes/N.img.nii.gz`` with ``segmentations/N.coronary.nii.gz``: 14 segments, here a tree a side."""
    images, labels = named(files, rf"([^/]+)\.img{NII}"), named(files, rf"([^/]+)\.coronary{NII}")
    legend = {value: "coronary_right" if value in RIGHT else "coronary_left" for value in SEGMENTS}
    return CtListing("imagecasx", _both(images, labels), legend, TERMS["imagecasx"])


def _totalsegmentator(files: Sequence[File]) -> CtListing:
    """``NAME/ct.nii.gz`` with ``NAME/segmentations/STRUCTURE.nii.gz``, each a binary mask: AbdomenAtlas, too."""
    images = named(files, rf"(?:([^/]+)/)?ct{NII}")
    masks: dict[tuple[str, str], list[tuple[str, File]]] = {}
    pattern = rf"(?:([^/]+)/)?segmentations/(.+?){NII}"
    for file in files:
        if match := re.search(rf"(?:^|/){pattern}$", file.name, re.IGNORECASE):
            masks.setdefault((home(file.name[: match.start()]), match[1] or ""), []).append((match[2], file))
    called = {name: standard(name) for name in {name for same in masks.values() for name, _ in same}}
    entries = []
    for key in sorted(masks.keys() & images.files.keys(), key=lambda key: (natural(key[0]), natural(key[1]))):
        raw = [name for name, _ in masks[key]]
        if len(set(raw)) < len(raw):
            raise SourceError(
                "two of a volume's mask files are of one structure, as liver.nii and liver.nii.gz: keep one"
            )
        parts = tuple((called[name], file) for name, file in masks[key])
        entries.append(CtFiles("/".join(filter(None, key)), images.one(key, "images"), masks=parts))
    own = owned({name for entry in entries for name, _ in entry.masks})
    entries = [replace(e, masks=tuple((own[name], file) for name, file in e.masks)) for e in entries]
    sets = {"totalsegmentator": r"s\d+", "abdomenatlas": r"BDMAP_\w+"}
    of = [n for n, name in sets.items() if all(re.fullmatch(name, e.name.rpartition("/")[2]) for e in entries)]
    return CtListing("totalsegmentator", tuple(entries), {}, TERMS[of[0]] if of else UNKNOWN_LICENCE)


def _msd(files: Sequence[File], any_modality: bool, with_legend: bool) -> CtListing | None:
    """``imagesTr``, ``labelsTr`` and ``dataset.json``: the Medical Segmentation Decathlon, and nnU-Net's raw format."""
    index = next((f for f in files if f.name == "dataset.json"), None)
    if index is None:
        return None
    try:
        if index.size > MAX_INDEX:
            raise ValueError("too large")
        content = json.loads(index.read())
        legend = {} if with_legend else legend_of(_values(content["labels"]))
        channels = content.get("modality") or content.get("channel_names") or {}
        channel = str(channels.get("0", "")) if channels else ""
        licence = CREATIVE.search(str(content.get("licence") or content.get("license")).upper())
    except BadCase as error:
        raise SourceError(f"dataset.json {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SourceError(
            "dataset.json cannot be understood: it gives each label a name and one value (no regions), as the "
            "Decathlon's does; or say what labels mean in the option legend, as {1: liver, 2: liver_tumour}"
        ) from None
    if channels and not any_modality and not _is_ct(channel):
        text = channel if SHOWN.fullmatch(channel) else "something"
        raise SourceError(
            f"dataset.json says another modality than CT: its channel 0 is {text!r}; if these are HU, set the option "
            "modality: ct"
        )
    return CtListing(
        "msd",
        _both(
            named(files, rf"imagesTr/([^/]+?){NII}", at_root=True, ends=("_0000",)),
            named(files, rf"labelsTr/([^/]+?){NII}", at_root=True),
        ),
        legend,
        f"as its dataset.json says: {licence[0]}" if licence else UNKNOWN_LICENCE,
    )


def _is_ct(channel: str) -> bool:
    """Whether a channel's name is that of CT alone: ``CTA``, ``CT angiography``, no ``PET/CT``."""
    words = set(re.split(r"[^A-Z0-9]+", channel.upper()))
    other = {"PET", "PT", "SPECT", "MR", "MRI"}
    return not words & other and (bool(words & CT_WORDS) or {"COMPUTED", "TOMOGRAPHY"} <= words)


def _values(labels: Mapping[str, Any]) -> dict[int, str]:
    """value -> name, whichever way round it is written (the Decathlon's, or nnU-Net v2's)."""
    if all(key.isdecimal() and isinstance(name, str) for key, name in labels.items()):
        out = {int(key): name for key, name in labels.items()}
    else:
        out = {int(value): name for name, value in labels.items()}
    if len(out) < len(labels) or not all(0 <= value <= 255 for value in out):
        raise ValueError("values are told twice, or are none of a label map's")
    return out


def _pair(files: Sequence[File]) -> CtListing:
    """See ``PAIRS``."""
    images = named(files, rf"{IMAGES_ARE}/(.+?){NII}", ends=IMAGE_ENDS)
    labels = named(files, rf"{LABELS_ARE}/(.+?){NII}", ends=LABEL_ENDS)
    if entries := _both(images, labels):
        return CtListing("pair", entries)
    marks = r"(?:seg|label|mask|segmentation)"
    labels = named(files, rf"(?:([^/]+?)[-_. ])?{marks}{NII}")
    maps = {file.path for same in labels.files.values() for file in same}
    images = named([f for f in files if f.path not in maps], rf"([^/]+?){NII}", ends=IMAGE_ENDS)
    if entries := _both(images, labels):
        return CtListing("pair", entries)
    images, labels = (  # as BTCV, FLARE and others call their folders
        named(files, rf"{TRAINING}{folder.pattern}/{COUNTER}(.+?){NII}", ends=ends)
        for folder, ends in ((IMAGE_FOLDER, IMAGE_ENDS), (LABEL_FOLDER, LABEL_ENDS))
    )
    return CtListing("pair", _both(images, labels))
