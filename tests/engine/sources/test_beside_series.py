"""What lies beside CT series in DICOM: nothing that may mark a lesion becomes healthy without a word."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from lesionforge.generators.types import BadCase
from tests.engine.sources.test_ct import write as write_nifti
from tests.engine.sources.test_ct_series import HEIGHTS, nrrd, organs, put, seg, source, write

LIVER, LESION = organs()
EDGES = np.diag([-0.75, -1.5, 2.5, 1])
PLACE = EDGES + np.pad([[30.0], [-20], [-40]], ((0, 1), (3, 0)))  # of the series, in RAS
MARKS, GRID = "marks 12 voxels that are no lesion in the label map", "on another grid than the image's"
NOT_READ = "is of a format that is not read here"


@pytest.fixture
def case(tmp_path, monkeypatch):
    """A folder with a CT series in ``dicom`` and its liver in NRRD."""
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "case1" / "dicom")
    nrrd(tmp_path / "case1" / "dicom" / "liver.nrrd", LIVER)
    return tmp_path / "case1"


def put_mask(path, mask=LESION, affine=PLACE, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".nrrd":
        nrrd(path, mask, **how)
    elif ".nii" in path.name:
        write_nifti(path, mask.astype(np.uint8 if mask.dtype == bool else mask.dtype), affine)
    else:
        path.write_bytes(b"x")


def refused(folder, **options):
    with pytest.raises(BadCase) as error:
        source(folder, **options).read(0)
    assert "option masks" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "how", "words"),
    [
        ("dicom/tumor.nii.gz", {}, MARKS),
        ("dicom/FNH.nii", {}, MARKS),
        ("dicom/lesions/1.nii.gz", {}, MARKS),
        ("masks/tumor.nrrd", {}, MARKS),
        ("tumor.nrrd", {}, MARKS),
        ("dicom/tumor.nii.gz", {"affine": EDGES}, GRID),
        ("dicom/tumor.nrrd", {"origin": (-29.7, 20, -40)}, GRID),
        ("dicom/liver+tumor.nrrd", {"origin": (-29.7, 20, -40)}, GRID),
        ("GTV.nrrd", {}, MARKS),
        ("dicom/tumor.nrrd", {"origin": (-30, 20, -57.5)}, GRID),
        ("dicom/tumor.nrrd", {"mask": np.repeat(LESION, 2, 0)}, GRID),
        *((f"dicom/tumor.{end}", {}, NOT_READ) for end in ("mha", "mhd", "nhdr", "img", "tif", "stl", "mgz")),
        ("masks/liver_tumor.stl", {}, NOT_READ),
    ],
)
def test_what_may_be_a_lesion_beside_a_series_is_refused(case, name, how, words):
    put_mask(case / name, **how)
    assert words in refused(case)
    left = source(case, masks={"liver": "liver", "*": "background"}).read(0)
    assert left.legend == {1: "liver"}
    left_over = source(case).left_over
    assert sum(map(len, left_over.values())) == (not name.startswith("dicom/") or not name.endswith(".nrrd"))


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"dicom/liver.nii.gz": {"mask": LIVER}, "dicom/spleen.mha": {}, "dicom/liver.stl": {}, "report.pdf": {}}, 2),
        ({"copy.nii.gz": {"mask": LIVER}, "dicom/arterial.nii.gz": {"mask": np.arange(1152.0).reshape(16, 12, 6)}}, 2),
        ({"dicom/FNH.nii.gz": {"affine": EDGES}, "other/thing.nrrd": {"origin": (0, 0, 0)}, "x.tif": {}}, 3),
        ({"dicom/tumor.nii.gz": {"mask": np.zeros_like(LESION)}, "dicom/scene.obj": {}, "preview.png": {}}, 2),
    ],
)
def test_ordinary_files_beside_a_series_are_no_reason_to_refuse(case, files, left):
    for name, how in files.items():
        put_mask(case / name, **how)
    found = source(case)
    assert found.read(0).legend == {1: "liver"}
    assert sum(map(len, found.left_over.values())) == left


def test_what_is_no_lesion_of_a_series_without_masks_is_only_counted(case):
    (case / "dicom" / "liver.nrrd").unlink()
    put_mask(case / "dicom" / "tumor.nii.gz")
    found = source(case)
    assert found.read(0).labels is None
    assert sum(map(len, found.left_over.values())) == 1


def test_a_file_of_two_series_is_of_the_one_it_lies_on(case):
    folder = case / "dicom"
    write(folder, prefix="other", series="1.2.3.2", heights=[h + 100 for h in HEIGHTS])
    put_mask(folder / "liver tumor.nrrd", origin=(-30, 20, 60))
    assert [source(case).read(n).legend for n in (0, 1)] == [{1: "liver"}, {1: "liver_tumour"}]
    put_mask(folder / "liver tumor.nrrd", origin=(-29.7, 20, 60))
    assert GRID in refused(case)
    (folder / "liver tumor.nrrd").unlink()
    put_mask(case / "a" / "tumor.nii.gz")  # nobody says of which, and it lies on the first
    assert MARKS in refused(case)
    assert source(case).read(1).labels is None
    assert list(source(case).left_over) == ["volumes called lesions, and of no case here"]


def test_what_a_file_beside_is_called_counts_for_the_source(case):
    alone = source(case).fingerprint()
    put_mask(case / "thing.nii.gz")
    before = source(case).fingerprint()
    (case / "thing.nii.gz").rename(case / "x.nii.gz")
    assert source(case).fingerprint() == before != alone
    (case / "x.nii.gz").rename(case / "tumor.nii.gz")
    assert source(case).fingerprint() != before


def test_names_of_folders_tell_whose_a_file_is(case):
    write(case.parent / "case2" / "dicom", series="1.2.3.2", patient="someone else")
    nrrd(case.parent / "case2" / "dicom" / "liver.nrrd", LIVER)
    put_mask(case.parent / "masks" / "case2_tumor.nii.gz")
    found = source(case.parent)
    assert found.read(0).legend == {1: "liver"}
    with pytest.raises(BadCase, match=MARKS):
        found.read(1)


def test_a_segmentation_of_a_series_that_is_not_there_in_the_same_frame_of_reference(case):
    path = case / "seg.dcm"
    for titles, lesion in ((("Tumor", "Neoplasm"), True), (("Liver", "Liver"), False), (("FNH", "Liver"), False)):
        seg(path, {titles: LESION}, HEIGHTS, refers="1.9.9.9")
        if lesion:
            assert "names a lesion" in refused(case)
            source(case, masks={"liver": "liver", "*": "background"}).read(0)
        else:
            assert source(case).read(0).legend == {1: "liver"}
    seg(path, {("Tumor", "Neoplasm"): LESION}, HEIGHTS, refers="1.9.9.9")
    ds = pydicom.dcmread(path)
    ds.FrameOfReferenceUID = "1.2.99"  # another scan
    ds.save_as(path, enforce_file_format=True)
    assert source(case).read(0).legend == {1: "liver"}


@pytest.mark.parametrize(
    ("regions", "lesion"),
    [
        ([("Liver", "ORGAN"), ("Lung_L", "ORGAN")], False),
        ([("External", "EXTERNAL"), ("PTV60", "PTV")], False),
        ([("Liver", "ORGAN"), ("HCC", "")], "liver"),
        ([("x1", "GTV")], "some"),
        *(([(name, "ORGAN")], "some") for name in ("GTV-1", "GTVp", "IGTV")),
        *(([(name, "")], "liver") for name in ("Liver-GTV", "gtv liver", "Leber und Tumor")),
        ([("CTV", "CTV"), ("Liver without tumor", "ORGAN")], False),
    ],
)
def test_a_structure_set_with_a_lesion_is_refused(case, regions, lesion):
    def item(**values):
        out = Dataset()
        for key, value in values.items():
            setattr(out, key, value)
        return out

    ds = put(case / "rt.dcm", series="1.2.3.77", modality="RTSTRUCT")
    drawn = item(RTReferencedSeriesSequence=Sequence([item(SeriesInstanceUID="1.2.3.1")]))
    ds.ReferencedFrameOfReferenceSequence = Sequence([item(RTReferencedStudySequence=Sequence([drawn]))])
    ds.StructureSetROISequence = Sequence(item(ROINumber=n, ROIName=name) for n, (name, _) in enumerate(regions))
    ds.RTROIObservationsSequence = Sequence(
        item(ReferencedROINumber=n, RTROIInterpretedType=of) for n, (_, of) in enumerate(regions)
    )
    ds.save_as(case / "rt.dcm", enforce_file_format=True)
    assert source(case).left_over == {"RT structure sets, which are not read": [str(case / "rt.dcm")]}
    if lesion:
        assert "names a lesion" in refused(case)
        for end in ("nrrd", "stl"):
            put_mask(case / "dicom" / f"liver tumor.{end}")  # the same once more, as sets have it
        assert source(case).read(0).legend == {1: "liver", 2: "liver_tumour"}
        for end in ("nrrd", "stl"):
            (case / "dicom" / f"liver tumor.{end}").unlink()
        put_mask(case / "dicom" / "kidney cyst.nrrd")  # another one
        assert "names a lesion" in refused(case) if lesion == "liver" else source(case).read(0)
    else:
        assert source(case).read(0).legend == {1: "liver"}
