"""``imagecasx:FOLDER``: the coronary trees of ImageCAS-X, ImageCAS relabelled by segments, with its centrelines."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.cache import remembered
from lesionforge.engine.sources.files import File, natural
from lesionforge.engine.sources.folder import Folder, FolderSource
from lesionforge.engine.sources.nifti import read_marks
from lesionforge.engine.sources.nifti_header import doubts_of
from lesionforge.engine.sources.trees.labels import LabelOptions
from lesionforge.engine.sources.trees.split import VoxelLabel, tree_of
from lesionforge.engine.sources.trees.terms import IMAGECASX, RIGHT, SEGMENTS
from lesionforge.engine.sources.trees.vtk import PolyLines
from lesionforge.generators.types import BadCase, Branch, CoronaryTree, Side

LABEL = re.compile(r"(?:.*/)?segmentations/([^/]+)\.coronary\.nii(?:\.gz)?")
CENTRELINE = re.compile(r"(?:.*/)?centerlines/([^/]+)\.coronary_(left|right)_centerline\.vtk")
MAX_OFF_MM = 2.0  # median distance of a centreline from its own lumen's voxels: mirrored ones are centimetres away


class ImageCasX(FolderSource):
    """``segmentations/N.coronary.nii.gz``; ``centerlines/N.coronary_left_centerline.vtk`` where they are there.

    Sides are told by the segments, so that trees which touch are two all the same. The branches' segments are the set's
    own names (``SEGMENTS``). Images are read by ``ct:``, layout ``imagecasx``.
    """

    Options: ClassVar[type[LabelOptions]] = LabelOptions
    keeps = True
    licence = IMAGECASX

    def __init__(self, place: str, options: LabelOptions) -> None:
        super().__init__(place, options)
        files = Folder(place).walk()
        labels = {m[1]: file for file in files if (m := LABEL.fullmatch(file.name))}
        if len(labels) < sum(LABEL.fullmatch(file.name) is not None for file in files):
            raise SourceError("two label maps have one name (as in two copies of segmentations/): keep one")
        excluded = _excluded(files)
        names = sorted(labels.keys() - excluded, key=natural)
        if not names:
            raise SourceError(
                "no file is named like segmentations/12.coronary.nii.gz; give the folder that holds these"
            )
        lines = {(m[1], m[2]): file for file in files if (m := CENTRELINE.fullmatch(file.name))}
        self._found = [(labels[n], {s: lines[n, s] for s in options.sides if (n, s) in lines}) for n in names]
        found_in = [(n, side) for n in range(len(names)) for side in options.sides]
        order = self.by_subject([names[n] for n, _ in found_in], options.subject)
        self._wanted = [found_in[i] for i in order]  # label map and side of each case
        unused = {
            "label maps that exclude.txt names": [
                labels[n].path for n in sorted(labels.keys() & excluded, key=natural)
            ],
            "centrelines without a label map": [f.path for (n, _), f in lines.items() if n not in labels],
        }
        self.left_over = {why: paths for why, paths in unused.items() if paths}
        self._trees = lru_cache(maxsize=8)(self._load)

    def files(self) -> list[File]:
        """The label maps and their centrelines, once each, whatever the number of their trees."""
        return [file for label, lines in self._found for file in (label, *lines.values())]

    def case_files(self, case: int) -> Sequence[File]:
        """The label map and its centrelines."""
        label, lines = self._found[self._wanted[case][0]]
        return [label, *lines.values()]

    def read(self, case: int) -> CoronaryTree:
        """One tree of one label map."""
        found = self._trees(*self._wanted[case])
        if isinstance(found, str):
            raise BadCase(found)
        return replace(found, subject=self.subject_name(case))

    def _load(self, number: int, side: Side) -> CoronaryTree | str:
        """A tree, or the reason why there is none: either is worth remembering."""
        file, lines = self._found[number]
        try:
            label, marks = _marked(file)
            own = np.isin(marks, RIGHT) == (side == "right")
            if not own.any():
                raise BadCase(f"has no segment of the {side} tree")
            _check_sides(label, marks)
            part = VoxelLabel(label.voxels[own], label.affine)
            segments = [SEGMENTS[value] for value in np.unique(marks[own]).tolist()]
            notes = {"label_set": "ImageCAS-X", "segments": segments, **doubts_of(label.affine)}
            if side not in lines:
                return tree_of(part, "", IMAGECASX, side, notes | {"centreline": "is not there"})
            found = tree_of(part, "", IMAGECASX, side, notes)
            return replace(found, branches=_branches(PolyLines.read(lines[side].read()), part))
        except BadCase as error:
            return f"label {number + 1}: {error}"


def _excluded(files: Sequence[File]) -> set[str]:
    """The scans that the set's own list leaves out."""
    lists = [file for file in files if re.fullmatch(r"(?:.*/)?filelist/exclude\.txt", file.name)]
    try:
        return {word for file in lists for word in file.read().decode("utf-8", "replace").split()}
    except BadCase as error:
        raise SourceError(f"exclude.txt {error}") from None


def _marked(file: File) -> tuple[VoxelLabel, NDArray[np.uint8]]:
    """A label map's voxels and the value of each, from the cache or read anew."""

    def make() -> dict[str, NDArray[Any]]:
        voxels, marks, affine = read_marks(file)
        return {"voxels": voxels.astype(np.uint16), "marks": marks, "affine": affine}

    file.check()
    found = remembered(f"segments\n{file.path} {file.mark}", ("voxels", "marks", "affine"), make)
    if unknown := sorted(set(np.unique(found["marks"]).tolist()) - set(SEGMENTS)):
        count = np.count_nonzero(found["marks"] == unknown[0])
        raise BadCase(f"holds {unknown[0]} in {count} voxels; ImageCAS-X has segments 1 to {len(SEGMENTS)}")
    return VoxelLabel(found["voxels"].astype(np.int32), found["affine"]), found["marks"]


def _check_sides(label: VoxelLabel, marks: NDArray[np.uint8]) -> None:
    """Refuse a heart whose left tree lies to the right: its affine is another one's."""
    right = np.isin(marks, RIGHT)
    if right.any() and not right.all():
        x = label.world(label.voxels)[:, 0].astype(np.float64)
        if (gap := float(x[~right].mean() - x[right].mean())) <= 0:
            raise BadCase(f"its left tree lies {-gap:.1f} mm to the right of the right one: is the affine right?")


def _branches(lines: PolyLines, label: VoxelLabel) -> tuple[Branch, ...]:
    """The centreline from its ostia to its ends, a branch from fork to fork; radii by the label's surface.

    Raises:
        BadCase: for a centreline without an ostium, or beside its lumen: RAS for LPS, as a rule.
    """
    points, roots = lines.points, np.flatnonzero(lines.marks.get("start_points", np.zeros(0))).tolist()
    if not len(points) or not lines.lines or not roots:
        raise BadCase("its centreline has no line, or no point marked in start_points")
    far, _ = scipy.spatial.cKDTree(label.world(label.voxels)).query(points)
    if (off := float(np.median(far))) > MAX_OFF_MM:
        raise BadCase(f"its centreline lies {off:.1f} mm from its lumen: it is to be in LPS mm, the label map in RAS")
    radii = (
        scipy.spatial.cKDTree(label.world(_surface(label.voxels))).query(points)[0] + float(np.mean(label.voxel_mm)) / 2
    )
    names = [SEGMENTS.get(int(n), "") for n in lines.marks.get("segment_label", np.zeros(len(points), np.int64))]
    after = _outward(lines, roots)
    out: list[Branch] = []
    todo = [([root], -1) for root in roots]
    while todo:
        chain, parent = todo.pop(0)
        while len(after[chain[-1]]) == 1:
            chain.append(after[chain[-1]][0])
        number = parent
        if len(chain) > 1:
            number, segments = len(out), tuple(names[n] for n in chain)
            out.append(Branch(segments[-1], points[chain], radii[chain], segments, parent))
        todo += [([chain[-1], n], number) for n in after[chain[-1]]]
    return tuple(out)


def _outward(lines: PolyLines, roots: Sequence[int]) -> list[list[int]]:
    """The points that follow each point on the way from the nearest ostium; the file's lines run either way."""
    near: list[dict[int, None]] = [{} for _ in lines.points]
    for line in lines.lines:
        for a, b in zip(line[:-1].tolist(), line[1:].tolist(), strict=True):
            near[a][b] = near[b][a] = None
    after: list[list[int]] = [[] for _ in near]
    seen, todo = set(roots), list(roots)
    for here in todo:  # grows while it is walked through: breadth first
        after[here] = [n for n in near[here] if n not in seen]
        seen.update(after[here])
        todo += after[here]
    return after


def _surface(voxels: NDArray[np.int32]) -> NDArray[np.int32]:
    """The voxels that touch the outside by a face."""
    at = voxels - voxels.min(0) + 1
    box = np.zeros(at.max(0) + 2, bool)
    box[tuple(at.T)] = True
    inside = np.ones(len(at), bool)
    for axis, by in itertools.product(range(3), (-1, 1)):
        inside &= box[tuple(np.add(at, [by * (a == axis) for a in range(3)]).T)]
    return voxels[~inside]
