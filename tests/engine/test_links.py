"""Which subjects are one: by content in any container, by a patient's id, by phantoms' numbers; and what follows."""

import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from lesionforge.engine import dataset
from lesionforge.engine.links import NO_LINKS, Links
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.recipe_yaml import parse
from lesionforge.engine.sample import Maker
from lesionforge.sinks.store import Store
from tests.engine.sources.test_ct_series import write as series_of
from tests.engine.sources.test_xa import frames
from tests.engine.sources.test_xa import write as run_of

HALVES = {"train": 0.5, "test": 0.5}


def pipeline(*sources, generator="stenosis", **changes):
    body = {
        "name": "a",
        "seed": 1,
        "sources": [{"split": HALVES, **({"uri": s} if isinstance(s, str) else s)} for s in sources],
        "generator": {"name": generator},
        "splits": ["train", "test"],
    }
    return Pipeline(parse(json.dumps(body | changes)))


def splits(job):
    """Splits by (source, case)."""
    return {(s.source, s.case): s.split for s in (job.plan[i] for i in range(job.plan.variant_samples))}


def hashes(job):
    maker = Maker(job)
    return {(s.source, s.case): maker.read(s).subject for s in (job.plan[i] for i in range(len(job.plan)))}


def picture(path, seed, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(100, 200, (64, 64), dtype=np.uint8)
    Image.fromarray(values).save(path, **options)
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 30:34] = 255
    Image.fromarray(mask).save(path.with_name(f"{path.stem}_gt.png"))


def volume(path, seed, slope=None, dtype=np.int16):
    path.parent.mkdir(parents=True, exist_ok=True)
    hu = np.full((10, 9, 8), -1000, np.int16)  # the first slice is air, of every patient
    hu[2:-2, 2:-2, 2:-2] = np.random.default_rng(seed).integers(0, 200, (6, 5, 4))
    affine = np.diag([-2.0, -2.0, 2.5 if slope is None else 3.0, 1.0])
    image = nib.Nifti1Image(hu.astype(dtype), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, path)
    label = nib.Nifti1Image((hu > 100).astype(np.uint8), affine)
    label.set_sform(affine, 1)
    label.set_qform(affine, 1)
    return label


def test_pictures_saved_again_are_one_subject(tmp_path):
    for n in range(4):
        picture(tmp_path / f"run{n}_a.png", n)
        picture(tmp_path / f"run{n}_b.png", n, compress_level=1)
        picture(tmp_path / f"run{n}_c.bmp", n)
    job = pipeline(f"masks:{tmp_path}")
    assert [len(group) for group in job.links.groups] == [3, 3, 3, 3]
    assert "12 subjects of sources.0 are 4" in job.notes[0]
    assert len(splits(job)) == 12
    assert [splits(job)[0, case] for case in range(0, 12, 3)] == [splits(job)[0, case + 2] for case in range(0, 12, 3)]
    assert sorted(map(list(splits(job).values()).count, ("train", "test"))) == [6, 6]
    assert len(set(hashes(job).values())) == 4


def test_one_scan_in_two_sets_is_one_subject(tmp_path):
    """LiTS as .nii; MSD with its own numbers, floats in .nii.gz and another spacing; and a patient of its own."""
    for n in range(3):
        nib.save(volume(tmp_path / f"lits/volume-{n}.nii", n), tmp_path / f"lits/segmentation-{n}.nii")
        (tmp_path / "msd/labelsTr").mkdir(parents=True, exist_ok=True)
        label = volume(tmp_path / f"msd/imagesTr/liver_{n + 5}.nii.gz", n + 1, slope=1, dtype=np.float32)
        nib.save(label, tmp_path / f"msd/labelsTr/liver_{n + 5}.nii.gz")
    (tmp_path / "msd/dataset.json").write_text(
        json.dumps({"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver", "2": "cancer"}})
    )
    job = pipeline(f"ct:{tmp_path}/lits", f"ct:{tmp_path}/msd", generator="lesion")
    assert job.links.groups == (((0, 1), (1, 0)), ((0, 2), (1, 1)))
    found = splits(job)
    assert found[0, 1] == found[1, 0]
    assert found[0, 2] == found[1, 1]
    names = hashes(job)
    assert names[0, 1] == names[1, 0]
    assert len(set(names.values())) == 4


def test_a_file_packed_otherwise_is_the_same_volume(tmp_path):
    for n in range(2):
        nib.save(volume(tmp_path / f"NAME{n}_ct.nii", n), tmp_path / f"NAME{n}_seg.nii")
    for name in ("ct", "seg"):
        packed = gzip.compress((tmp_path / f"NAME0_{name}.nii").read_bytes(), 1)
        (tmp_path / f"OTHER_{name}.nii.gz").write_bytes(packed)
    job = pipeline({"uri": f"ct:{tmp_path}", "options": {"legend": {1: "liver"}}}, generator="lesion")
    assert [len(group) for group in job.links.groups] == [2]


def test_one_folder_given_twice_is_the_same_subjects(tmp_path):
    for n in range(6):
        picture(tmp_path / "a" / f"{n}.png", n)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    job = pipeline(f"masks:{tmp_path}/a", f"masks:{tmp_path}/b")
    found = splits(job)
    assert all(found[0, case] == found[1, case] for case in range(6))


def test_names_of_files_are_a_folder_s_own(tmp_path):
    """1.png of two hospitals is of two patients: in two splits if the recipe says so, under two hashes."""
    for n in range(4):
        picture(tmp_path / "a" / f"{n}.png", n)
        picture(tmp_path / "b" / f"{n}.png", 10 + n)
    a, b = (f"masks:{tmp_path}/{folder}" for folder in "ab")
    job = pipeline({"uri": a, "split": {"train": 1}}, {"uri": b, "split": {"test": 1}})
    assert job.links == NO_LINKS
    assert len(set(hashes(job).values())) == 8
    assert all(split == ("train", "test")[source] for (source, _), split in splits(job).items())


def test_a_patient_s_id_is_known_in_every_source(tmp_path):
    for n, patient in enumerate(["A1", "A1", "B2", ""]):
        run_of(tmp_path / "xa" / f"IM{n}.dcm", patient=patient, pixels=frames(1, seed=n))
    series_of(tmp_path / "ct", patient="B2")
    job = pipeline(f"dicom:{tmp_path}/xa", f"ctdicom:{tmp_path}/ct")
    xa = {case: job.sources[0].read(case).subject for case in range(4)}
    (group,) = job.links.groups
    assert group[1] == (1, 0)
    assert [xa[case] for case in xa if job.sources[0].subject_of(case) == group[0][1]] == [xa[2]]


@pytest.mark.parametrize("ids", [("A1", "B2"), ("A1", ""), ("", "")])
@pytest.mark.parametrize("uid", ["StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"])
def test_a_study_is_of_one_patient_whatever_ids_its_files_say(tmp_path, ids, uid):
    for n, patient in enumerate(ids):
        run_of(tmp_path / f"IM{n}.dcm", patient=patient, pixels=frames(1, seed=n), **{uid: "1.2.34"})
    run_of(tmp_path / "IM9.dcm", patient="C3", pixels=frames(1, seed=9), **{uid: "1.2.35"})
    job = pipeline(f"dicom:{tmp_path}")
    assert job.links.groups == (((0, 0), (0, 1)),)
    assert "one patient's id, study" in str(job.notes)
    assert len(set(hashes(job).values())) == 2


def test_a_ct_series_and_a_run_of_one_study_are_one_patient_s(tmp_path):
    run_of(tmp_path / "xa/1.dcm", patient="A1", StudyInstanceUID="1.2.34")
    series_of(tmp_path / "ct", patient="B2", StudyInstanceUID="1.2.34")
    job = pipeline(f"dicom:{tmp_path}/xa", f"ctdicom:{tmp_path}/ct")
    assert job.links.groups == (((0, 0), (1, 0)),)


def test_constant_uids_link_nobody_and_are_told(tmp_path):
    for n in range(6):
        run_of(tmp_path / f"IM{n}.dcm", patient=f"P{n}", pixels=frames(1, seed=n), StudyInstanceUID="1.2.34",
               FrameOfReferenceUID="1.2.840.10008.1.4.1.1")  # fmt: skip
    job = pipeline(f"dicom:{tmp_path}")
    assert job.links == NO_LINKS
    assert "1 StudyInstanceUID stands in files of more than 5 patients" in str(job.notes)
    assert "FrameOfReference" not in str(job.notes)


def test_a_run_under_another_patient_s_id_is_the_same(tmp_path):
    for n, patient in enumerate(["A1", "B2", "C3"]):
        run_of(tmp_path / f"IM{n}.dcm", patient=patient, pixels=frames(1, seed=n % 2))
    job = pipeline(f"dicom:{tmp_path}")
    assert job.links.groups == (((0, 0), (0, 2)),)


def test_phantoms_of_one_series_are_the_same_subjects():
    even = pipeline("phantom:coronary", "phantom:ccta", generator="biplane")
    assert even.links == Links(alike=((1, 0),))
    found = splits(even)
    assert all(found[0, 2 * n] == found[0, 2 * n + 1] == found[1, n] for n in range(100))
    fewer = pipeline("phantom:coronary", {"uri": "phantom:coronary", "options": {"count": 30}}, generator="biplane")
    found = splits(fewer)
    assert len(fewer.links.groups) == 30
    assert all(found[0, n] == found[1, n] for n in range(60))
    own = pipeline("phantom:coronary", {"uri": "phantom:coronary", "options": {"series": 1}}, generator="biplane")
    assert own.links == NO_LINKS


def test_the_dataset_remembers_what_is_one(tmp_path):
    for n in range(5):
        picture(tmp_path / f"{n}.png", min(n, 3))
    job = pipeline({"uri": f"masks:{tmp_path}", "options": {"subject": "^[01]|[2-4]"}})
    store = Store("memory://remembered")
    dataset.claim(store, dataset.describe(job))
    found = dataset.read(store)
    assert [found.plan[i] for i in range(5)] == [job.plan[i] for i in range(5)]
    assert found.identity != job.recipe.identity(job.fingerprints)  # whose the cases are is part of it


def test_a_patient_s_id_is_its_issuer_s_where_all_say_one(tmp_path):
    for folder, issuer in (("a", "H1"), ("b", "H2"), ("c", "H1")):
        run_of(tmp_path / folder / "IM.dcm", patient="P1", IssuerOfPatientID=issuer, pixels=frames(1, seed=ord(folder)))
    places = [f"dicom:{tmp_path}/{folder}" for folder in "abc"]
    assert pipeline(*places).links.groups == (((0, 0), (2, 0)),)
    run_of(tmp_path / "c" / "IM.dcm", patient="P1", pixels=frames(1, seed=3))  # anybody's
    assert len(pipeline(*places).links.groups[0]) == 3


def test_files_of_dicom_name_subjects_by_a_pattern(tmp_path):
    """Where the ids were blanked and each patient has a folder."""
    for n, patient in enumerate(["x", "x", "y"]):
        run_of(tmp_path / "xa" / patient / f"IM{n}.dcm", patient="", pixels=frames(1, seed=n))
        series_of(tmp_path / "ct" / patient, prefix=f"s{n}", series=f"1.2.{n}", patient="")
    job = pipeline(
        *({"uri": f"{kind}:{tmp_path}/{place}", "options": {"subject": "^[^/]+"}} for kind, place in
          (("dicom", "xa"), ("ctdicom", "ct")))
    )  # fmt: skip
    for source in job.sources:
        assert source.sizes == [2, 1]
        names = [source.read(case).subject for case in range(3)]
        assert names[0] == names[1] != names[2]
        assert "x" not in names[0].split("/")[1]  # no part of a path
