"""Which frames an arm learns from."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.detection.arms import Arm, sized, training_set
from lesionforge.jobs.tasks.detection.frames import CLASSES
from tests.jobs.tasks.detection.worlds import frame

IMAGE, BARE = np.ones((64, 64), np.uint8), np.zeros((64, 64), np.uint8)


def pool(count=40, per_frame=8, missing=()):
    """A third of the real lesions is severe; every frame has as many moderate as severe samples."""
    real = [frame([[0, 0, 9, 9]], [i % 3 == 0], image=BARE, subject=f"r{i}") for i in range(count)]
    samples = [
        frame(
            [[0, 0, 9, 9], [20, 20, 40, 40]],
            [i % 3 == 0, k % 2],
            image=IMAGE,
            subject=f"r{i}",
            drawn=[False, True],
            target=CLASSES[k % 2],
            sample_id=f"{i}-{k}",
            source_image=BARE,
        )
        for i in range(count)
        for k in range(per_frame)
        if i not in missing
    ]
    return real, samples


def drawn(name, size=20, seed=0, **options):
    return training_set(Arm.parse(name), size, seed, *pool(**options), 0.5)


def ids(some):
    return [f.sample_id or f.source_id for f in some]


def test_every_arm_of_a_seed_has_the_same_real_frames_and_other_seeds_have_others():
    names = ["real", "x1", "x4", "x4-natural", "x4-placebo"]
    per_arm = [ids(drawn(name).real) for name in names]
    assert all(own == per_arm[0] for own in per_arm)
    assert len(set(per_arm[0])) == 20
    assert set(ids(drawn("real", seed=1).real)) != set(per_arm[0])


@pytest.mark.parametrize("times", [1, 2, 4])
def test_n_times_the_real_frames_balanced_from_the_same_frames_only(times):
    got = drawn(f"x{times}")
    assert len(got.synthetic) == len(set(ids(got.synthetic))) == times * 20 == got.notes["wanted"]
    assert Counter(f.target for f in got.synthetic) == {"moderate": times * 10, "severe": times * 10}
    per_frame = Counter(f.source_id for f in got.synthetic)
    assert per_frame == {f.source_id: times for f in got.real}


def test_smaller_sets_are_parts_of_larger_ones():
    assert set(ids(drawn("x1").synthetic)) < set(ids(drawn("x2").synthetic)) < set(ids(drawn("x4").synthetic))


def test_natural_has_the_real_lesions_class_ratio_and_the_same_total():
    got = drawn("x4-natural")
    severe = np.mean([f.classes[0] == 1 for f in got.real])
    assert len(got.synthetic) == 80
    assert sum(f.target == "severe" for f in got.synthetic) == round(80 * severe)


def test_placebo_has_the_balanced_samples_labels_over_untouched_frames():
    made, placebo = drawn("x4").synthetic, drawn("x4-placebo").synthetic
    assert ids(made) == ids(placebo)
    for a, b in zip(made, placebo, strict=True):
        assert np.array_equal(a.boxes, b.boxes)
        assert len(a.boxes) == 2
        assert np.array_equal(b.image, BARE)
        assert not np.array_equal(a.image, b.image)


def test_synthetic_only_has_no_real_frame_and_no_real_label():
    got = drawn("x4-synthetic")
    assert not got.real
    assert all(f.drawn.all() and len(f.boxes) == 1 and len(f.ignore) == 1 for f in got.synthetic)


def test_frames_without_samples_are_made_up_for_by_others():
    got = drawn("x4", missing=range(0, 40, 5))
    assert len(got.synthetic) == 80
    assert Counter(f.target for f in got.synthetic) == {"moderate": 40, "severe": 40}


def test_a_pool_too_small_and_an_unknown_arm_are_named():
    with pytest.raises(UsageError, match="50 real frames"):
        drawn("real", size=50)
    with pytest.raises(UsageError, match="x4-blue"):
        Arm.parse("x4-blue")


def test_frames_without_a_vessel_mask_are_not_drawn_from():
    real, samples = pool()
    real[3] = replace(real[3], masked=False)
    got = training_set(Arm.parse("x1"), None, 0, real, samples, 0.5)
    assert len(got.real) == 39
    assert real[3].source_id not in ids(got.real)
    assert got.notes == {"wanted": 39, "boxes": {"real": 39 + 39, "drawn": 39}}


def test_drawn_boxes_get_the_real_boxes_sizes_rank_by_rank_about_their_own_centres():
    rng = np.random.default_rng(0)
    corner, real_side, side = rng.uniform(0, 99, (60, 2)), rng.normal(50, 8, 60), rng.permutation(60) + 20.0
    real = [frame([[0, 0, s, s]], [0], image=BARE) for s in real_side]
    known = [100, 100, 133, 144]
    made = [
        frame([[*c, *(c + s)], known], [1, 0], image=IMAGE, drawn=[True, False])
        for c, s in zip(corner, side, strict=True)
    ]
    got = sized(made, real)
    assert all(np.array_equal(g.boxes[1], known) for g in got)
    boxes = np.array([g.boxes[0] for g in got])
    assert np.allclose((boxes[:, :2] + boxes[:, 2:]) / 2, corner + side[:, None] / 2, atol=1e-3)
    new = boxes[:, 2] - boxes[:, 0]
    assert np.array_equal(np.argsort(new), np.argsort(side))
    assert np.allclose(np.sort(new), np.sort(real_side), atol=1e-3)
    assert sized(made, [])[0] is made[0]
