from dataclasses import replace

import numpy as np
import pytest

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.reconstruction.measures import SIDES
from lesionforge.jobs.tasks.reconstruction.metrics import dice
from lesionforge.jobs.tasks.reconstruction.models import learner as learning
from lesionforge.jobs.tasks.reconstruction.models.features import tokens
from lesionforge.jobs.tasks.reconstruction.models.learner import opened_learner
from lesionforge.jobs.tasks.reconstruction.models.sparse_learner import SparseLearner
from lesionforge.jobs.tasks.reconstruction.models.viterbi import ViterbiLearner
from lesionforge.jobs.tasks.reconstruction.settings import SparseSettings, ViterbiSettings
from lesionforge.jobs.tasks.reconstruction.task import Reconstruction
from tests.jobs.tasks.reconstruction import worlds

TOY = {"channels": (8, 12, 16), "steps": 4, "warmup": 2, "held": 0.25}


def learnt(pairs, **changes):
    learner = SparseLearner(SparseSettings(**TOY | changes))
    learner.fit([], pairs, 0, 0)
    return learner


def test_it_learns_what_a_view_shows(pairs):
    """Asked for the cells that lie a millimetre within the first shadow, it finds them, in the hull alone."""
    asked = []
    for pair in pairs[:4]:
        found = tokens(pair)
        core = np.zeros(pair.grid.shape, bool)
        core[tuple(found.cells[found.features[:, 0] > 0.5].T)] = True
        asked.append(replace(pair, paper=core))
    learner = learnt(asked, steps=60, rate=5e-3, average=0.8)
    gains = []
    for pair in asked:
        found = learner.predict(pair)
        assert not found[~pair.hull].any()
        gains.append(dice(pair.target, found >= learner.threshold) - dice(pair.target, pair.hull))
    assert np.mean(gains) > 0.2


def test_a_file_holds_all_that_it_says(pairs, tmp_path):
    learner = learnt(pairs)
    learner.save(tmp_path / "m.safetensors")
    again = opened_learner(tmp_path / "m.safetensors", "cpu")
    assert again.threshold == learner.threshold
    assert again.settings == learner.settings
    assert np.array_equal(again.predict(pairs[1]), learner.predict(pairs[1]))
    (tmp_path / "other").write_bytes(b"no weights")
    with pytest.raises(UsageError, match="other"):
        opened_learner(tmp_path / "other", "cpu")


def test_the_same_seed_learns_the_same_and_goes_on_where_it_was(pairs, tmp_path):
    class Stop(Exception):
        pass

    def stop(step, of, loss):
        if step == 2:
            raise Stop

    whole = learnt(pairs)
    parted = SparseLearner(SparseSettings(**TOY))
    with pytest.raises(Stop):
        parted.fit([], pairs, 0, 0, tmp_path / "run", stop)
    parted.fit([], pairs, 0, 0, tmp_path / "run")
    assert np.array_equal(parted.predict(pairs[0]), whole.predict(pairs[0]))


def test_the_threshold_is_of_subjects_that_it_did_not_learn_from(pairs):
    """Both trees of a subject are on one side, and what the others' truth says does not move it."""
    held = learning.held_subjects(pairs, 0.25, 0)
    assert len(held) == 1
    learner = learnt(pairs)
    own = [pair for pair in pairs if pair.subject in held]
    means = [np.mean([dice(pair.target, learner.predict(pair) >= t) for pair in own]) for t in learning.THRESHOLDS]
    assert learner.threshold == learning.THRESHOLDS[int(np.argmax(means))]


def test_one_subject_is_not_enough(pairs):
    with pytest.raises(UsageError, match="give two or more"):
        learnt(pairs[:2])


def test_views_that_leave_nothing_are_answered(pairs):
    """Shadows of different trees may have no cell in common: no tree, not a failure."""
    learner = learnt(pairs)
    dark = replace(pairs[0], shadows=tuple(0 * shadow for shadow in pairs[0].shadows))
    assert not learner.predict(dark).any()


@pytest.fixture(scope="module")
def stored(trees):
    """Pairs that stay in their shards."""
    return worlds.pairs(trees)


def test_shards_memory_and_loaders_train_the_same_network(stored, monkeypatch):
    once, pair = learnt(stored), stored[0].read()
    held = learnt([item.read() for item in stored])
    assert np.array_equal(once.predict(pair), held.predict(pair))
    assert once.threshold == held.threshold
    monkeypatch.setattr(learning, "KEPT", 0)  # nothing stays from one round to the next
    assert np.array_equal(learnt(stored, loaders=1).predict(pair), once.predict(pair))


def test_a_training_goes_on_with_what_it_began_with(trees, stored, tmp_path):
    learner = SparseLearner(SparseSettings(**TOY))
    learner.fit([], stored, 0, 0, tmp_path)
    learner.fit([], stored, 0, 0, tmp_path)  # it is whole
    with pytest.raises(UsageError, match="hash"):
        learner.fit([], worlds.pairs(trees, rule="half"), 0, 0, tmp_path)


def test_views_are_told_by_the_pairs_and_by_the_file(pairs, tmp_path):
    three = [replace(p, views=(*p.views, p.views[0]), shadows=(*p.shadows, p.shadows[0])) for p in pairs[:4]]
    learner = learnt(three)
    learner.options = {"size": 32}
    learner.save(tmp_path / "m.safetensors")
    again = opened_learner(tmp_path / "m.safetensors", "cpu")
    assert (again.views, again.options) == (3, {"size": 32})
    assert again.sides == SIDES
    assert np.array_equal(again.predict(three[1]), learner.predict(three[1]))
    with pytest.raises(UsageError, match="trained on 3 views, the pair has 2: give data of 3 views"):
        again.predict(pairs[0])
    with pytest.raises(UsageError, match="pairs of 2 and of 3 views: one network takes one number"):
        learnt([*pairs, *three])


def test_the_sides_it_learnt_from_are_told_by_the_file(pairs, tmp_path):
    for made in (SparseLearner(SparseSettings(**TOY | {"steps": 1})), ViterbiLearner(ViterbiSettings())):
        made.fit([], [pair for pair in pairs if pair.side == "right"], 0, 0)
        made.save(tmp_path / "m.safetensors")
        again = opened_learner(tmp_path / "m.safetensors", "cpu")
        told = "the model learnt from right trees alone: what it makes of left ones is not to be trusted"
        assert again.sides == ("right",)
        assert Reconstruction().doubts(again, pairs) == [told]
        assert not Reconstruction().doubts(again, [pair for pair in pairs if pair.side == "right"])


def test_what_is_kept_is_bounded_and_small(pairs):
    """2,000 subjects are 4,000 pairs; on 60 cells an edge 2,000 to 9,000 tokens each: 1.6 GB."""
    learner, made = SparseLearner(SparseSettings(**TOY)), []

    def prepared(pair):
        made.append(pair.sample)
        return learner.prepared(pair)

    row = learner.prepared(pairs[0])
    assert sum(part.nbytes for part in row[:4]) <= 71 * len(row[0])
    for kept, times in ((0, [3] * 4), (1, [1, 3, 3, 3]), (10**9, [1] * 4)):
        made.clear()
        rows = learning._Rows(pairs[:4], 12, 0, prepared, kept)
        assert len([rows[n] for n in range(12)]) == 12
        assert sorted(map(made.count, set(made))) == times
