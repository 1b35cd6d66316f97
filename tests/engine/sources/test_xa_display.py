"""What an XA run looks like: closed forms of PS3.3 C.11.2 and C.7.6.3, and pydicom's own functions where they hold."""

import numpy as np
import pydicom
import pytest
from pydicom.pixels.processing import apply_modality_lut, apply_windowing
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian

from lesionforge.engine.sources.xa.runs import DicomOptions, XaDicom
from lesionforge.generators.types import BadCase
from tests.engine.sources.test_xa import frames, one, write

BITS_12 = {"BitsStored": 12, "HighBit": 11}
RAMP = np.linspace(0, 4095, 96 * 96).reshape(1, 96, 96).astype(np.uint16)


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", "")


def refused(tmp_path, **tags):
    with pytest.raises(BadCase) as error:
        one(tmp_path, **tags)
    return str(error.value)


def sequence(first, entries, bits, **more):
    item = pydicom.Dataset()
    item.LUTDescriptor = [len(entries) % 2**16, first, bits]
    item.add_new(0x00283006, "OW", np.asarray(entries, "<u2").tobytes())
    for key, value in more.items():
        setattr(item, key, value)
    return Sequence([item])


@pytest.mark.parametrize("window", [{}, {"WindowCenter": "128", "WindowWidth": "256"}])
def test_a_modality_lut_is_no_part_of_the_display(tmp_path, window):
    steep = (65535 * np.linspace(0, 1, 256) ** 6).astype(int)
    lut = sequence(0, steep, 16, ModalityLUTType="US")
    case = one(tmp_path, ModalityLUTSequence=lut, PixelIntensityRelationship="LOG", **window)
    assert np.array_equal(case.image, frames()[0])


@pytest.mark.parametrize("window", [{}, {"WindowCenter": "128", "WindowWidth": "256"}])
def test_a_negative_slope_turns_the_values_once(tmp_path, window):
    case = one(tmp_path, pixels=255 - frames(), RescaleSlope="-1", RescaleIntercept="255", **window)
    assert np.array_equal(case.image, frames()[0])
    assert "inverted" not in case.notes["display"]


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("signed", [0, 1])
def test_windows_are_pydicom_s_where_the_slope_is_positive(tmp_path, function, signed):
    stored = RAMP.astype(np.int16) - 2048 * signed
    tags = {"RescaleSlope": "0.5", "RescaleIntercept": "-100", "WindowCenter": "300", "WindowWidth": "801.5"}
    tags |= {"VOILUTFunction": function} if function else {}
    case = one(tmp_path, pixels=stored, PixelRepresentation=signed, **tags, **BITS_12)
    header = pydicom.dcmread(tmp_path / "run" / "IM1.dcm")
    shown = apply_windowing(apply_modality_lut(stored[0], header), header)
    low, high = ((end - 2048 * signed) * 0.5 - 100 for end in (0, 4095))
    assert np.abs(case.image - (shown - low) / (high - low) * 255).max() <= 0.5 + 1e-6


def test_a_window_of_one_value_is_a_step_and_the_first_whole_window_counts(tmp_path):
    step = one(tmp_path, WindowCenter="140.5", WindowWidth="1").image
    assert np.array_equal(step, np.where(frames()[0] > 140, 255, 0))
    several = one(tmp_path, WindowCenter=["", "128", "40"], WindowWidth=["", "256", "80"])
    assert np.array_equal(several.image, frames()[0])
    assert several.notes["display"] == "window 128/256"
    assert one(tmp_path, WindowCenter="0", WindowWidth="0").notes["display"] == "as stored"


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"WindowCenter": "128"}, "a WindowCenter without a WindowWidth"),
        ({"WindowCenter": ["128", ""], "WindowWidth": ["", "256"]}, "a WindowCenter without a WindowWidth"),
        ({"WindowCenter": "128", "WindowWidth": "-256"}, "WindowWidth is -256"),
        ({"WindowCenter": "128", "WindowWidth": "256", "VOILUTFunction": "CUBIC"}, "its VOILUTFunction is none of"),
        ({"RescaleSlope": "0", "RescaleIntercept": "1"}, "its RescaleSlope is 0"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "is neither MONOCHROME1 nor MONOCHROME2"),
        ({"PresentationLUTShape": "LIN OD"}, "PresentationLUTShape is neither"),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"}, "contradict each other"),
        ({"VOILUTSequence": sequence(0, [9] * 300, 8)}, None),
        ({"VOILUTSequence": sequence(0, [300] * 256, 8)}, "its VOI LUT cannot be read"),
        ({"BitsStored": 8, "HighBit": 9}, "its HighBit at 9"),
    ],
)
def test_what_cannot_be_obeyed_is_refused(tmp_path, tags, words):
    assert (words or "shows nothing") in refused(tmp_path, **tags)


def test_monochrome1_with_an_inverse_shape_is_turned_once(tmp_path):
    tags = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    assert np.array_equal(one(tmp_path, pixels=255 - frames(), **tags).image, frames()[0])


def test_a_voi_lut_after_a_rescale_and_with_a_first_value(tmp_path):
    """Values after the rescale are -100 ... 1947.5; the LUT begins at -50, has 1,001 entries and 10 bits."""
    lut = sequence(-50, np.arange(1001), 10)
    lut[0].LUTDescriptor = [1001, 2**16 - 50, 10]  # as US, though it is signed
    case = one(tmp_path, pixels=RAMP, RescaleSlope="0.5", RescaleIntercept="-100", VOILUTSequence=lut, **BITS_12)
    expected = np.clip(np.rint(RAMP[0] * 0.5 - 100) + 50, 0, 1000) / 1023 * 255
    assert np.abs(case.image - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("signed", [0, 1])
def test_bits_at_the_upper_end_of_a_word_are_the_same_picture(tmp_path, bits, signed):
    """HighBit 15, as ACR-NEMA has it: the lower bits are another thing's."""
    values = (RAMP >> (12 - bits)).astype(np.int16) - signed * 2 ** (bits - 1)
    tags = {"BitsStored": bits, "WindowCenter": "100", "WindowWidth": "900", "PixelRepresentation": signed}
    plain = one(tmp_path / "plain", pixels=values, HighBit=bits - 1, **tags)
    above = one(tmp_path / "above", pixels=(values << (16 - bits)) | 5, HighBit=15, **tags)
    assert np.array_equal(plain.image, above.image)


def groups(*windows):
    """Functional groups, as enhanced XA has its windows in."""
    out = []
    for centre, width in windows:
        frame, group = pydicom.Dataset(), pydicom.Dataset()
        frame.WindowCenter, frame.WindowWidth = centre, width
        group.FrameVOILUTSequence = Sequence([frame])
        out.append(group)
    return Sequence(out)


def test_an_enhanced_run_s_window_stands_in_its_functional_groups(tmp_path):
    plain = one(tmp_path / "plain", pixels=RAMP, WindowCenter="900", WindowWidth="1200", **BITS_12).image
    shared = {"SharedFunctionalGroupsSequence": groups(("900", "1200"))}
    for name, tags in (("shared", shared), ("same", {"PerFrameFunctionalGroupsSequence": groups(("900", "1200"))})):
        assert np.array_equal(one(tmp_path / name, pixels=RAMP, **tags, **BITS_12).image, plain)
    several = {"PerFrameFunctionalGroupsSequence": groups(("900", "1200"), ("800", "1200"))}
    assert "has several windows" in refused(tmp_path / "several", pixels=RAMP, **several, **BITS_12)


def test_big_endian_words_are_the_same_picture(tmp_path):
    tags = {"WindowCenter": "2048", "WindowWidth": "4096", "pixels": RAMP} | BITS_12
    plain = one(tmp_path / "plain", **tags)
    path = write(tmp_path / "big" / "IM1.dcm", **tags)
    ds = pydicom.dcmread(path)
    ds.PixelData = RAMP.astype(">u2").tobytes()
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(path, ds, implicit_vr=False, little_endian=False, force_encoding=True)
    assert np.array_equal(XaDicom(str(path.parent), DicomOptions(frame=1)).read(0).image, plain.image)


def test_padding_does_not_take_part_in_a_stretch(tmp_path):
    stored = RAMP.astype(np.int16) // 8
    padded = stored.copy()
    padded[0, 50, :] = np.linspace(-2000, -1990, 96)
    plain = one(tmp_path / "plain", pixels=stored, PixelRepresentation=1).image
    tags = {"PixelPaddingValue": -1990, "PixelPaddingRangeLimit": -2000, "PixelRepresentation": 1}
    case = one(tmp_path / "padded", pixels=padded, **tags).image
    assert (case[50] == 0).all()
    assert np.array_equal(np.delete(case, 50, 0), np.delete(plain, 50, 0))
    nothing = {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 4095}
    assert "every pixel is padding" in refused(tmp_path / "none", pixels=RAMP, **nothing)
