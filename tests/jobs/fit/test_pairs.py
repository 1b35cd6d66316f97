"""Crops to fit on, from shards as the stenosis generator writes them."""

import pickle

import numpy as np
import pytest

from lesionforge.generators.stenosis.diffusion.crop import HIDDEN
from lesionforge.generators.stenosis.diffusion.preset import PRESETS
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.fit.pairs import MARGIN, Pairs
from lesionforge.sinks.reader import Samples
from lesionforge.sinks.store import Store
from tests.sinks import stenoses

CROP, SHAPE = 64, (4, 32, 32)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("made"))
    stenoses.write(Store(folder), 12)
    stenoses.write(Store(folder), 3, split="val")
    return folder


def pairs(place, split="train", seed=0, empty=0.0):
    return Pairs([place], split, seed, CROP, SHAPE, 1000, empty)


def test_a_crop_is_a_function_of_seed_and_number(place):
    one, again, other = pairs(place), pickle.loads(pickle.dumps(pairs(place))), pairs(place, seed=1)
    for n in (5, 0, 10**9):
        a, b = one[n], again[n]
        assert a["prompt"] == b["prompt"]
        assert all(np.array_equal(a[name], b[name]) for name in a if name != "prompt")
    assert not np.array_equal(one[5]["noise"], other[5]["noise"])
    assert not np.array_equal(one[5]["noise"], pairs(place, "val")[5]["noise"])


def test_crops_come_from_the_frames_their_masks_and_their_drawn_lesions(place):
    """Every image crop is found in some frame at the very place where the mask crop is found in its mask."""
    frames = [(s["image.png"], s["mask.png"] > 0) for s in Samples(place, split="train")]
    for n in range(20):
        item = pairs(place)[n]
        image = np.rint((item["image"][0] + 1) * 127.5).astype(np.uint8)
        rows = slice(8, 56)  # frames of 48 rows in crops of 64: mirrored above and below
        found = [np.array_equal(image[rows], f) and np.array_equal(item["mask"][0][rows] > 0, m) for f, m in frames]
        assert sum(found) == 1
        hole = item["hole"][0] > 0
        assert (item["shown"][0][hole] == HIDDEN).all()
        assert (item["shown"][0][~hole] >= 0).all()
        assert not hole[:8].any()
        assert not hole[56:].any()
        assert item["noise"].shape == SHAPE
        assert 0 <= item["time"] < 1000


def test_drawn_lesions_are_in_their_boxes_and_healthy_places_away_from_all(place):
    drawn = healthy = 0
    for n in range(60):
        item = pairs(place)[n]
        hole = item["hole"][0, 8:56] > 0
        if "no stenosis" in item["prompt"]:
            healthy += 1
        else:
            drawn += 1
            assert hole[8:44, 28:57].all()  # the edit box of the fixture's drawn lesion, grown
            assert hole.sum() <= (36 + 16) * (29 + 16)
            assert "coronary artery" in item["prompt"]
    assert drawn > 10
    assert healthy > 10


def test_prompts_are_emptied_at_the_asked_rate(place):
    some = pairs(place, empty=0.5)
    share = np.mean([some[n]["prompt"] == "" for n in range(200)])
    assert abs(share - 0.5) < 4 * np.sqrt(0.25 / 200)
    assert all(pairs(place)[n]["prompt"] for n in range(20))


def test_a_box_that_does_not_fit_the_crop_is_no_pair(place):
    small = Pairs([place], "train", 0, 32, (4, 16, 16), 1000, 0.0)  # the lesions are 36 px long
    for n in range(20):
        item = small[n]
        assert "no stenosis" in item["prompt"]
        assert item["image"].shape == (1, 32, 32)
        assert item["hole"].sum() > 0
    assert MARGIN * 2 + 36 > 32


def test_what_is_no_dataset_is_named(place, tmp_path):
    with pytest.raises(UsageError, match="has no split test; it has "):
        pairs(place, "test")
    with pytest.raises(UsageError, match="holds no dataset with samples"):
        pairs(str(tmp_path))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_quarter_of_the_drawn_lesions_fit_into_every_preset_s_crop(preset):
    """Edit boxes of 750 lesions on ARCADE's frames: 33 px at the fifth percentile, 45 at the 25th, 59 at the median."""
    assert PRESETS[preset].settings.crop - 2 * MARGIN >= 45
