"""``imagecas:`` and ``nifti:``: coronary CT labels on a disk or any fsspec place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.cache import remembered
from lesionforge.engine.sources.files import File, listed
from lesionforge.engine.sources.folder import Folder, FolderOptions, FolderSource
from lesionforge.engine.sources.nifti import read_voxels
from lesionforge.engine.sources.nifti_header import doubts_of
from lesionforge.engine.sources.places import located, missing, told
from lesionforge.engine.sources.trees import split
from lesionforge.engine.sources.trees.terms import IMAGECAS
from lesionforge.generators.types import BadCase, CoronaryTree, Side


@dataclass(frozen=True)
class LabelOptions(FolderOptions):
    """Which trees.

    Attributes:
        sides: the trees to take of each label. Name one side where a label holds only that tree.
    """

    sides: tuple[Side, ...] = ("left", "right")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sides or len(set(self.sides)) < len(self.sides):
            raise ValueError(f"sides {list(self.sides)}: name left, right or both, each once")


class Nifti(FolderSource):
    """Any binary coronary labels: one ``.nii``/``.nii.gz`` file, or a folder of them."""

    Options: ClassVar[type[LabelOptions]] = LabelOptions
    keeps = True
    pattern: ClassVar[str] = r"(.+)\.nii(\.gz)?"
    example: ClassVar[str] = "case1.nii.gz"

    def __init__(self, place: str, options: LabelOptions) -> None:
        super().__init__(place, options)
        fs, path = located(place)
        self._protocol = fs.protocol
        try:
            if fs.isdir(path):
                below = Folder(place).walk()
                found = [file for file in below if "/" not in file.name]
                deeper = [
                    f.path for f in below if "/" in f.name and re.fullmatch(self.pattern, f.name.rpartition("/")[2])
                ]
                self.left_over = {"label maps in subfolders, which are not looked into": deeper} if deeper else {}
            else:
                alone = fs.info(path)
                found = [listed(fs, alone)] if alone["type"] == "file" else []
        except FileNotFoundError:
            raise missing(place, "file or folder") from None
        except (OSError, ValueError) as error:
            raise SourceError(f"cannot be listed: {told(error)}") from None
        named = ((re.fullmatch(self.pattern, file.path.rsplit("/", 1)[-1]), file) for file in found)
        files = [replace(file, name=match[1]) for match, file in named if match]
        self._labels = sorted(files, key=lambda f: (len(f.name), f.name) if f.name.isdigit() else (0, f.name))
        found_in = [(n, side) for n in range(len(self._labels)) for side in options.sides]
        order = self.by_subject([self._labels[n].name for n, _ in found_in], options.subject)
        self._wanted = [found_in[i] for i in order]  # label and side of each case
        if not self._labels:
            raise SourceError(f"no file is named like {self.example}; give a folder of labels or one label file")
        self._trees = lru_cache(maxsize=8)(self._load)

    def files(self) -> list[File]:
        """The label files, once each, whatever the number of its trees."""
        return self._labels

    def case_files(self, case: int) -> Sequence[File]:
        """The label file."""
        return [self._labels[self._wanted[case][0]]]

    def read(self, case: int) -> CoronaryTree:
        """One tree of one label; both trees of a file are found in one reading."""
        number, side = self._wanted[case]
        found = self._trees(number)
        if isinstance(found, str):
            raise BadCase(found)
        return replace(found[side], subject=self.subject_name(case))

    def _load(self, number: int) -> dict[Side, CoronaryTree] | str:
        """The trees of a file, or the reason why there are none: either is worth remembering."""
        file = self._labels[number]
        only = self.options.sides[0] if len(self.options.sides) == 1 else None
        try:
            label = _label(file, self._protocol)
            trees = split.split(label, file.name, self.licence, only)
        except BadCase as error:
            return f"label {number + 1}: {error}"
        doubts = doubts_of(label.affine)
        return {side: replace(tree, notes={**tree.notes, **doubts}) for side, tree in trees.items()}


class ImageCas(Nifti):
    """ImageCAS (Zeng et al. 2023): ``N.label.nii.gz``, N = 1 ... 1000, both trees in one label; images are not read."""

    pattern = r"(\d+|.*)\.label\.nii(\.gz)?"
    example = "12.label.nii.gz"
    licence = IMAGECAS


def _label(file: File, protocol: object) -> split.VoxelLabel:
    """A file's label, from the cache or read anew: it takes seconds to unpack, and its voxels are few."""

    def make() -> dict[str, NDArray[Any]]:
        voxels, affine = read_voxels(file)
        return {"voxels": voxels.astype(np.uint16), "affine": affine}

    file.check()
    found = remembered(f"placed label\n{protocol} {file.path} {file.mark}", ("voxels", "affine"), make)
    return split.VoxelLabel(found["voxels"].astype(np.int32), found["affine"])
