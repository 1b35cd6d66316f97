"""Copy and paste: real lesions, unchanged, of other subjects, where they fit."""

from dataclasses import replace

import numpy as np
import pytest

from lesionforge.generators.lesion.classes import VALUE
from lesionforge.generators.types import BadCase, SampleSpec, Volume
from lesionforge.jobs.tasks.segmentation import copy_paste
from lesionforge.jobs.tasks.segmentation.copy_paste import GROW, TURNS, CopyPaste, CopyPasteParams, cut_out, paste

LIVER, TUMOUR = VALUE["liver"], VALUE["liver_tumour"]
SHAPE = (40, 36, 32)


def organ(seed):
    """Tissue with a slope and a grain of its own, all of it liver but for a rim."""
    rng = np.random.default_rng(seed)
    hu = (100 + 2 * np.indices(SHAPE)[0] + rng.normal(0, 6, SHAPE)).astype(np.int16)
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:-4, 4:-4, 4:-4] = LIVER
    return hu, labels


def with_lesion(at, seed=0):
    hu, labels = organ(seed)
    box = tuple(slice(a, a + n) for a, n in zip(at, (4, 6, 3), strict=True))
    hu[box], labels[box] = 40, TUMOUR
    return hu, labels, box


def test_a_lesion_goes_back_to_where_it_was_cut():
    hu, labels, _ = with_lesion((14, 12, 15))
    (cut,), _ = cut_out(hu, labels)
    healthy, plain = organ(0)
    found = paste(np.random.default_rng(1), cut, healthy, plain, np.zeros(SHAPE, bool))
    assert found
    at = np.argwhere(plain == TUMOUR)
    # the slope tells along i alone, and noise the rest: the best of 300 places and 16 turns lies level with the old one
    assert abs(at[:, 0].mean() - 15.5) < 2
    assert (plain == TUMOUR).sum() == (labels == TUMOUR).sum()
    assert set(healthy[plain == TUMOUR].tolist()) == {40}


def test_nothing_changes_beyond_the_cut():
    hu, labels, _ = with_lesion((14, 12, 15))
    (cut,), _ = cut_out(hu, labels)
    after, named = organ(5)
    before, taken = after.copy(), np.zeros(SHAPE, bool)
    assert paste(np.random.default_rng(2), cut, after, named, taken)
    changed = np.argwhere(after != before)
    lesion = np.argwhere(named == TUMOUR)
    assert (lesion.min(0) - changed.min(0)).max() <= GROW + 3
    assert (changed.max(0) - lesion.max(0)).max() <= GROW + 3
    taken[:] = True
    assert not paste(np.random.default_rng(2), cut, after, named, taken)


@pytest.mark.parametrize("turn", TURNS)
def test_turns_keep_the_anchor(turn):
    hu, labels, _ = with_lesion((14, 12, 15))
    hu[14, 12, 15] = 999  # a corner, the anchor from now on
    (cut,), _ = cut_out(hu, labels)
    marked = tuple(int(v) for v in np.argwhere(cut.hu == 999)[0])
    one = type(cut)(cut.hu, cut.labels, cut.moves, cut.shell, marked, cut.home).turned(turn)
    assert one.hu[one.anchor] == 999


def test_lesions_are_of_other_subjects(balls, monkeypatch):
    """Every donor's ball has a size of its own class and HU; a subject gets none of its own, of no scan of its."""
    monkeypatch.setattr(copy_paste, "home", lambda name: "liver")  # toys mark no vessel
    generator = CopyPaste(CopyPasteParams(balls["real"]))
    generator.prepare("cpu")
    donors = {number: {int(cut.labels.max()) for cut in cuts} for number, _, cuts in generator._cuts}
    assert len(donors) >= 4  # of six: none at the border
    own = next(iter(donors))
    generator._cuts = [each for each in generator._cuts if each[0] == own]
    who = generator._cuts[0][1]
    hu, labels = organ(3)
    volume = Volume("a", "b", "none", hu, (1.0, 1.0, 1.0), (0, 0, 0), labels, {LIVER: "liver"})
    other = SampleSpec("s", "train", 0, 0, own + 1, None, b"k" * 32)
    made, again = generator.make(volume, other), generator.make(volume, other)
    assert set(np.unique(made.fields["label.npy.zst"])) == {0, LIVER, *donors[own]}
    np.testing.assert_array_equal(made.fields["ct.delta.npy.zst"], again.fields["ct.delta.npy.zst"])
    with pytest.raises(BadCase, match="no other subject has a lesion"):
        generator.make(volume, SampleSpec("s", "train", 0, 0, own, None, b"k" * 32))
    with pytest.raises(BadCase, match="no other subject has a lesion"):
        generator.make(replace(volume, subject=who), other)


def test_what_keeps_lesions_from_being_moved_is_said(balls):
    """The toys' vessels are not labelled, and some balls lie at the border."""
    generator = CopyPaste(CopyPasteParams(balls["real"]))
    generator.prepare("cpu")
    assert generator._cuts == []
    hu, labels = organ(3)
    volume = Volume("a", "b", "none", hu, (1.0, 1.0, 1.0), (0, 0, 0), labels, {LIVER: "liver"})
    with pytest.raises(BadCase) as refused:
        generator.make(volume, SampleSpec("s", "train", 0, 0, 0, None, b"k" * 32))
    said = str(refused.value)
    assert "can be moved" in said
    assert "of the donors' plaques have no voxel labelled coronary within 4 voxels of them" in said
    hu, labels, _ = with_lesion((14, 12, 1))
    assert cut_out(hu, labels) == ([], {"lesions lie at the border of the scan": 1})


@pytest.mark.parametrize("reach", [2, 12])
def test_lesions_that_are_there_stay(reach):
    """A pasted one lies beside the subject's own; within two voxels of it there is no room."""
    generator = CopyPaste(CopyPasteParams("nowhere"))
    hu, labels, _ = with_lesion((14, 12, 15), seed=4)
    generator._cuts = [(9, "another", cut_out(hu, labels)[0])]
    own, marks, box = with_lesion((20, 14, 14), seed=4)
    near = tuple(slice(s.start - reach, s.stop + reach) for s in box)
    liver = np.zeros(SHAPE, np.uint8)
    liver[near] = marks[near]
    legend = {LIVER: "liver", TUMOUR: "liver_tumour"}
    volume = Volume("a", "b", "none", own, (1.0, 1.0, 1.0), (0, 0, 0), liver, legend)
    made = generator.make(volume, SampleSpec("s", "train", 0, 0, 0, None, b"k" * 32))
    ct, label = made.fields["ct.delta.npy.zst"], made.fields["label.npy.zst"]
    np.testing.assert_array_equal(ct[box], own[box])
    assert (label == TUMOUR).sum() == 72 * (1 + (reach > 2))
