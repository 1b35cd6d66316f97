"""CT volumes with label maps in NIfTI: headers, voxels, and label maps that do not go with their image."""

from __future__ import annotations

import gzip
import io
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.kinds import nifti, source
from tests.fuzz.mutate import Rng, number, plain, some_bytes

told = source.told
SHAPE, SPACING = (32, 28, 24), 2.0
INT16, UINT8, FLOAT32, FLOAT64 = 4, 2, 16, 64
KIND = {INT16: np.dtype(np.int16), UINT8: np.dtype(np.uint8), FLOAT32: np.dtype("f4"), FLOAT64: np.dtype("f8")}
ORGANS = ("liver", "kidney_left", "pancreas", "spleen")
LAYOUTS = ("pair", "totalsegmentator", "lits", "kits", "msd", "imagecas", "imagecasx")
NAMES = ("cancer", "HCC", "kidney cyst", "spleen", "x", "_", "metastasis of liver and kidney", "\x1b[31m", "")
CHANNELS = ("CT", "CTA", "noNorm", "PET/CT", "", "\x1b[31m", "x" * 99)


def anatomy() -> tuple[np.ndarray, np.ndarray]:
    """HU and labels: two bright balls with noise in fat."""
    rng = np.random.default_rng(0)
    at = np.indices(SHAPE)
    labels = np.zeros(SHAPE, np.uint8)
    for value, centre, radius in ((1, (11, 14, 12), 9), (2, (25, 14, 12), 5)):
        labels[sum((a - c) ** 2 for a, c in zip(at, centre, strict=True)) <= radius**2] = value
    hu = np.where(labels > 0, 90, -90) + rng.normal(0, 8, SHAPE)
    hu[:, 0] = -1000
    return np.rint(hu).astype(np.int16), labels


def file(
    array: np.ndarray, order: str = "<", kind: int = INT16, rows: tuple[float, ...] | None = None, **fields: Any
) -> bytes:
    """A NIfTI-1 file; ``rows`` are the affine's three."""
    head = bytearray(352)
    s = SPACING
    nifti.write(head, order, "sizeof_hdr", 348)
    nifti.write(head, order, "dim", 3, *array.shape, 1, 1, 1, 1)
    nifti.write(head, order, "datatype", kind)
    nifti.write(head, order, "bitpix", 8 * KIND[kind].itemsize)
    nifti.write(head, order, "pixdim", 1.0, s, s, s, 0, 0, 0, 0)
    nifti.write(head, order, "vox_offset", 352.0)
    nifti.write(head, order, "scl_slope", 1.0)
    nifti.write(head, order, "sform_code", 1)
    nifti.write(head, order, "srow", *(rows or (-s, 0, 0, 30, 0, -s, 0, 25, 0, 0, s, -20)))
    nifti.write(head, order, "magic", b"n+1\0")
    with np.errstate(all="ignore"):
        for name, values in fields.items():
            nifti.write(head, order, name, *values)
        body = array.astype(KIND[kind].newbyteorder(order)).tobytes(order="F")
    return bytes(head) + body


def place(rng: Rng) -> tuple[float, ...]:
    """An affine that turns, mirrors, shears, moves, stretches, flattens or is none."""
    s, rows = SPACING, np.array([[-SPACING, 0, 0, 30], [0, -SPACING, 0, 25], [0, 0, SPACING, -20]])
    match rng.randrange(8):
        case 0:  # mirrored and turned: sound
            rows = rows[:, [*rng.sample(range(3), 3), 3]] * rng.choice((1, -1))
        case 1:
            rows[rng.randrange(3), rng.randrange(4)] = rng.choice((np.nan, np.inf, -np.inf, 1e30, 1e-30))
        case 2:  # oblique
            angle = rng.choice((0.001, 0.02, 0.5, np.pi / 4))
            rows[:2, :2] = s * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        case 3:  # sheared
            rows[rng.randrange(2), 2] = rng.choice((0.001, 0.3, 5.0, 1e6))
        case 4:  # flat
            rows[:, rng.randrange(3)] = 0
        case 5:  # spacings
            rows[:, rng.randrange(3)] *= rng.choice((1e-4, 0.01, -1, 20, 1e4))
        case 6:  # far away
            rows[rng.randrange(3), 3] = rng.choice((1e5, 1e7, -1e30))
        case 7:
            rows = np.array([[rng.uniform(-3, 3) for _ in range(4)] for _ in range(3)])
    return tuple(float(v) for v in rows.ravel())


def image(rng: Rng, hu: np.ndarray) -> bytes:
    """An image, sound or with a fault that only images have."""
    kind, fields, array = rng.pick(INT16, INT16, FLOAT32, FLOAT64), {}, hu.astype(np.float64)
    if rng.chance(0.3):
        fields["scl_slope"] = (rng.choice((0, 2, -1, 1e-9, 1e30, np.nan, np.inf)),)
        fields["scl_inter"] = (rng.choice((0, -1024, 1e30, np.nan, -np.inf)),)
    if rng.chance(0.2):
        match rng.randrange(4):
            case 0:  # normalised
                array = (array + 1000) / 1100
            case 1:
                array[tuple(rng.randrange(n) for n in SHAPE)] = rng.choice((np.nan, np.inf, 1e300, -1e9))
            case 2:
                array[:] = rng.choice((0, -1000, 3000))
            case 3:
                array = array[:, :, : rng.choice((1, 2, 23))]
    return file(array, rng.pick("<", "<", ">"), kind, place(rng) if rng.chance(0.35) else None, **fields)


def label(rng: Rng, labels: np.ndarray) -> bytes:
    """A label map, sound or one that does not go with its image."""
    array, kind, rows, fields = labels.astype(np.float64), rng.pick(UINT8, UINT8, INT16, FLOAT32), None, {}
    if rng.chance(0.5):
        match rng.randrange(9):
            case 7:  # a value that nobody names
                array[labels == 2] = rng.choice((3, 14, 15, 255))
            case 8:  # nearly whole numbers
                array, kind = array - rng.choice((1e-7, 5e-4, 2e-3)), FLOAT32
            case 0:  # another grid
                array = array[tuple(slice(rng.randrange(3), None, rng.choice((1, 2))) for _ in range(3))]
            case 1:
                rows = place(rng)
            case 2:
                array[array > 0] = rng.choice((0, 0.5, 255, 256, -1, 1e9, np.nan))
            case 3:
                array[:] = rng.choice((0, 1, 7))
            case 4:  # scattered
                array = np.random.default_rng(rng.randrange(2**32)).integers(0, rng.choice((2, 9)), SHAPE)
            case 5:
                fields = {"scl_slope": (rng.choice((2, 0.5, np.nan)),)}
            case 6:  # touches every border
                array[0], array[-1], array[:, :, 0] = 1, 2, 1
    return file(array, rng.pick("<", "<", ">"), kind, rows, **fields)


def build(rng: Rng, folder: Path) -> None:
    """One volume or two, laid out as one of the published sets."""
    layout = rng.pick(*LAYOUTS)
    hu, labels = anatomy()
    swollen, honest = rng.chance(0.02), rng.pick(1, 0, 1)
    for n in range(rng.pick(1, 1, 1, 2)):
        above, n = (f"site{n}/", 0) if rng.chance(0.2) and layout != "msd" else ("", n)  # numbers that begin anew
        for name, data in named(rng, layout, n, hu, labels):
            name = above + name
            if not rng.sound and rng.random() < 0.3:
                data = nifti.spoil(rng, data, "<")
            if swollen or rng.chance(0.005):
                data = bomb(UINT8 if "seg" in name or "label" in name else INT16, honest)
                name = name.removesuffix(".gz") + ".gz"
            elif name.endswith(".gz"):
                data = gzip.compress(data, 1, mtime=0)
                data = some_bytes(rng, data) if rng.chance(0.05) else data
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not rng.chance(0.03):  # it is missing
                path.write_bytes(data)
                source.odd_files(rng, folder, name)
    if layout == "msd":
        index: Any = {"labels": {"0": "background", "1": "liver", "2": rng.pick(*NAMES)}, "modality": {"0": "CT"}}
        if rng.chance(0.2):
            index = {"labels": {"background": 0, "liver": 1, rng.pick(*NAMES): 2}, "channel_names": {"0": "CT"}}
            index["channel_names"]["0"] = rng.choice(CHANNELS)
        index = plain(rng, index, 2) if rng.chance(0.3) else index
        (folder / "dataset.json").write_text(json.dumps(index))
    (folder / "layout").write_text(layout)


def named(rng: Rng, layout: str, n: int, hu: np.ndarray, labels: np.ndarray) -> list[tuple[str, bytes]]:
    """Names and contents of a volume's files."""
    end = ".nii" + rng.pick("", ".gz", ".gz")
    if layout == "totalsegmentator":
        masks = [
            (f"s{n}/segmentations/{name}{end}", label(rng, labels == value)) for value, name in enumerate(ORGANS, 1)
        ]
        return [(f"s{n}/ct{end}", image(rng, hu)), *masks[: rng.pick(2, 1, 4)]]
    names = {
        "pair": (f"images/case{n}{end}", f"labels/case{n}{end}"),
        "lits": (f"volume-{n}{end}", f"segmentation-{n}{end}"),
        "kits": (f"case_{n:05}/imaging{end}", f"case_{n:05}/segmentation{end}"),
        "msd": (f"imagesTr/liver_{n}{end}", f"labelsTr/liver_{n}{end}"),
        "imagecas": (f"{n}.img{end}", f"{n}.label{end}"),
        "imagecasx": (f"volumes/{n}.img{end}", f"segmentations/{n}.coronary{end}"),
    }[layout]
    return [(names[0], image(rng, hu)), (names[1], label(rng, labels))]


@lru_cache(maxsize=4)
def bomb(kind: int, honest: int) -> bytes:
    """Zeros in a small file: 2^29 voxels that may not be read, or 2^26 that may."""
    shape = (512, 512, 256) if honest else (2048, 2048, 128)
    head = file(np.zeros((1, 1, 1)), kind=kind, dim=(3, *shape, 1, 1, 1, 1))[:352]
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6, mtime=0) as packed:
        packed.write(head)
        for _ in range(shape[0] * shape[1] * shape[2] * KIND[kind].itemsize >> 20):
            packed.write(bytes(2**20))
    return out.getvalue()


def run(rng: Rng, folder: Path) -> list[str]:
    """As ``ct:``, with options that fit or do not."""
    layout = (folder / "layout").read_text()
    options: dict[str, Any] = {"legend": {1: "liver", 2: "kidney"}} if layout == "pair" else {}
    if rng.chance(0.2):
        options["layout"] = rng.choice(("auto", layout, *LAYOUTS))
    if rng.chance(0.2):
        options["oblique"] = "resample"
    if rng.chance(0.15):
        spacing = [rng.choice((0.3, 1.0, 3.0, 20.0, number(rng, 1.0))) for _ in range(3)]
        options |= {"spacing_mm": spacing, "interpolation": rng.choice(("linear", "cubic"))}
    if rng.chance(0.15):
        options |= {"region": rng.choice((["liver"], ["spleen"], ["kidney", "x"])), "margin_mm": rng.choice((0, 1000))}
    if rng.chance(0.1):
        options["modality"] = "ct"
        options["labels"] = rng.choice((["liver"], ["nothing"], []))
    return source.read(rng, folder, f"ct:{folder}", "lesion", **options)
