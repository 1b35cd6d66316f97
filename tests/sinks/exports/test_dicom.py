"""Runs as XA DICOM: what independent readers find in a file is what was in the shard."""

import json
import shutil
import subprocess

import gdcm
import numpy as np
import pydicom
import pytest
from PIL import Image

from lesionforge.engine.sources.xa.runs import DicomOptions, XaDicom
from lesionforge.sinks.exports import export_runs
from lesionforge.sinks.store import Store
from tests.sinks import cines, stenoses

STILL = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    here = tmp_path_factory.mktemp("runs")
    keys = cines.write(Store(str(here / "made")))
    return here / "dicom", keys, export_runs(here / "made", here / "dicom")


def files(made):
    return [(i, made[0] / "train" / f"{key}.dcm") for i, key in enumerate(made[1])]


def tool(name):
    return shutil.which(name) or pytest.skip(f"{name} is not installed: apt-get install dcmtk dicom3tools")


def test_pydicom_finds_frames_geometry_and_no_patient(made):
    for i, path in files(made):
        ds, told, frames = pydicom.dcmread(path), cines.meta(i), cines.frames(i)
        assert np.array_equal(ds.pixel_array.reshape(frames.shape), frames)
        assert (float(ds.PositionerPrimaryAngle), float(ds.PositionerSecondaryAngle)) == cines.VIEWS[i % 2][1:]
        assert (float(ds.DistanceSourceToDetector), float(ds.DistanceSourceToPatient)) == (1034.5, 744.8867774)
        assert [float(v) for v in ds.ImagerPixelSpacing] == told["view"]["pixel_mm"]
        assert ds.PatientID == told["subject"]
        assert ds.ImageType[:2] == ["DERIVED", "SECONDARY"]
        assert (ds.SyntheticData, ds.PatientIdentityRemoved, ds.BurnedInAnnotation) == ("YES", "YES", "NO")
        assert told["sample_id"] in ds.DerivationDescription
        assert not any(element.value for element in ds.iterall() if element.VR in ("DA", "TM", "DT"))
        if i != STILL:
            assert ds[ds.FrameIncrementPointer].keyword == "FrameTime"
            assert float(ds.FrameTime) == pytest.approx(1000 / told["fps"], abs=1e-9)
            assert ds.RepresentativeFrameNumber == 4  # of frames 3 and 4 counted from 0
        assert json.loads(path.with_suffix(".json").read_text()) == told
    assert made[2]["images"] == {"train": 4}
    assert made[2]["frames"] == {"train": sum(len(cines.frames(i)) for i in range(4))}


def test_our_own_source_reads_them_as_a_hospital_s_runs(made, tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path))
    source = XaDicom(str(made[0] / "train"), DicomOptions(frame=1))
    cases = [source.read(case) for case in range(4)]
    assert len({case.subject for case in cases}) == 2  # two runs of each of two patients
    for i in range(4):
        (case,) = [case for case in cases if np.array_equal(case.image, cines.frames(i)[0])]
        assert case.view_deg == cines.VIEWS[i % 2][1:]
        assert case.pixel_mm == pytest.approx(0.2787 * 744.8867774 / 1034.5, rel=1e-4)
        assert case.notes["frames"] == len(cines.frames(i))


def test_the_same_sample_gives_the_same_bytes_and_another_recipe_other_uids(made, tmp_path, monkeypatch):
    export_runs(made[0].parent / "made", tmp_path / "again")
    for _, path in files(made):
        assert (tmp_path / "again" / "train" / path.name).read_bytes() == path.read_bytes()
    sets = [pydicom.dcmread(path, stop_before_pixels=True) for _, path in files(made)]
    assert len({ds.SOPInstanceUID for ds in sets}) == len({ds.SeriesInstanceUID for ds in sets}) == 4
    assert len({(ds.PatientID, ds.StudyInstanceUID) for ds in sets}) == len({ds.PatientID for ds in sets}) == 2
    assert all(
        ds.SOPInstanceUID.is_valid and ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID for ds in sets
    )
    other = cines.meta
    monkeypatch.setattr(cines, "meta", lambda i, split: other(i, split) | {"recipe": "b" * 64})
    cines.write(Store(str(tmp_path / "other")))
    export_runs(tmp_path / "other", tmp_path / "moved")
    moved = [pydicom.dcmread(tmp_path / "moved" / "train" / path.name) for _, path in files(made)]
    assert not {ds.SOPInstanceUID for ds in sets} & {ds.SOPInstanceUID for ds in moved}


def test_gdcm_finds_the_same_pixels(made):
    for i, path in files(made):
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        image, frames = reader.GetImage(), cines.frames(i)
        shape = tuple(image.GetDimension(axis) for axis in range(image.GetNumberOfDimensions()))[::-1]
        assert shape == (frames.shape if i != STILL else frames.shape[1:])
        found = image.GetBuffer().encode("utf-8", errors="surrogateescape")
        assert found[: frames.size] == frames.tobytes()


def test_dcmtk_shows_every_frame_as_it_is(made, tmp_path):
    show, dump = tool("dcm2pnm"), tool("dcmdump")
    for i, path in files(made):
        subprocess.run([show, "+op", "+Wi", "1", "+Fa", path, tmp_path / f"{i}"], check=True, capture_output=True)
        shown = [np.asarray(Image.open(file)) for file in sorted(tmp_path.glob(f"{i}.*.pgm"))]
        assert np.array_equal(shown, cines.frames(i))
        told = subprocess.run([dump, "-q", path], check=True, capture_output=True, text=True).stdout
        assert f"[{cines.VIEWS[i % 2][1]}]" in told


def test_dicom3tools_finds_the_object_valid(made):
    check = tool("dciodvfy")
    for _, path in files(made):
        told = subprocess.run([check, path], check=False, capture_output=True, text=True).stderr
        assert "XAImage" in told
        errors = [line for line in told.splitlines() if line.startswith("Error") and "0x0008,0x001c" not in line]
        assert errors == []  # (0008,001C) Synthetic Data is younger than some of its releases


def test_itk_reads_a_run(made):
    itk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    for i, path in files(made):
        image = itk.ReadImage(str(path))
        assert np.array_equal(itk.GetArrayFromImage(image).reshape(cines.frames(i).shape), cines.frames(i))


def test_what_is_no_run_is_refused_in_words(tmp_path, monkeypatch):
    stenoses.write(Store(str(tmp_path / "stills")), 2)
    with pytest.raises(ValueError, match=r"json needs view .*KeyError: 'view'"):
        export_runs(tmp_path / "stills", tmp_path / "a")
    other = cines.meta
    monkeypatch.setattr(cines, "meta", lambda i, split: other(i, split) | {"fps": 0})
    cines.write(Store(str(tmp_path / "stopped")))
    with pytest.raises(ValueError, match=r"0.0 frames a second is no C-arm's"):
        export_runs(tmp_path / "stopped", tmp_path / "b")
