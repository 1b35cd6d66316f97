"""ImageCAS-X: label maps of segments, and centrelines in VTK's legacy files whose counts, links and numbers lie."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tests.engine.sources.test_imagecasx import left_lines, vtk
from tests.fuzz.kinds import ct_volumes, nifti, source
from tests.fuzz.mutate import Rng, some_bytes

told = source.told
SHAPE = (60, 30, 25)
COUNTS = (b"0", b"-1", b"1", b"24", b"26", b"99999999", b"9" * 40, b"x", b"")
WORDS = (b"float", b"double", b"string", b"quark", b"int", b"POLYDATA", b"UNSTRUCTURED_GRID", b"METADATA", b"FIELD x 9")


def segments(rng: Rng) -> np.ndarray:
    """The lumen of the test's trees, every second voxel along each axis."""
    out = np.zeros(SHAPE, np.uint8)
    out[40:43, 10:13, 5:25], out[20:23, 10:13, 5:10], out[20:23, 10:13, 10:25], out[5:20, 10:13, 9:11] = 9, 1, 2, 3
    if rng.chance(0.2):
        out[out == rng.choice((1, 2, 9))] = rng.choice((0, 14, 15, 255))
    return out


def centreline(rng: Rng) -> bytes:
    """A file as VTK writes it, or one with a fault."""
    points, cells, labels, starts = left_lines()
    if rng.chance(0.2):
        points = points * rng.choice((-1.0, np.nan, 1e300, 0.0))
    if rng.chance(0.2):
        cells = rng.choice(([], [[0]], [[0, 0]], [[0, 999]], [[-1, 0]], [[*range(25), 0]], [[5, 5, 5, 6]]))
    if rng.chance(0.1):
        starts = rng.choice(([0] * 25, [1] * 25, [0] * 24 + [1]))
    with np.errstate(over="ignore"):
        data = vtk(points, cells, labels, starts, rng.pick(True, False), rng.pick("5.1", "3.0"))
    if rng.chance(0.3):
        found = list(re.finditer(rb"(?<= )\d+(?=[ \n])", data[:400]))
        data = (
            some_bytes(rng, data) if not found or rng.chance(0.3) else _put(data, rng.choice(found), rng.choice(COUNTS))
        )
    if rng.chance(0.2):
        data = data.replace(rng.choice(WORDS), rng.choice(WORDS), 1)
    return data[: rng.randrange(len(data))] if rng.chance(0.1) and data else data


def _put(data: bytes, match: re.Match[bytes], value: bytes) -> bytes:
    return data[: match.start()] + value + data[match.end() :]


def build(rng: Rng, folder: Path) -> None:
    """One scan or two."""
    s = 1.0
    rows = (s, 0, 0, 0, 0, s, 0, 0, 0, 0, 1.5, 0)
    for n in range(rng.pick(1, 1, 2)):
        data = ct_volumes.file(segments(rng), kind=ct_volumes.UINT8, rows=rows, pixdim=(1.0, s, s, 1.5, 0, 0, 0, 0))
        if not rng.sound and rng.random() < 0.3:
            data = nifti.spoil(rng, data, "<")
        for sub in ("segmentations", "centerlines"):
            (folder / sub).mkdir(exist_ok=True)
        (folder / "segmentations" / f"{n}.coronary.nii").write_bytes(data)
        for side in rng.pick(("left",), ("left", "right"), ()):
            (folder / "centerlines" / f"{n}.coronary_{side}_centerline.vtk").write_bytes(centreline(rng))


def run(rng: Rng, folder: Path) -> list[str]:
    """As ``imagecasx:``."""
    sides = {} if rng.pick(True, True, False) else {"sides": ["left"]}
    return source.read(rng, folder, f"imagecasx:{folder}", "biplane", **sides)
