"""Runs as they lie on a disk: what is known of them, and why the rest is not."""

import numpy as np
import pytest
from PIL import Image

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.reading.opened import one_patient, opened
from tests.engine.sources.angio_runs import frames as real_frames
from tests.engine.sources.angio_runs import wrapped
from tests.engine.sources.test_xa import SECRET, frames, write


def test_a_file_tells_its_frames_pace_and_place(tmp_path):
    found = opened(write(tmp_path / "a.dcm", pixels=frames(4), FrameTime="76.9230769230769"), "run 1")
    assert all(np.array_equal(found.run.film[n], frames(4)[n]) for n in range(4))
    assert (found.fps, found.run.angles) == (13.0, (-30.5, 20.0))  # 1000 / 13 does not fit into a DS
    assert found.run.pixel_mm == pytest.approx((0.3, 0.3))
    assert (found.why, found.notes) == ({}, [])
    assert SECRET not in repr(found.run.subject)


@pytest.mark.parametrize(
    ("tags", "fps"),
    [
        ({"FrameTimeVector": ["0", "100", "100"]}, 10.0),
        ({"FrameTime": "0", "CineRate": "12"}, 12.0),
        ({"RecommendedDisplayFrameRate": "30"}, 30.0),
        ({}, None),
        ({"FrameTime": ["1", "2"]}, None),
    ],
)
def test_the_pace_by_whichever_element_tells_it(tmp_path, tags, fps):
    found = opened(write(tmp_path / "a.dcm", **tags), "run 1")
    assert found.fps == fps
    assert ("fps" in found.why) == (fps is None)
    assert found.run.fps == (fps or 15.0)


def test_what_a_header_lacks_has_a_reason(tmp_path):
    path = write(tmp_path / "a.dcm", drop=("ImagerPixelSpacing", "PositionerPrimaryAngle"), BurnedInAnnotation="YES")
    found = opened(path, "run 1")
    assert (found.run.angles, found.run.pixel_mm) == (None, None)
    assert found.why["pixel_mm"] == "ImagerPixelSpacing is missing"
    assert "PositionerPrimaryAngle" in found.why["angles"]
    assert "patient's data" in found.notes[0]


def test_frames_of_one_run_share_their_grey_levels(tmp_path):
    """12 bits without a window: a frame stretched over its own range would hide that the second one is darker."""
    stored = (np.arange(96 * 96).reshape(1, 96, 96) % 4000 + 95).astype(np.uint16)
    stored = np.concatenate([stored, stored // 2])
    found = opened(write(tmp_path / "a.dcm", pixels=stored, BitsStored=12, HighBit=11), "run 1")
    expected = np.rint((stored - stored.min()) * (255 / (stored.max() - stored.min())))
    assert np.abs(np.stack([found.run.film[n] for n in (0, 1)]) - expected).max() <= 1
    assert "the run's own range" in found.notes[0]


def test_a_blank_frame_among_others_stays_and_a_blank_run_is_refused(tmp_path):
    pixels = frames(3)
    pixels[0] = 0
    assert opened(write(tmp_path / "a.dcm", pixels=pixels), "run 1").run.film[0].max() == 0
    with pytest.raises(UsageError, match="run 1 shows nothing"):
        opened(write(tmp_path / "b.dcm", pixels=np.zeros_like(pixels)), "run 1")


def test_a_folder_of_frames_in_the_order_of_their_numbers(tmp_path):
    for n in (1, 2, 10):
        Image.fromarray(frames(11)[n]).save(tmp_path / f"f{n}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    found = opened(tmp_path, "run 1")
    assert all(np.array_equal(found.run.film[k], frames(11)[n]) for k, n in enumerate((1, 2, 10)))
    assert (found.fps, found.run.angles) == (None, None)
    assert set(found.why) == {"fps", "angles", "pixel_mm"}
    Image.fromarray(frames()[0][:70]).save(tmp_path / "f11.png")
    with pytest.raises(UsageError, match="run 1 has frames of two sizes"):
        opened(tmp_path, "run 1")


def test_refusals_name_no_path(tmp_path):
    secret = tmp_path / "DOE_JANE"
    secret.mkdir()
    (tmp_path / "DOE_JANE.dcm").write_bytes(b"no DICOM")
    write(tmp_path / "DOE_CT.dcm", Modality="CT")
    for name, why in (
        ("DOE_JANE", "is a folder without pictures"),
        ("DOE_JANE.dcm", "is no DICOM file"),
        ("DOE_CT.dcm", "has modality CT"),
        ("DOE_GONE", "cannot be read: No such file"),
    ):
        with pytest.raises(UsageError, match=f"^run 3 {why}") as error:
            opened(tmp_path / name, "run 3")
        assert "DOE" not in str(error.value)


def test_runs_of_two_patients_are_refused(tmp_path):
    runs = [opened(write(tmp_path / f"{n}.dcm", patient=who), "run") for n, who in enumerate(("a", "a", "", "b"))]
    one_patient(runs[:3])  # a blanked id is anybody's
    with pytest.raises(UsageError, match="different PatientIDs"):
        one_patient(runs)


def test_a_real_run_in_its_header(data_dir, tmp_path):
    found = opened(wrapped(data_dir, "p1c1", tmp_path / "p1c1.dcm"), "run 1")
    frames = real_frames(data_dir / "angio_runs" / "p1c1")
    assert all(np.array_equal(found.run.film[n], frames[n]) for n in (0, 7, 19))
    assert found.run.angles == (32.2, 2.6)
    assert found.fps == pytest.approx(7.5)
    assert found.run.pixel_mm == pytest.approx((0.278875 * 744.8867774 / 1034.0,) * 2)
    assert opened(wrapped(data_dir, "p5c2", tmp_path / "p5c2.dcm"), "run 1").why.keys() == {"angles", "pixel_mm"}
