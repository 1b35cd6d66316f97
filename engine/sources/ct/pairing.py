"""Which label map belongs to which image: what two files' names and folders say, and no third reading of it.

A pair shares its folder, or lies in folders for images and for label maps that do (``siteA/images``, ``siteA/labels``).
Numbers begin anew in another folder, and ``ct.nii.gz`` is every patient's: names alone tell nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.files import File, natural

NII = r"\.nii(?:\.gz)?"
IMAGES_ARE = r"(?:images|imagesTr)"
LABELS_ARE = r"(?:labels|labelsTr|masks|segmentations)"
_PART = r"s?(?:Tr)?(?:[-_ ]?(?:pt|part)?[-_ ]?\d+)?"
IMAGE_FOLDER = re.compile(rf"(?:image|img|volume|scan|ct){_PART}", re.IGNORECASE)
LABEL_FOLDER = re.compile(rf"(?:label|mask|seg|segmentation){_PART}", re.IGNORECASE)
TRAINING = r"(?:train(?:ing)?[-_ ]?)?"
COUNTER = (
    r"(?:(?:img|image|volume|scan|ct|label|mask|seg|segmentation)[-_ ]?(?=\d+\.nii))?"  # BTCV's img0001, label0001
)
BARE = ("ct", "img", "image", "imaging", "volume", "scan")  # images of a folder that names the patient
Key = tuple[str, str]  # the folder that image and label map share, and the name in it


@dataclass
class Names:
    """Files by folder and name; ``ends`` may follow the name."""

    ends: tuple[str, ...] = ()
    files: dict[Key, list[File]] = field(default_factory=dict)

    def one(self, key: Key, what: str) -> File:
        """The file of a key.

        Raises:
            SourceError: where there are two.
        """
        if len(self.files[key]) > 1:
            folders = {file.name.rpartition("/")[0] for file in self.files[key]}
            how = (
                "in folders side by side, as labels and masks, or" if len(folders) > 1 else "as a.nii and a.nii.gz, or"
            )
            raise SourceError(
                f"{len(self.files[key])} {what} have one name ({how} in parts that both count from 0): nobody knows "
                "which is meant; keep one, or give each part a folder with its images and label maps"
            )
        return self.files[key][0]


def named(files: Sequence[File], pattern: str, ends: tuple[str, ...] = (), at_root: bool = False) -> Names:
    """The files whose name ends as ``pattern`` says, by its group (empty where it takes no part) and their folder."""
    out = Names(ends)
    for file in files:
        match = re.search(rf"(?:^|/){pattern}$", file.name, re.IGNORECASE)
        if match and not (at_root and match.start()):
            out.files.setdefault((home(file.name[: match.start()]), match[1] or ""), []).append(file)
    return out


def home(folder: str) -> str:
    """The folder that images and label maps share: without the part that is for one kind alone."""
    above, _, last = folder.strip("/").rpartition("/")
    return above if IMAGE_FOLDER.fullmatch(last) or LABEL_FOLDER.fullmatch(last) else folder.strip("/")


def paired(images: Names, labels: Names) -> list[tuple[str, File, File]]:
    """Name, image and label map of every pair, in natural order.

    Raises:
        SourceError: where one of them could be another's as well.
    """
    chosen: dict[Key, Key] = {}  # image -> label map
    called: dict[Key, list[Key]] = {}  # images by their names, with the usual endings and without
    for folder, name in images.files:
        for bare in _bare(name, images.ends) | ({""} if name.lower() in BARE else set()):
            called.setdefault((folder, bare), []).append((folder, name))
    for key in sorted(labels.files, key=lambda key: (natural(key[0]), natural(key[1]))):
        fits = _images(key, called, labels)
        if len(fits) > 1:
            raise SourceError("two images could be of one label map, as NAME and NAME_ct: keep one of them there")
        if fits and fits[0] in chosen:
            raise SourceError("two label maps could be of one image, as NAME and NAME_seg: keep one of them there")
        if fits:
            chosen[fits[0]] = key
    return [
        ("/".join(filter(None, label)) or image[1], images.one(image, "images"), labels.one(label, "label maps"))
        for image, label in chosen.items()
    ]


def _images(label: Key, called: Mapping[Key, Sequence[Key]], labels: Names) -> list[Key]:
    """The images that a label map may be of: of its own name, else of what is left without the usual endings.

    An image whose whole name is another label map's is that one's: ``case_0000`` may be ``case`` with a channel or not.
    """
    folder, name = label
    fits = dict.fromkeys(key for bare in _bare(name, labels.ends) for key in called.get((folder, bare), ()))
    return [key for key in fits if key == label or key not in labels.files]


def _bare(name: str, ends: Sequence[str]) -> set[str]:
    """A name, and what is left of it without an ending: ``A-CT`` ends as ``a_ct`` does."""
    cut = {len(name) - len(end) for end in ends if re.sub("[-. ]", "_", name[-len(end) :]).lower() == end}
    return {name, *(name[:n] for n in cut if n > 0)}
