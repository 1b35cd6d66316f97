"""The nnU-Net export: what nnU-Net's own check, ITK and our own CT source find in it is what was in the shards."""

import hashlib
import json

import nibabel as nib
import numpy as np
import pytest

from lesionforge.engine.recipe import SourceRecipe
from lesionforge.engine.sources.base import open_source
from lesionforge.generators.lesion.classes import VALUE
from lesionforge.sinks.exports import export_volumes
from lesionforge.sinks.store import Store
from tests.sinks import lesions

SPACING, ORIGIN = (0.7, 0.8, 1.5), (-100.5, 20.25, 333.0)
LEARNT = {
    "liver_tumour": ["liver_tumour", "liver_early", "liver_late"],
    "kidney_tumour": ["kidney_tumour", "kidney_early", "kidney_late"],
    "pancreas_tumour": ["pancreas_tumour", "pancreas_early", "pancreas_late"],
}
ORGANS = {name: [name] for name in ("liver", "kidney", "pancreas")}


@pytest.fixture(autouse=True)
def placed(monkeypatch):
    """The toys say where they lie in the patient."""
    meta = lesions.meta
    monkeypatch.setattr(lesions, "meta", lambda *told: meta(*told) | {"origin_lps_mm": list(ORIGIN)})


@pytest.fixture
def store(tmp_path):
    out = Store(str(tmp_path / "made"))
    lesions.write(out, 6, spacing=SPACING)
    lesions.write(out, 2, "test", SPACING, first=20)
    return out


def expected(i, classes):
    """A sample's label map, reckoned label by label."""
    labels = lesions.fields(i)["label.npy.gz"]
    out = np.zeros_like(labels)
    for n, some in enumerate(classes.values(), 1):
        for label in some:
            out[labels == VALUE[label]] = n
    return out


@pytest.mark.parametrize("classes", [LEARNT, ORGANS | LEARNT])
def test_our_own_source_reads_back_every_voxel(store, tmp_path, classes):
    export_volumes(store, tmp_path / "Dataset001_toy", classes)
    source = open_source(SourceRecipe(uri=f"ct:{tmp_path / 'Dataset001_toy'}"))
    assert source.subjects == 6
    for i in range(6):
        volume = source.read(i)
        assert volume.hu.dtype == np.int16
        assert np.array_equal(volume.hu, lesions.fields(i)["ct.npy"])
        assert np.array_equal(volume.labels, expected(i, classes))
        assert volume.spacing_mm == pytest.approx(SPACING, rel=1e-6)
        assert volume.origin_mm == pytest.approx(ORIGIN, rel=1e-6)
        assert volume.legend == dict(enumerate(classes, 1))


def test_nibabel_finds_each_voxel_where_it_was_in_the_patient(store, tmp_path):
    export_volumes(store, tmp_path / "out", LEARNT)
    index, (x, y, z) = (5, 9, 14), np.array(ORIGIN) + np.array((5, 9, 14)) * SPACING
    for folder, end, member in (("imagesTr", "_0000", "ct.npy"), ("labelsTr", "", None)):
        image = nib.load(tmp_path / "out" / folder / f"train-0000-00000002{end}.nii.gz")
        assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
        assert np.allclose(nib.affines.apply_affine(image.affine, index), (-x, -y, z), atol=1e-4)  # RAS+
        assert np.allclose(image.get_qform(), image.get_sform(), atol=1e-4)
        assert image.header.get_xyzt_units()[0] == "mm"
        voxels = lesions.fields(2)[member] if member else expected(2, LEARNT)
        assert np.array_equal(image.dataobj.get_unscaled(), voxels)


def test_the_folder_is_nnunet_s(store, tmp_path):
    told = export_volumes(store, tmp_path / "out", ORGANS | LEARNT)
    cases = [f"train-0000-{i:08d}" for i in range(6)]
    tests = [f"test-0000-{i:08d}" for i in (20, 21)]
    found = {
        path.name: sorted(file.name for file in path.iterdir())
        for path in (tmp_path / "out").iterdir()
        if path.is_dir()
    }
    assert found == {
        "imagesTr": [f"{case}_0000.nii.gz" for case in cases],
        "labelsTr": [f"{case}.nii.gz" for case in cases],
        "imagesTs": [f"{case}_0000.nii.gz" for case in tests],
        "labelsTs": [f"{case}.nii.gz" for case in tests],
    }
    names = ["background", *ORGANS, *LEARNT]
    assert json.loads((tmp_path / "out" / "dataset.json").read_text()) == {
        "channel_names": {"0": "CT"},
        "labels": {name: n for n, name in enumerate(names)},
        "numTraining": 6,
        "file_ending": ".nii.gz",
    }
    assert told["images"] == {"train": 6, "test": 2}
    held = {name: sum((expected(i, ORGANS | LEARNT) == n).any() for i in range(6)) for n, name in enumerate(names) if n}
    assert told["held"]["train"] == held
    assert (held["pancreas"], held["pancreas_tumour"]) == (0, 2)
    assert told["left_out"] == {}


def test_what_is_only_tested_on_is_written_to_be_predicted_on(store, tmp_path):
    assert export_volumes(store, tmp_path / "out", LEARNT, splits=["test"])["images"] == {"test": 2}
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"imagesTs", "labelsTs", "dataset.json"}
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["numTraining"] == 0


def test_what_becomes_background_is_told(store, tmp_path):
    told = export_volumes(store, tmp_path / "out", {"tumour": ["liver_early"]}, splits=["train"])
    assert told["left_out"] == {"liver": 3, "kidney": 3, "kidney_early": 3, "pancreas_tumour": 2}
    assert told["held"] == {"train": {"tumour": 3}}
    assert not (tmp_path / "out" / "imagesTs").exists()


def test_no_subject_is_on_both_sides_of_a_fold(store, tmp_path):
    """Two samples a subject: nnU-Net itself would deal them apart."""
    lesions.write(many := Store(str(tmp_path / "many")), 14)
    export_volumes(many, tmp_path / "out", LEARNT)
    folds = json.loads((tmp_path / "out" / "splits_final.json").read_text())
    every = sorted(f"train-0000-{i:08d}" for i in range(14))
    assert len(folds) == 5
    assert sorted(case for fold in folds for case in fold["val"]) == every
    for fold in folds:
        assert sorted(fold["train"] + fold["val"]) == every
        sides = [{int(case[-8:]) // 2 for case in fold[side]} for side in ("train", "val")]
        assert sides[0].isdisjoint(sides[1])
    lesions.write(store, 2, "val", SPACING, first=30)
    told = export_volumes(store, tmp_path / "own", LEARNT)
    (fold,) = json.loads((tmp_path / "own" / "splits_final.json").read_text())
    assert fold["val"] == ["val-0000-00000030", "val-0000-00000031"]
    assert len(fold["train"]) == 6
    assert json.loads((tmp_path / "own" / "dataset.json").read_text())["numTraining"] == 8
    assert told["images"] == {"train": 6, "val": 2, "test": 2}
    lesions.write(lone := Store(str(tmp_path / "lone")), 2)
    export_volumes(lone, tmp_path / "one", LEARNT)
    assert not (tmp_path / "one" / "splits_final.json").exists()


def test_what_is_added_is_only_learnt_from_and_never_beside_its_subject(tmp_path):
    """Real and synthetic scans of the same seven subjects, and synthetic ones of two more."""
    real, drawn = (Store(str(tmp_path / name)) for name in ("real", "drawn"))
    lesions.write(real, 14)
    lesions.write(drawn, 18)
    told = export_volumes(real, tmp_path / "out", LEARNT, more=[drawn])
    assert told["images"] == {"train": 32}
    names = {f"{n}-train-0000-{i:08d}" for n, count in ((0, 14), (1, 18)) for i in range(count)}
    assert {file.name.removesuffix(".nii.gz") for file in (tmp_path / "out" / "labelsTr").iterdir()} == names
    folds = json.loads((tmp_path / "out" / "splits_final.json").read_text())
    who = {name: int(name[-8:]) // 2 for name in names}
    assert sorted(name for fold in folds for name in fold["val"]) == sorted(n for n in names if n[0] == "0")
    for fold in folds:
        held = {who[name] for name in fold["val"]}
        assert set(fold["train"]) == {name for name in names if who[name] not in held}
        assert {7, 8} <= {who[name] for name in fold["train"]}
    lesions.write(real, 2, "val", first=16)
    lesions.write(drawn, 2, "test", first=30)  # which stays where it is
    export_volumes(real, tmp_path / "own", LEARNT, more=[drawn])
    (fold,) = json.loads((tmp_path / "own" / "splits_final.json").read_text())
    assert set(fold["train"]) == {name for name in names if who[name] != 8}
    assert fold["val"] == ["0-val-0000-00000016", "0-val-0000-00000017"]
    assert not (tmp_path / "own" / "imagesTs").exists()


def test_one_subject_is_validated_on_where_what_is_added_is_of_others(tmp_path):
    """nnU-Net itself would deal what is added into the scans that validate."""
    real, drawn = (Store(str(tmp_path / name)) for name in ("real", "drawn"))
    lesions.write(real, 2)
    lesions.write(drawn, 4)
    export_volumes(real, tmp_path / "out", LEARNT, more=[drawn])
    (fold,) = json.loads((tmp_path / "out" / "splits_final.json").read_text())
    assert fold["train"] == ["1-train-0000-00000002", "1-train-0000-00000003"]
    assert fold["val"] == ["0-train-0000-00000000", "0-train-0000-00000001"]
    lesions.write(same := Store(str(tmp_path / "same")), 2)
    told = export_volumes(real, tmp_path / "none", LEARNT, more=[same])
    assert told["notices"] == [
        "all training cases are of one subject, so there are no folds to validate on: train with all"
    ]
    assert not (tmp_path / "none" / "splits_final.json").exists()


def test_scans_are_known_whatever_their_subjects_are_called(tmp_path, monkeypatch):
    """Hashes of names hang on every file of a source; a source with one scan more (the sixth) has others."""
    real, drawn = (Store(str(tmp_path / name)) for name in ("real", "drawn"))
    lesions.write(real, 5)
    meta = lesions.meta
    monkeypatch.setattr(lesions, "meta", lambda i, *how: meta(i, *how) | {"subject": f"other{i // 2}"})
    lesions.write(drawn, 8)
    export_volumes(real, tmp_path / "out", LEARNT, more=[drawn])
    folds = json.loads((tmp_path / "out" / "splits_final.json").read_text())
    for fold in folds:
        sides = [{int(case[-8:]) // 2 for case in fold[side]} for side in ("train", "val")]
        assert sides[0].isdisjoint(sides[1])
        assert sides[0] | sides[1] == {0, 1, 2, 3}
    monkeypatch.setattr(lesions, "meta", meta)
    lesions.write(real, 1, "test", first=7)
    with pytest.raises(ValueError, match="drawn has 1 scan of the split test: what is added must be of others"):
        export_volumes(real, tmp_path / "tested", LEARNT, more=[drawn])
    monkeypatch.setattr(lesions, "meta", lambda *how: meta(*how) | {"subject": ""})
    lesions.write(nameless := Store(str(tmp_path / "nameless")), 3)
    export_volumes(nameless, tmp_path / "folds", LEARNT)
    assert len(json.loads((tmp_path / "folds" / "splits_final.json").read_text())) == 3


def test_what_is_added_is_not_of_those_that_are_tested(store, tmp_path):
    lesions.write(other := Store(str(tmp_path / "other")), 4, spacing=SPACING, first=20)
    with pytest.raises(ValueError, match=r"other has 1 subject of the split test: what is added must be of others"):
        export_volumes(store, tmp_path / "out", LEARNT, more=[other])
    with pytest.raises(ValueError, match="has no split train that other datasets could be added to"):
        export_volumes(store, tmp_path / "out", LEARNT, splits=["test"], more=[other])
    with pytest.raises(ValueError, match="a dataset is given twice"):
        export_volumes(other, tmp_path / "out", LEARNT, more=[other])
    with pytest.raises(ValueError, match="nowhere has no split train; it has none"):
        export_volumes(other, tmp_path / "out", LEARNT, more=[tmp_path / "nowhere"])
    for seed, one in ((7, store), (8, other)):
        one.put("recipe.json", json.dumps({"recipe": {"seed": seed}}).encode())
    with pytest.raises(ValueError, match=r"other was made with seed 8, .* with 7: .* make it again with that one"):
        export_volumes(store, tmp_path / "out", LEARNT, more=[other])
    assert not (tmp_path / "out").exists()


def test_the_same_dataset_gives_the_same_bytes(store, tmp_path):
    def hashes(name):
        export_volumes(store, tmp_path / name, LEARNT)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        return [(path.relative_to(tmp_path / name), hashlib.sha256(path.read_bytes()).digest()) for path in files]

    assert hashes("a") == hashes("b")


def test_no_subject_is_named(store, tmp_path):
    export_volumes(store, tmp_path / "out", LEARNT)
    for path in (tmp_path / "out").rglob("*"):
        assert f"{0:016x}" not in path.name
        assert path.is_dir() or f"{1:016x}".encode() not in path.read_bytes()


def test_nnunet_s_own_check_is_content(store, tmp_path, capfd):
    name = "nnunetv2.experiment_planning.verify_dataset_integrity"
    check = pytest.importorskip(name, reason="nnU-Net is not installed: pip install -e '.[nnunet]'")
    folder = tmp_path / "Dataset001_toy"
    export_volumes(store, folder, ORGANS | LEARNT)
    check.verify_dataset_integrity(str(folder), 1)
    said = capfd.readouterr().out
    assert "verify_dataset_integrity Done" in said
    assert "Error" not in said
    assert "Warning: " not in said
    simpleitk = pytest.importorskip("SimpleITK")  # nnU-Net's reader, whose axes are LPS
    image = simpleitk.ReadImage(str(folder / "imagesTr" / "train-0000-00000002_0000.nii.gz"))
    assert np.allclose(image.GetDirection(), np.eye(3).ravel(), atol=1e-6)
    assert np.allclose(image.GetOrigin(), ORIGIN, atol=1e-4)
    assert image.GetPixel(5, 9, 14) == lesions.fields(2)["ct.npy"][5, 9, 14]
    body = json.loads((folder / "dataset.json").read_text())
    del body["labels"]["pancreas_tumour"]
    (folder / "dataset.json").write_text(json.dumps(body))
    with pytest.raises(RuntimeError, match="unexpected labels"):
        check.verify_dataset_integrity(str(folder), 1)


def test_mistakes_are_named(store, tmp_path, monkeypatch):
    to = tmp_path / "out"
    with pytest.raises(ValueError, match="has no label spleen in its legend; it has liver, kidney"):
        export_volumes(store, to, {"spleen": ["spleen"]})
    with pytest.raises(ValueError, match="each in one class"):
        export_volumes(store, tmp_path / "b", {"a": ["liver"], "b": ["liver"]})
    with pytest.raises(ValueError, match="no background"):
        export_volumes(store, tmp_path / "c", {"background": ["liver"]})
    with pytest.raises(ValueError, match=r"volumes need an array source_ct"):
        export_volumes(store, tmp_path / "d", LEARNT, image="source_ct")
    with pytest.raises(ValueError, match="is not empty"):
        export_volumes(store, tmp_path / "made", LEARNT)
    meta = lesions.meta
    for n, (name, wrong, reason) in enumerate(
        [
            ("origin_lps_mm", None, "do not place a volume"),
            ("spacing_mm", ["a", 1, 1], "json needs legend"),
            ("legend", ["liver"], "json needs legend"),
            ("spacing_mm", [1, 1, 0], "do not place a volume"),
            ("spacing_mm", [1, 1], "json needs legend"),
        ]
    ):
        monkeypatch.setattr(lesions, "meta", lambda *told, wrong={name: wrong}: meta(*told) | wrong)
        lesions.write(lost := Store(str(tmp_path / f"lost{n}")), 1)
        with pytest.raises(ValueError, match=reason):
            export_volumes(lost, tmp_path / "f", LEARNT)
        with pytest.raises(ValueError, match=reason):
            export_volumes(store, tmp_path / "g", LEARNT, more=[lost])
        assert not (tmp_path / "g").exists()
