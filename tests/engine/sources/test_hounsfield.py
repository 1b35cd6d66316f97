"""Values that are no Hounsfield units, told from a CT's with noise and padding; headers that say no size."""

import nibabel as nib
import numpy as np
import pydicom
import pytest

from lesionforge.engine.sources.ct.hounsfield import ValueCounts, require_organs
from lesionforge.generators.types import BadCase
from tests.engine.sources.test_ct import lits
from tests.engine.sources.test_ct import source as nifti
from tests.engine.sources.test_ct_files import header
from tests.engine.sources.test_ct_series import refusal, write
from tests.engine.sources.test_ct_series import source as series

EDGE = np.hypot(*(np.mgrid[:40, :40] - 19.5))


def body(radius=16):
    """A slice (40, 40): air, fat, muscle, liver and lung, with noise."""
    out = np.full((40, 40), -1000.0)
    out[radius > EDGE], out[radius - 2 > EDGE] = -100, 50
    out[12:18, 12:18], out[26:30, 14:18] = 110, -850
    return out + np.random.default_rng(0).normal(0, 10, out.shape)


def wrong(values):
    counts = ValueCounts()
    counts.add(np.rint(values))
    try:
        counts.require_hu()
    except BadCase as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "values",
    [body() + 1000, np.where(EDGE > 19, -2000, body() + 1024), -body(), body() * 10, body() - 1024, body() / 50],
    ids=["raw", "raw and padding", "inverted", "ten times", "offset twice", "a fiftieth"],
)
def test_values_of_another_scale(values):
    assert "no Hounsfield units" in wrong(values)


@pytest.mark.parametrize("padding", [-1500, -2000, -3024, -4096, -8192, -9999, -32768])
def test_padding_and_a_streak_below_it(padding):
    values = np.where(EDGE > 19, padding, body())
    assert not wrong(values)
    values[20, 20] = padding - 10
    assert not wrong(values)


def test_two_paddings_around_a_small_body():
    assert not wrong(np.where(EDGE > 22, -3024, np.where(EDGE > 17, -2048, body(10))))


def organ(name, middle, spread=0, strange=0):
    """What is said of an organ (6, 6, 6) of this median, of which a share is metal, calcium or gas."""
    hu = np.full(216, middle) + np.linspace(-spread, spread, 216)
    hu[: int(strange * 216)] = np.resize([3071, -1024], int(strange * 216))
    labels = np.ones((6, 6, 6), np.uint8)
    try:
        require_organs(np.rint(hu).reshape(labels.shape).astype(np.int16), labels, {1: name})
    except BadCase as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("name", "middle"),
    [("liver", -30), ("liver", 10), ("liver", 130), ("liver", 300), ("kidney", 300), ("kidney", 700),
     ("pancreas", -110), ("spleen", 450), ("lung", -950), ("lung", -1000), ("lung", 40), ("aorta", 20),
     ("aorta", 1500), ("coronary", -60), ("coronary_left", 3000), ("bone", -90), ("bone", 3071), ("spine", 60),
     ("heart", -60), ("stomach", -900), ("colon", 3071), ("bladder", 2500), ("gallbladder", 900),
     ("liver_tumour", 1110)],
    ids=str,
)  # fmt: skip
def test_organs_of_real_people_are_taken(name, middle):
    """Fat, iron, contrast agent at 40 keV, barium, calcium, stents, and a third of metal and gas in the organ."""
    assert not organ(name, middle, spread=60)
    assert not organ(name, middle, spread=60, strange=0.3)


@pytest.mark.parametrize(
    ("name", "middle"),
    [("liver", 1080), ("liver", 550), ("liver", -970), ("spleen", 1070), ("kidney", 1200), ("pancreas", -700),
     ("lung", 500), ("lung", -1874), ("heart", -527), ("aorta", -800), ("coronary_right", -724), ("spine", -850)],
    ids=str,
)  # fmt: skip
def test_organs_have_possible_medians(name, middle):
    """Values with an offset of 1024 too many or too few, or ten times, or a mask that lies beside its organ."""
    assert f"its {name} has a median of {middle} HU, and " in organ(name, middle)


def test_a_few_voxels_of_an_organ_tell_nothing():
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[:2, :2, :6] = 1  # 24 of a dome below the lung
    require_organs(np.full(labels.shape, -600, np.int16), labels, {1: "liver"})


def test_large_organs_are_looked_at_thinly_and_all_over():
    labels = np.zeros((200, 8, 200), np.uint8)
    labels[:, :, 150:] = 1  # at the far end alone
    require_organs(np.where(labels, 50, -900).astype(np.int16), labels, {1: "liver"})
    with pytest.raises(BadCase, match="its liver has a median of -600 HU"):
        require_organs(np.full(labels.shape, -600, np.int16), labels, {1: "liver"})


@pytest.mark.parametrize(
    ("intercept", "words"), [("-3048", "offset taken twice"), ("1024", "no Hounsfield units"), ("-500", "above 900")]
)
def test_series_are_held_to_the_same_rule(tmp_path, monkeypatch, intercept, words):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))
    assert words in refusal(write(tmp_path, RescaleIntercept=intercept))


@pytest.mark.parametrize(("intercept", "read"), [(-1024, True), (0, False), (1, False)])
def test_soft_tissue_alone_is_ct_where_an_offset_is_told(tmp_path, monkeypatch, intercept, read):
    """The series of ``shared/cases`` hold nothing but 40 and 110 HU."""
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))
    for path in write(tmp_path, RescaleSlope="1", RescaleIntercept=str(intercept)).glob("*.dcm"):
        ds = pydicom.dcmread(path)
        values = np.where(np.arange(ds.Rows * ds.Columns) % 7, 40, 110) - intercept
        ds.PixelData = values.astype(np.uint16).tobytes()
        ds.save_as(path, enforce_file_format=True)
    if read:
        assert set(np.unique(series(tmp_path).read(0).hu)) == {40, 110}
    else:
        assert "no Hounsfield units: was it normalised" in refusal(tmp_path)


def test_slices_of_one_series_have_one_level(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))
    write(tmp_path, heights=[0, 5, 10])
    write(tmp_path, heights=[2.5, 7.5], prefix="other", RescaleIntercept="0")
    assert "slices 1 and 2 of 5 have other RescaleSlopes or RescaleIntercepts" in refusal(tmp_path)


@pytest.mark.parametrize("form", ["sform_code", "qform_code"])
def test_a_pixdim_of_0_says_nothing(tmp_path, form):
    def change(head):
        head["sform_code"] = head["qform_code"] = 0
        head[form], head["pixdim"][1:4] = 1, 0

    lits(tmp_path)
    for name in ("volume-0", "segmentation-0"):
        header(tmp_path, change, name)
    if form == "sform_code":
        assert nifti(tmp_path).read(0).spacing_mm == pytest.approx((1.5, 2, 3))
    else:
        with pytest.raises(BadCase, match="its pixdim says voxels of 0 mm"):
            nifti(tmp_path).read(0)


def test_nifti_2_is_told(tmp_path):
    lits(tmp_path)
    path = tmp_path / "volume-0.nii.gz"
    nib.save(nib.Nifti2Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), path)
    with pytest.raises(BadCase, match="is NIfTI-2, which is not read: save it as NIfTI-1"):
        nifti(tmp_path).read(0)
