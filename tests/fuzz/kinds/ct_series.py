"""CT series in DICOM: slices that do not make a volume, DICOM segmentations and NRRD masks that do not fit them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.kinds import dicom, source
from tests.fuzz.kinds.dicom_file import BIG, EXPLICIT, IMPLICIT, RLE, Element, Writer, short, text
from tests.fuzz.mutate import Rng, number, some_bytes

told = source.told
COLS, ROWS, SLICES = 28, 24, 20
STEP = 2.0
BOMB = 2**27  # bytes that an NRRD mask unpacks to
Columns = tuple[float, float, float]


def anatomy() -> tuple[np.ndarray, np.ndarray]:
    """HU (slice, row, column) and the mask of a ball in it."""
    at = np.indices((SLICES, ROWS, COLS))
    ball = sum((a - c) ** 2 for a, c in zip(at, (10, 12, 14), strict=True)) <= 81
    hu = np.where(ball, 90, -90) + np.random.default_rng(0).normal(0, 8, ball.shape)
    hu[:, 0] = -1000
    return np.rint(hu), ball


def numbers(*values: Any) -> bytes:
    """A DS value."""
    return text("\\".join(str(v) for v in values))


def elements(place: tuple[float, ...], turn: tuple[float, ...]) -> list[Element]:
    """A sound slice, its pixels excepted."""
    return [
        (0x08, 0x08, b"CS", text("ORIGINAL\\PRIMARY\\AXIAL")),
        (0x08, 0x60, b"CS", b"CT"),
        (0x10, 0x10, b"PN", b"DOE^JANE"),
        (0x10, 0x20, b"LO", b"12345678"),
        (0x18, 0x1120, b"DS", b"0 "),
        (0x18, 0x1210, b"SH", b"B30f"),
        (0x20, 0x0E, b"UI", b"1.2.3\0"),
        (0x20, 0x32, b"DS", numbers(*place)),
        (0x20, 0x37, b"DS", numbers(*turn)),
        (0x20, 0x52, b"UI", b"1.2.3.9\0"),
        (0x28, 0x02, b"US", short(1)),
        (0x28, 0x04, b"CS", b"MONOCHROME2 "),
        (0x28, 0x10, b"US", short(ROWS)),
        (0x28, 0x11, b"US", short(COLS)),
        (0x28, 0x30, b"DS", numbers(STEP, STEP)),
        (0x28, 0x100, b"US", short(16)),
        (0x28, 0x101, b"US", short(16)),
        (0x28, 0x102, b"US", short(15)),
        (0x28, 0x103, b"US", short(1)),
        (0x28, 0x1052, b"DS", b"-1024 "),
        (0x28, 0x1053, b"DS", b"1 "),
    ]


def dicom_file(kept: list[Element], syntax: str, pixels: bytes, vr: bytes = b"OW") -> bytes:
    """A whole file."""
    writer, meta = Writer(syntax if syntax != RLE else EXPLICIT), Writer(EXPLICIT)
    body = b"".join(writer.element(*e) for e in sorted(kept, key=lambda e: e[:2]))
    body += writer.fragments([pixels], True) if syntax == RLE else writer.element(0x7FE0, 0x10, vr, pixels)
    head = meta.element(2, 0x10, b"UI", text(syntax).replace(b" ", b"\0"))
    return bytes(128) + b"DICM" + meta.element(2, 0, b"UL", len(head).to_bytes(4, "little")) + head + body


def stack(rng: Rng) -> list[tuple[float, ...]]:
    """Where the slices lie: evenly, or doubled, with gaps, uneven, shifted, or all in one place."""
    heights = [STEP * k for k in range(SLICES)]
    shift = 0.0
    if rng.chance(0.35):
        match rng.randrange(8):
            case 0:
                heights[rng.randrange(SLICES)] = heights[rng.randrange(SLICES)]
            case 1:
                del heights[rng.randrange(SLICES) : rng.choice((SLICES, 3, 6, 9))]
            case 2:
                heights[rng.randrange(SLICES)] += rng.choice((0.02, 0.5, -0.5, 1e6))
            case 3:
                heights = [0.0] * SLICES
            case 4:
                heights = heights[: rng.choice((0, 1, 2, 3))]
            case 5:
                heights += heights
            case 6:
                shift = rng.choice((0.001, 0.5, 1e9))
            case 7:
                heights[rng.randrange(SLICES)] = rng.choice((float("nan"), float("inf"), 1e300, -1e30))
    return [(-30.0 + shift * n, 20.0, z) for n, z in enumerate(heights)]


def change(rng: Rng, kept: list[Element]) -> None:
    """One fault that a slice of a CT can have."""
    key, choices = rng.choice(
        (
            ((0x18, 0x1120), (numbers(12.5), numbers("nan"), b"x ", numbers(1e300))),
            ((0x20, 0x32), (b"", numbers(1, 2), numbers(1, 2, "nan"), text("a\\b\\c"), numbers(1e300, 0, 0))),
            ((0x20, 0x37), (b"", numbers(0, 0, 0, 0, 0, 0), numbers(1, 0, 0, 1, 0, 0), numbers(2, 0, 0, 0, 2, 0),
                            numbers("inf", 0, 0, 0, 1, 0), numbers(1, 0, 0, 0, 0.995, 0.0998))),
            ((0x28, 0x30), (b"", numbers(0, 1), numbers(-1, 1), numbers(1e-30, 1e-30), numbers(1e30, 1), numbers(1))),
            ((0x28, 0x10), (short(0), short(1), short(25), short(65535), b"", short(ROWS) * 2)),
            ((0x28, 0x11), (short(0), short(1), short(4097), short(65535))),
            ((0x28, 0x100), (short(8), short(1), short(32), short(64), short(0))),
            ((0x28, 0x103), (short(0), short(7))),
            ((0x28, 0x1052), (b"", numbers("nan"), numbers(1e300), b"air ", numbers(0, 1), numbers("1e4000"))),
            ((0x28, 0x1053), (b"", numbers(0), numbers(1e300), numbers("inf"), numbers(-1), numbers(1e-300))),
            ((0x08, 0x60), (b"MR", b"", b"SEG ", b"CT\\MR ")),
            ((0x08, 0x08), (b"", text("DERIVED\\SECONDARY\\LOCALIZER"))),
            ((0x20, 0x0E), (b"", b"1.2.4\0", b"x" * 64)),
            ((0x28, 0x08), (numbers(0), numbers(2), numbers(10**9), b"x ")),
            ((0x28, 0x120), (short(0), short(1024), b"", b"\1")),
            ((0x28, 0x121), (short(0), short(2000), b"", b"\1")),
            ((0x28, 0x1054), (b"HU", b"US", b"OD", b"", b"HU\\OD ")),
            ((0x18, 0x88), (numbers(STEP / 2), numbers(-STEP), numbers(0), numbers("nan"), numbers(1e-300), b"x ")),
            ((0x20, 0x52), (b"", b"1.2.9\0")),
            ((0x18, 0x1210), (b"", b"B70f")),
            ((0x10, 0x20), (b"", b"other ", b"\xff\xfe")),
        )
    )  # fmt: skip
    vr = next(
        (e[2] for e in kept if e[:2] == key),
        b"US" if key[1] in (0x120, 0x121) else b"CS" if key[1] == 0x1054 else b"DS",
    )
    kept[:] = [e for e in kept if e[:2] != key]
    if rng.random() < 0.9:
        kept.append((*key, vr, rng.choice(choices)))


def build(rng: Rng, folder: Path) -> None:
    """A series with an NRRD mask, or a segmentation, or both, or none."""
    hu, ball = anatomy()
    turn = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    places = stack(rng)
    syntax = rng.pick(EXPLICIT, EXPLICIT, IMPLICIT, BIG)
    everywhere = rng.randrange(2**32) if rng.chance(0.25) else None  # the same fault in all slices
    for n, place in enumerate(places):
        kept = elements(place, turn)
        if everywhere is not None:
            change(Rng(f"all {everywhere}"), kept)
        if rng.chance(0.02):
            change(rng, kept)
        if rng.chance(0.01):
            dicom.spoil(rng, kept)
        pixels = (hu[n % SLICES] + 1024).astype(">i2" if syntax == BIG else "<i2").tobytes()
        if rng.chance(0.01):
            pixels = rng.choice((b"", pixels[:-2], pixels * 2, some_bytes(rng, pixels)))
        data = dicom_file(kept, RLE if rng.chance(0.01) else syntax, pixels)
        name = rng.pick("{:03}.dcm", "CT.1.2.840.{}", "E100S7I.{}", "{:03}", "{}.img", "{}.nrrd").format((7 * n) % 40)
        (folder / name).write_bytes(some_bytes(rng, data) if rng.chance(0.01) else data)
    source.odd_files(rng, folder, "000.dcm")
    if rng.sound or rng.random() < 0.6:
        (folder / rng.pick("liver.nrrd", "liver.nrrd", "kidney_seg.nrrd", "x.nrrd")).write_bytes(nrrd(rng, ball))
    if rng.chance(0.5):
        (folder / "seg.dcm").write_bytes(segmentation(rng, ball, turn))
    if rng.chance(0.1):
        (folder / "run.dcm").write_bytes(dicom.run_file(rng))


def nrrd(rng: Rng, ball: np.ndarray) -> bytes:
    """A mask as 3D Slicer writes it."""
    kind, encoding = rng.pick("uint8", "short", "float"), rng.pick("gzip", "raw")
    fields = {
        "type": kind,
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": f"{COLS} {ROWS} {SLICES}",
        "space directions": f"({STEP},0,0) (0,{STEP},0) (0,0,{STEP})",
        "endian": "little",
        "encoding": encoding,
        "space origin": "(-30,20,0)",
    }
    values = ball.transpose(2, 1, 0).ravel(order="F").astype({"uint8": "u1", "short": "<i2", "float": "<f4"}[kind])
    if rng.chance(0.1):
        values[rng.randrange(len(values))] = rng.choice((2, 3, 100))
    body = values.tobytes()
    if rng.chance(0.3):
        key = rng.choice(tuple(fields))
        sizes = ("0 1 1", "-1 -1 1", "1 2", "65536 65536 65536", "9" * 30, f"{COLS} {SLICES} {ROWS}", "1024 1024 128")
        bad = ("none none none", "(nan,0,0) (0,1,0) (0,0,1)", "(0,0,0) (0,0,0) (0,0,0)", "(1,1,0) (0,1,0) (0,0,1)")
        wrong = {"sizes": sizes, "space directions": bad}.get(
            key, ("", "x", "bzip2", "-1", "(inf,0,0)", str(number(rng)))
        )
        fields[key] = rng.choice(wrong)
    if rng.chance(0.05):
        fields.pop(rng.choice(tuple(fields)))
    packed = gzip.compress(body, 1, mtime=0) if encoding == "gzip" else body
    if rng.chance(0.03):
        packed = gzip.compress(bytes(BOMB), 6, mtime=0)
    head = "NRRD0004\n" + "".join(f"{key}: {value}\n" for key, value in fields.items())
    head += "# " + "x" * 70_000 + "\n" if rng.chance(0.02) else ""
    data = head.encode() + b"\n" + packed
    return some_bytes(rng, data) if rng.chance(0.1) else data


def segmentation(rng: Rng, ball: np.ndarray, turn: tuple[float, ...]) -> bytes:
    """A DICOM segmentation of the ball: a bit a pixel, a frame a slice."""
    where = [k for k in range(SLICES) if ball[k].any()]
    frames = [
        [
            (0x20, 0x9113, b"SQ", [[(0x20, 0x32, b"DS", numbers(-30.0, 20.0, STEP * k))]]),
            (0x62, 0x0A, b"SQ", [[(0x62, 0x0B, b"US", short(1))]]),
        ]
        for k in where
    ]
    shared = [
        (0x20, 0x9116, b"SQ", [[(0x20, 0x37, b"DS", numbers(*turn))]]),
        (0x28, 0x9110, b"SQ", [[(0x28, 0x30, b"DS", numbers(STEP, STEP))]]),
    ]
    kept: list[Element] = [
        (0x08, 0x60, b"CS", text("SEG")),
        (0x08, 0x1115, b"SQ", [[(0x20, 0x0E, b"UI", b"1.2.3\0")]]),
        (0x10, 0x20, b"LO", b"12345678"),
        (0x20, 0x52, b"UI", b"1.2.3.9\0"),
        (0x28, 0x02, b"US", short(1)),
        (0x28, 0x04, b"CS", b"MONOCHROME2 "),
        (0x28, 0x08, b"IS", text(str(len(where)))),
        (0x28, 0x10, b"US", short(ROWS)),
        (0x28, 0x11, b"US", short(COLS)),
        (0x28, 0x100, b"US", short(1)),
        (0x28, 0x101, b"US", short(1)),
        (0x28, 0x102, b"US", short(0)),
        (0x28, 0x103, b"US", short(0)),
        (0x62, 0x01, b"CS", text("BINARY")),
        (0x62, 0x02, b"SQ", [[(0x62, 0x04, b"US", short(1)), (0x62, 0x05, b"LO", text("Liver"))]]),
        (0x5200, 0x9229, b"SQ", [shared]),
        (0x5200, 0x9230, b"SQ", frames),
    ]
    if rng.chance(0.5):
        match rng.randrange(5):
            case 0:
                dicom.spoil(rng, kept)
            case 1:  # more frames or fewer than are placed
                kept[6] = (0x28, 0x08, b"IS", text(str(rng.choice((0, 1, -1, 10**9, len(where) + 1)))))
            case 2:  # a frame that lies elsewhere, or says nothing
                frame = frames[rng.randrange(len(frames))]
                value = rng.choice((numbers(-30, 20, 1e9), numbers(-30, 20, "nan"), numbers(0, 0, 0), b""))
                frame[0] = (0x20, 0x9113, b"SQ", [[(0x20, 0x32, b"DS", value)]] * rng.choice((0, 1)))
            case 3:
                shared[rng.randrange(2)] = rng.choice(shared)
            case 4:  # segments
                values = rng.choice(([], [[]], [[(0x62, 0x04, b"US", b"")]], [[(0x62, 0x04, b"US", short(7))]]))
                kept[14] = (0x62, 0x02, b"SQ", values)
    bits = np.packbits(ball[where].ravel(), bitorder="little").tobytes()
    if rng.chance(0.1):
        bits = rng.choice((b"", bits[:-2], bits * 3))
    return dicom_file(kept, EXPLICIT, bits + b"\0" * (len(bits) % 2), b"OB")


def run(rng: Rng, folder: Path) -> list[str]:
    """As ``ctdicom:``, with options that fit or do not."""
    options: dict[str, Any] = {"subject": rng.pick("patient", "series")}
    if rng.chance(0.15):
        options["oblique"] = "resample"
    if rng.chance(0.15):
        options["spacing_mm"] = [rng.choice((0.3, 1.0, 3.0, 20.0)) for _ in range(3)]
    if rng.chance(0.15):
        options |= {"region": rng.choice((["liver"], ["spleen"]))}
    if rng.chance(0.1):
        options["masks"] = rng.choice(({"*": "liver"}, {"[": "x"}, {"x*": ""}))
    return source.read(rng, folder, f"ctdicom:{folder}", "lesion", **options)
