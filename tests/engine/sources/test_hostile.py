"""What the fuzz campaign found in sources: bombs, absurd sizes and tricks each end in a reason, and take no room."""

import gzip
import json
import os
import re
import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.recipe_yaml import parse
from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.folder import Folder
from lesionforge.engine.sources.pictures import polygons
from lesionforge.engine.sources.pictures.arcade import Arcade, ArcadeOptions
from lesionforge.engine.sources.pictures.box_text import read_voc
from lesionforge.engine.sources.pictures.boxes import Voc, VocOptions
from lesionforge.engine.sources.pictures.masks import Masks, MasksOptions
from lesionforge.engine.sources.pictures.picture import MAX_PIXELS, decode
from lesionforge.engine.sources.trees.labels import LabelOptions, Nifti
from lesionforge.engine.sources.xa.codestream import claim
from lesionforge.engine.sources.xa.runs import DicomOptions, XaDicom
from lesionforge.generators.types import BadCase
from tests.fuzz.kinds import dicom_file as runs
from tests.fuzz.kinds import gzips, nifti, pictures
from tests.fuzz.kinds.boxes import LAUGHS
from tests.fuzz.kinds.dicom import deflated
from tests.fuzz.mutate import Rng

SOUND = Rng("sound/-1")


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", "")


def reason(call, *arguments):
    with pytest.raises(BadCase) as error:
        call(*arguments)
    return str(error.value)


# NIfTI


def label(tmp_path, data=None, name="1.nii", **fields):
    head = bytearray(data or nifti.label(SOUND))
    for field, values in fields.items():
        nifti.write(head, "<", field, *values)
    (tmp_path / name).write_bytes(head)
    return reason(Nifti(str(tmp_path), LabelOptions()).read, 0)


def test_the_sound_label_is_read(tmp_path):
    (tmp_path / "1.nii").write_bytes(nifti.label(SOUND))
    assert Nifti(str(tmp_path), LabelOptions()).read(0).side == "left"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dim": (3, 4096, 4096, 4096, 1, 1, 1, 1)}, "at most 1073741824 are read"),
        ({"dim": (3, 32767, 2, 2, 1, 1, 1, 1)}, "4096 voxels an edge"),
        ({"srow": (1e30, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)}, "0.01 to 20 mm are read"),
        ({"srow": (1, 0, 0, 1e9, 0, 1, 0, 0, 0, 0, 1, 0)}, "1e\\+09 mm away"),
        ({"srow": (float("nan"), 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)}, "not finite"),
        ({"vox_offset": (2**30,)}, "voxels begin at byte"),
    ],
)
def test_absurd_headers_are_reasons(tmp_path, fields, said):
    assert re.search(said, label(tmp_path, **fields))


def test_a_label_without_end_is_given_up(tmp_path):
    said = label(tmp_path, gzips.bomb(1, 1), "1.nii.gz")
    assert "labels more than 4194304 voxels" in said


def test_a_label_that_spreads_over_the_whole_volume_is_given_up(tmp_path):
    data = bytearray(nifti.label(SOUND)[:352])
    nifti.write(data, "<", "dim", 3, 600, 600, 600, 1, 1, 1, 1)
    voxels = bytearray(600**3)
    voxels[0] = voxels[-1] = 1
    (tmp_path / "1.nii.gz").write_bytes(gzip.compress(bytes(data) + bytes(voxels), 1))
    assert "spreads over 600 x 600 x 600" in reason(Nifti(str(tmp_path), LabelOptions()).read, 0)


# Pictures


def test_a_picture_larger_than_any_angiogram_is_not_unpacked():
    assert f"at most {MAX_PIXELS} in all" in reason(decode, pictures.bomb(8192, 8192, 0))


@pytest.mark.parametrize("data", [data for data in pictures.FOREIGN if data[:2] != b"P6"])
def test_no_other_reader_of_pillow_s_is_asked(data, monkeypatch):
    """One of them starts Ghostscript."""
    monkeypatch.setattr("subprocess.Popen", None)
    assert "readable picture" in reason(decode, data) or "pixels" in reason(decode, data)


# Boxes and polygons


@pytest.mark.parametrize("code", ["utf-8", "utf-16", "utf-8-sig"])
def test_entities_are_refused_in_every_encoding(code):
    text = LAUGHS.removeprefix('<?xml version="1.0"?>')
    assert "declares XML entities" in reason(read_voc, text.encode(code), (48, 48))


def test_an_infinite_size_is_a_reason():
    data = b"<annotation><size><width>inf</width><height>1e999</height></size></annotation>"
    assert "no Pascal VOC file" in reason(read_voc, data, (48, 48))


def test_a_coordinate_of_hundreds_of_digits_is_a_reason():
    assert "no list of x, y pairs" in reason(polygons.outline, [[10**400, 1, 2, 3, 4, 5]])


def test_a_polygon_is_drawn_the_same_in_pieces(monkeypatch):
    points = np.random.default_rng(0).uniform(-20, 120, (300, 2))
    whole = polygons.rasterise(points, (100, 90))
    monkeypatch.setattr(polygons, "CROSSINGS", 1000)
    assert np.array_equal(polygons.rasterise(points, (100, 90)), whole)
    assert 0.2 < whole.mean() < 0.8


@pytest.mark.parametrize("text", ["[" * 100_000, '{"categories": [{"id": 1e999, "name": "a"}], "images": []}'])
def test_annotations_that_no_parser_likes_are_named(tmp_path, text):
    place = tmp_path / "stenosis" / "train" / "annotations"
    place.mkdir(parents=True)
    (place / "train.json").write_text(text)
    with pytest.raises(SourceError, match=r"stenosis/train/annotations/train\.json is no COCO"):
        Arcade(str(tmp_path), ArcadeOptions())


# Files


def masks(tmp_path):
    Image.fromarray(np.arange(48 * 48, dtype=np.uint16).reshape(48, 48).astype(np.uint8)).save(tmp_path / "1.png")
    (tmp_path / "1_gt.png").write_bytes(pictures.picture(SOUND, "png", mask=True))
    return Masks(str(tmp_path), MasksOptions())


def test_a_file_of_64_gib_is_not_read(tmp_path):
    masks(tmp_path)
    with (tmp_path / "1.png").open("wb") as file:
        file.truncate(2**36)
    assert "at most 1073741824 are read" in reason(Masks(str(tmp_path), MasksOptions()).read, 0)


def test_a_file_too_large_to_be_read_is_not_hashed_either(tmp_path):
    (tmp_path / "a.png").write_bytes(pictures.picture(SOUND, "png"))
    with (tmp_path / "a.xml").open("wb") as file:
        file.truncate(2**36)
    source = Voc(str(tmp_path), VocOptions())
    assert source.fingerprint()
    assert "at most 1073741824 are read" in reason(source.read, 0)


def test_names_that_are_no_text_have_a_fingerprint(tmp_path):
    before = masks(tmp_path).fingerprint()
    for name in ("\udcff\udc80.png", "\udcff\udc80_gt.png"):
        (tmp_path / name).write_bytes(pictures.picture(SOUND, "png", mask=True))
    assert Masks(str(tmp_path), MasksOptions()).fingerprint() != before


def test_a_pipe_is_no_run(tmp_path):
    os.mkfifo(tmp_path / "1.dcm")
    with pytest.raises(SourceError, match="no DICOM file"):
        XaDicom(str(tmp_path), DicomOptions())


@pytest.mark.parametrize("place", ["abc://x", "nowhere::x", "zip://a::b", "github://", "a\0b", "https://"])
def test_places_that_no_file_system_knows_are_source_errors(place):
    with pytest.raises(SourceError):
        Folder(place)


# DICOM


def run_of(tmp_path, syntax, pieces=(), **short):
    kept = [
        (g, n, v, runs.short(short[k]) if (k := f"x{n:x}") in short and g == 0x28 else x)
        for g, n, v, x in runs.elements()
    ]
    writer = runs.Writer(syntax)
    body = b"".join(writer.element(*e) for e in kept)
    body += writer.fragments(list(pieces), True) if pieces else writer.element(0x7FE0, 0x10, b"OW", bytes(64 * 64 * 3))
    if syntax == runs.DEFLATED:
        body = deflated(SOUND, body)
    meta = runs.Writer(ExplicitVRLittleEndian)
    head = meta.element(2, 0x10, b"UI", runs.text(syntax).replace(b" ", b"\0"))
    data = bytes(128) + b"DICM" + meta.element(2, 0, b"UL", len(head).to_bytes(4, "little")) + head + body
    (tmp_path / "1.dcm").write_bytes(data)
    return reason(XaDicom(str(tmp_path), DicomOptions()).read, 0)


def test_a_deflated_data_set_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(zlib, "decompress", None)
    assert "is deflated" in run_of(tmp_path, runs.DEFLATED)
    assert "is deflated" in reason(dicom.patient, (tmp_path / "1.dcm").read_bytes())


def test_a_run_that_unpacks_to_gigabytes_is_refused(tmp_path):
    pieces = [bytes(1000)] * 3
    assert "no run unpacks to so much" in run_of(tmp_path, runs.JLS, pieces, x10=4096, x11=4096)


@pytest.mark.parametrize("syntax", [runs.LOSSLESS, runs.JLS])
def test_a_frame_of_another_size_reaches_no_decoder(tmp_path, syntax, monkeypatch):
    pieces = list(runs.coded(syntax))
    at = 2 + pieces[0][2:].index(b"\xff") + 5
    pieces[0] = pieces[0][:at] + (65500).to_bytes(2, "big") + pieces[0][at + 2 :]
    monkeypatch.setattr(pydicom.pixels.decoders.gdcm, "_decode_frame", None)
    assert "64 x 65500 of 1 x 8 bits" in run_of(tmp_path, syntax, pieces)


def test_seven_bits_of_eight_reach_no_decoder(tmp_path):
    assert "7 bits stored in 8" in run_of(tmp_path, runs.LOSSLESS, runs.coded(runs.LOSSLESS), x101=7)


def test_sound_streams_say_what_they_are():
    for syntax in (runs.LOSSLESS, runs.JLS, runs.JPEG, runs.J2K):
        assert claim(runs.coded(syntax)[0]) == (64, 64, 1, 8)


def test_damaged_tables_and_scans_reach_no_decoder():
    """With these GDCM ends the process."""
    sound = runs.coded(runs.LOSSLESS)[0]
    table = sound.index(b"\xff\xc4")
    for broken in (
        sound[: table + 12] + b"\0" + sound[table + 12 :],  # a byte too many: the next segment is not where it should
        sound[: table + 5] + b"\xff" * 4 + sound[table + 9 :],  # more codes than fit
        sound[:-300] + b"\xff\xc3" + sound[-300:],  # another frame in the middle of the scan
        sound[:-300],
        sound[:10],
        b"",
        b"\xff\xd8" * 40,
    ):
        assert "a frame of its pixels" in reason(claim, broken)


def test_a_plugin_that_is_none_is_refused():
    recipe = {"name": "a", "seed": 1, "sources": [{"uri": "phantom:coronary"}], "generator": {"name": "os.system"}}
    with pytest.raises(Exception, match=r"'os\.system' is no generator: it is a"):
        Pipeline(parse(json.dumps(recipe)))
