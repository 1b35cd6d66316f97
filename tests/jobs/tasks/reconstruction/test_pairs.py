import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators.types import SPLITS
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.reconstruction.pairs import papers, stored_pairs
from lesionforge.sinks.reader import Samples
from tests.jobs.tasks.reconstruction import worlds
from tests.jobs.tasks.reconstruction.worlds import GRID, SIZE


def test_a_pair_is_what_the_shards_hold(trees):
    items = worlds.pairs(trees)
    stored = Samples(trees, split="train")
    assert [item.sample for item in items] == stored.keys
    for item, sample in zip(items, stored, strict=True):
        pair, record = item.read(), sample["json"]
        for n, shadow in enumerate(pair.shadows):
            assert np.array_equal(shadow * 255, sample[f"view{n}.png"])
        assert np.array_equal(pair.truth, sample[f"volume{SIZE}.npy.zst"])
        assert pair.grid.extent_mm == pytest.approx((GRID * record["spacing_mm"],) * 3)
        assert (item.side, item.subject, item.view_count) == (pair.side, pair.subject, len(pair.views))
        assert record["occupancy"]  # the rule that its cells were made by
        assert item.source_id == pair.source_id == record["source_id"]


def test_a_list_of_pairs_holds_no_pictures(trees):
    """A thousand pairs of 512 x 512 pixels and 128^3 cells would be gigabytes."""
    items = worlds.pairs(trees)
    one = len(pickle.dumps(items[0]))
    assert (len(pickle.dumps(items)) - one) / (len(items) - 1) < 1000
    again = pickle.loads(pickle.dumps(items))  # as Ray and loaders send them
    assert np.array_equal(again[3].read().target, items[3].read().target)


@pytest.mark.parametrize(("n", "size"), [(GRID, SIZE), (40, 40), (40, 20), (13, 7)])
def test_the_paper_s_target_is_trilinear_sampling_above_nothing(n, size):
    volume = np.random.default_rng(n).random((n, n, n)) < 0.02
    at = (np.arange(size) + 0.5) * n / size - 0.5
    grid = np.stack(np.meshgrid(at, at, at, indexing="ij"))
    expected = ndimage.map_coordinates(volume.astype(float), grid, order=1, mode="nearest") > 1e-9
    assert np.array_equal(papers(volume.astype(np.uint8), size), expected)


def test_both_rules_and_the_full_grid(trees):
    by_rule = {rule: [item.read() for item in worlds.pairs(trees, rule=rule)] for rule in ("paper", "half")}
    for paper, half in zip(*by_rule.values(), strict=True):
        assert paper.target.sum() > 1.4 * half.target.sum()
        assert (half.truth >= 0.5).sum() == half.target[half.truth >= 0.5].sum()
        assert not half.target[half.truth == 0].any()
    for rule in ("paper", "half"):
        pair = worlds.pairs(trees, size=GRID, rule=rule)[0].read()
        assert np.array_equal(pair.target, Samples(trees, split="train")[0][f"volume{GRID}.npy.zst"] > 0)


def test_splits_are_by_subject_with_both_arteries_on_one_side(trees):
    """G7: the paper's left tree of a patient may be learnt from while his right one is scored."""
    by = {split: {(item.subject, item.side) for item in worlds.pairs(trees, split)} for split in SPLITS}
    subjects = {split: {subject for subject, _ in found} for split, found in by.items()}
    assert sum(map(len, subjects.values())) == len(set().union(*subjects.values())) == 6
    for split, found in by.items():
        assert found == {(subject, side) for subject in subjects[split] for side in ("left", "right")}


def test_a_side_alone(trees):
    for side in ("left", "right"):
        assert {item.side for item in worlds.pairs(trees, side=side)} == {side}


def test_what_a_dataset_lacks_is_said(trees):
    with pytest.raises(
        UsageError, match=r"--real: .*no truth on 32 cells.*resample=32, or train with --set size=\d+ or 40"
    ):
        worlds.pairs(trees, size=32)
    there = Samples(trees, split="train")
    lines = SimpleNamespace(store=there.store, split="train", members=["json", "view0.npy", "view1.npy"])
    with pytest.raises(UsageError, match=r"have no view0.png: .*image=silhouette or xray"):
        next(stored_pairs(lines, SIZE, "paper"))
