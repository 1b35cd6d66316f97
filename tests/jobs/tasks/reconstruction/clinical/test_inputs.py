"""Masks and geometry as users have them are understood or refused in one line that says which and what to mend."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage

from lesionforge.generators.carm.view import View
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.reconstruction.clinical import inputs

PAPERS = {"sid": 1074, "sod": 749, "spacing": 2.5, "alpha": 39.2, "beta": -7.9}
SAID = {
    "DistanceSourceToDetector": 1074, "DistanceSourceToPatient": 749, "ImagerPixelSpacing": [2.5, 2.5],
    "PositionerPrimaryAngle": 39.2, "PositionerSecondaryAngle": -7.9,
}  # fmt: skip


def mask(folder: Path, name: str = "a.png", shape: tuple[int, int] = (64, 64), value: int = 255) -> Path:
    picture = np.zeros(shape, np.uint8)
    picture[20:30, 5:50] = value
    Image.fromarray(picture).save(folder / name)
    return folder / name


def run(folder: Path, **said: object) -> Path:
    """A DICOM file that says so much, of 64 x 64 pixels."""
    header = pydicom.Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = XRayAngiographicImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    header.Rows = header.Columns = 64
    header.PatientName = "Doe^Jane"
    for key, value in said.items():
        setattr(header, key, value)
    out = io.BytesIO()
    header.save_as(out, enforce_file_format=True)
    (folder / "Doe_Jane.dcm").write_bytes(out.getvalue())
    return folder / "Doe_Jane.dcm"


def written(folder: Path, record: object, name: str = "g.json") -> str:
    (folder / name).write_text(json.dumps(record))
    return str(folder / name)


def test_one_view_in_four_ways(tmp_path: Path) -> None:
    """The paper's names, DICOM tags, our own record, and the run itself."""
    expected = View(1074, 749, 39.2, -7.9, 64, 64, (2.5, 2.5))
    tags = {
        "(0018,1110)": 1074,
        "(0018,1111)": "749",
        "0018,1164": [2.5, 2.5],
        "00181510": 39.2,
        "(0018,1511)": -7.9,
    }
    ways = [written(tmp_path, record, f"{n}.json") for n, record in enumerate((PAPERS, tags, expected.to_json()))]
    found = [inputs.read([mask(tmp_path)] * 2, ["RAO 30", way])[1] for way in (*ways, str(run(tmp_path, **SAID)))]
    assert [one.view for one in found] == [expected] * 4
    assert not any(one.assumed for one in found)
    assert found[0].shadow.sum() == 450
    assert set(np.unique(found[0].shadow)) == {0, 1}


def test_what_is_assumed_of_angles_alone_is_said(tmp_path: Path) -> None:
    one, _ = inputs.read([mask(tmp_path)] * 2, ["LAO 30 CRA 20", "spider"])
    assert (one.view.primary_deg, one.view.secondary_deg) == (30, 20)
    assert f"SID {one.view.sid_mm:g}" in one.assumed
    assert f"{one.view.pixel_mm[0]:.3f} mm" in one.assumed
    assert one.view.pixel_mm[0] * 64 == pytest.approx(inputs.FIELD_MM)


def test_vessels_of_class_numbers(tmp_path: Path) -> None:
    path = mask(tmp_path)
    picture = np.asarray(Image.open(path)).copy()
    picture[40:44] = 127
    Image.fromarray(picture).save(path)
    found = inputs.read([path] * 2, ["LAO 30", "RAO 30"], (127,))
    assert found[0].shadow.sum() == 4 * 64
    with pytest.raises(UsageError, match=r"mask 1 holds .* in --vessel-values"):
        inputs.read([path] * 2, ["LAO 30", "RAO 30"])


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({**PAPERS, "sid": "far"}, "sid_mm is 'far': give a number"),
        ({k: v for k, v in PAPERS.items() if k != "sod"}, "sod_mm is missing: say it once, as sod or (0018,1111)"),
        ({**PAPERS, "SID": 1}, "sid"),
        ({**PAPERS, "sod": 1100}, "swapped"),
        ({**PAPERS, "angle": 3}, "angle is unknown"),
        ({**PAPERS, "rows": 512, "cols": 512}, "512 x 512 pixels, mask 2 has 64 x 64"),
        ({**PAPERS, "rows": None}, "rows is None: give a number"),
        ({**PAPERS, "alpha": float("nan")}, "primary_deg is nan: give a number"),
        ({**PAPERS, "spacing": [1, 2, 3]}, "pixel_mm is [1, 2, 3]: give a number, or [row, column]"),
        ({**PAPERS, "sid": 107.4, "sod": 74.9}, "sod_mm is 74.9, too near for a patient: give mm"),
        ({**PAPERS, "spacing": 0.0308}, "1.97 mm on the detector: give mm"),
        ([1], "no JSON object"),
    ],
)
def test_wrong_geometry_is_named(tmp_path: Path, record: object, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        inputs.read([mask(tmp_path)] * 2, ["AP", written(tmp_path, record)])
    assert said in str(caught.value)
    assert "--geometry 2" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_runs_that_do_not_tell_their_view_are_refused_without_a_name(tmp_path: Path) -> None:
    two = [mask(tmp_path)] * 2
    without = {key: value for key, value in SAID.items() if key != "ImagerPixelSpacing"}
    for said, words in (
        (without, "ImagerPixelSpacing"),
        ({**SAID, "PositionerPrimaryAngleIncrement": [1.0, 1.0]}, "moves"),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            inputs.read(two, ["AP", str(run(tmp_path, **said))])
        assert "Doe" not in str(caught.value)
    with pytest.raises(UsageError, match="mask 1 is a DICOM run") as caught:
        inputs.read([run(tmp_path, **SAID), two[0]], ["AP", "RAO 20"])
    assert "Doe" not in str(caught.value)


def test_masks_that_will_not_do(tmp_path: Path) -> None:
    good = mask(tmp_path)
    for masks, geometry, said in (
        ([good], ["AP"], "1 masks"),
        ([good] * 2, ["AP"], "give one for each"),
        ([good, tmp_path / "none.png"], ["AP", "RAO 30"], "mask 2 cannot be read"),
        ([good, mask(tmp_path, "b.png", (64, 80))], ["AP", "RAO 30"], "64 x 64, 64 x 80"),
        ([good] * 2, ["AP", "sideways"], "neither a file nor a view's name"),
        ([good] * 2, ["AP", "RAO 400"], r"--geometry 2: angles -400.0/0.0 deg: primary is within"),
        ([good] * 2, ["LAO 30", "LAO 33"], "--geometry 2 is within 5 degrees"),
    ):
        with pytest.raises(UsageError, match=said):
            inputs.read(masks, geometry)
