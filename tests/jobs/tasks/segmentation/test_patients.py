"""The experiment on somebody's own CT: who is learnt from and who is scored on, what is drawn, what cannot be."""

import shutil

import nibabel as nib
import numpy as np
import pytest

from lesionforge.engine.dataset import DatasetError
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.segmentation import arms
from lesionforge.jobs.tasks.segmentation.patients import cohort
from lesionforge.sinks.reader import Samples
from tests.jobs.fit.balls import ball

SHAPE = (36, 32, 28)
LITS = {"layout": "lits"}


def scan(folder, number, radius=3, spacing=3.0, organ=1):
    """A liver in fat, with a tumour of its own where ``radius`` is not 0; its label is ``organ``."""
    rng = np.random.default_rng(number)
    labels = ball(SHAPE, (18, 16, 14), 12).astype(np.uint8)
    labels[ball(SHAPE, (18 + number % 3, 12 + number, 14), radius) & (radius > 0)] = 2
    hu = np.array([-90.0, 110.0, 60.0])[labels] + rng.normal(0, 6, SHAPE)
    labels[labels == 1] = organ
    for name, array in (("volume", hu.astype(np.int16)), ("segmentation", labels)):
        image = nib.Nifti1Image(array, np.diag([-spacing, -spacing, spacing, 1]))
        nib.save(image, folder / f"{name}-{number}.nii.gz")


def prepare(folder, out, wanted=("real",), share=0.34, domain="tumours", tell=lambda line: None):
    found = cohort(f"ct:{folder}", LITS, domain, share, "cpu")
    return arms.prepare(found, out, out / "test", wanted, 2, tell)


def seen(place, split="train"):
    """Of every sample: whose, of which pixels, and the voxels of each label."""
    samples = Samples(place, split=split)
    for sample in map(samples.__getitem__, range(len(samples))):
        told, (label,) = sample["json"], (array for name, array in sample.items() if name.startswith("label."))
        counts = {name: int((label == int(value)).sum()) for value, name in told["legend"].items()}
        yield told["subject"], told["source_id"], {name: count for name, count in counts.items() if count}


def test_every_stage_is_of_the_same_patients(tmp_path, monkeypatch):
    folder, out, fitted = tmp_path / "ct", tmp_path / "out", {}
    folder.mkdir()
    for number in range(4):
        scan(folder, number)
    for name in ("volume", "segmentation"):  # one patient, in two files
        shutil.copy(folder / f"{name}-0.nii.gz", folder / f"{name}-4.nii.gz")

    def fit(room, arm, classes, window, steps, given, tell):
        fitted.update(given, preset=arm.preset, only=classes, window=window, steps=steps)
        return room / arm.kind

    make = arms.datasets.made
    monkeypatch.setattr(arms, "_fitted", fit)
    monkeypatch.setattr(arms.datasets, "made", lambda at, *rest, **how: 0 if "-voxel" in at else make(at, *rest, **how))
    lines = []
    wanted = ["real", "copy-paste", "texture", "promptlesion-voxel", "difftumor-kidney"]
    study, there = prepare(folder, out, wanted, tell=lines.append)
    assert there == wanted[:3]
    assert "promptlesion-voxel is left out: it has no sample" in lines
    assert "difftumor-kidney: no subject has a lesion of kidney" in lines
    assert {name: fitted[name] for name in ("preset", "window", "steps", "classes", "only")} == {
        "preset": "voxel", "window": "abdomen", "steps": 2, "classes": ("liver_early",), "only": ("liver_early",),
    }  # fmt: skip
    assert fitted["data"] == (study.real.uri,)
    assert (study.real.split, study.test.split, study.changes) == ("train", "test", {"domain": "abdomen"})

    learnt, scored = list(seen(study.real.uri)), list(seen(study.test.uri, "test"))
    assert len(learnt) + len(scored) == 5
    assert len({who for who, *_ in learnt}) + len({who for who, *_ in scored}) == 4
    for n in range(2):  # neither by name nor by pixels in both
        assert {one[n] for one in learnt}.isdisjoint({one[n] for one in scored})
    own = {pixels: counts["liver_tumour"] for _, pixels, counts in learnt}
    for name, drawn in (("copy-paste", "liver_tumour"), ("texture", "liver_early")):
        made = list(seen(study.synthetic[name].uri))
        assert {pixels for _, pixels, _ in made} <= own.keys()
        more = [counts["liver_tumour"] - own[pixels] + counts.get("liver_early", 0) for _, pixels, counts in made]
        assert min(more) >= 0
        assert sum(count > 0 for count in more) >= len(more) / 2
        assert all(counts.get(drawn) for *_, counts in made)

    prepare(folder, out)  # nothing has changed
    with pytest.raises(UsageError, match=r"shares of the subjects: test 0.34, train 0.66; now they are test 0.5,"):
        prepare(folder, out, share=0.5)
    scan(folder, 9)
    with pytest.raises(DatasetError, match="choose another --out"):  # who is learnt from may be others by now
        prepare(folder, out)


def test_what_cannot_be_is_said_before_anything_is_fitted(tmp_path):
    folder = tmp_path / "ct"
    folder.mkdir()
    scan(folder, 0)
    with pytest.raises(UsageError, match=r"has 1 subject, of which --test-share 0.34 leaves 1 to learn from and 0 to"):
        prepare(folder, tmp_path / "one")
    with pytest.raises(UsageError, match="is no source: give your own CT with lesion labels with its scheme, as ct:"):
        cohort(str(folder), {}, "tumours", 0.3, "cpu")
    scan(folder, 1, radius=0)
    with pytest.raises(UsageError, match=r"the scans to (learn from|score on) mark no tumours, but none at all: give"):
        prepare(folder, tmp_path / "healthy", share=0.5)
    scan(folder, 1)
    with pytest.raises(UsageError, match="the scans to learn from mark no plaques, but liver_early: give another --do"):
        prepare(folder, tmp_path / "plaques", share=0.5, domain="plaques")
    with pytest.raises(UsageError, match="arm 'placebo' is unknown here; give some of real, copy-paste, texture, "):
        prepare(folder, tmp_path / "arms", ["placebo"], share=0.5)
    bare = tmp_path / "bare"
    bare.mkdir()
    for number in range(2):
        scan(bare, number, organ=0)
    with pytest.raises(UsageError, match="near none of them is a voxel of its organ or vessel labelled: label it, and"):
        prepare(bare, tmp_path / "organ", share=0.5)
    scan(folder, 1, spacing=2.0)
    with pytest.raises(UsageError, match=r"3.0\] mm, and all need the same: give --option spacing_mm=\[2.5, 2.5, 2.5"):
        prepare(folder, tmp_path / "voxels", share=0.5)
