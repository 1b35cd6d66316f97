"""The order of an epoch and its split over ranks and workers, against brute force."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lesionforge.sinks.reader.order import Split, epoch_order, permutation, quotas


def test_permutation_stays_what_it_is():
    """A checkpoint of yesterday must find its place: these numbers may never change."""
    assert permutation(10, seed=1, epoch=2).tolist() == PINNED
    assert permutation(0, 1, 2).tolist() == []


PINNED = [4, 2, 0, 6, 1, 5, 9, 8, 7, 3]


def test_permutation_is_uniform_and_depends_on_every_argument():
    firsts = Counter(int(permutation(8, seed, 0)[0]) for seed in range(4000))
    assert stats.chisquare([firsts[i] for i in range(8)]).pvalue > 1e-3
    base = permutation(1000, 1, 2)
    assert sorted(base) == list(range(1000))
    for other in (
        permutation(1000, 2, 2),
        permutation(1000, 1, 3),
        permutation(1000, 1, 2, 1),
        permutation(1000, 1, 2, 0, 1),
    ):
        assert abs(stats.spearmanr(base, other).statistic) < 0.12
    assert abs(stats.spearmanr(base, np.arange(1000)).statistic) < 0.12


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    laps=st.lists(st.floats(0.1, 3), min_size=4, max_size=4),
    seed=st.integers(0, 2**64 - 1),
)
@settings(max_examples=60, deadline=None)
def test_every_stretch_holds_the_groups_in_their_proportion(sizes, laps, seed):
    starts = np.cumsum([0, *sizes])
    groups = [np.arange(a, b) for a, b in pairwise(starts)]
    counts = [max(1, round(size * lap)) for size, lap in zip(sizes, laps, strict=False)]
    order = epoch_order(groups, counts, seed, 5)
    assert len(order) == sum(counts)
    seen = Counter(order.tolist())
    of = np.searchsorted(starts, order, side="right") - 1
    for g, (group, count) in enumerate(zip(groups, counts, strict=True)):
        repeats = [seen[int(i)] for i in group]
        assert sum(repeats) == count
        assert max(repeats) - min(repeats) <= 1  # nothing twice before all were there once
        held = np.concatenate([[0], np.cumsum(of == g)])
        for width in (1, 8, 32):
            if width <= len(order):
                ideal = width * count / len(order)
                found = held[width:] - held[:-width]
                assert np.abs(found - ideal).max() < 1 + len(groups) * count / len(order) + 1e-9


def test_quotas_sum_up_and_are_the_nearest_whole_numbers():
    half = [Fraction(1), Fraction(1)]
    assert quotas([50, 200], half, None) == [200, 200]
    assert quotas([50, 200], half, 101) == [51, 50]
    assert quotas([50, 200], [Fraction(50), Fraction(200)], None) == [50, 200]
    assert quotas([3, 5], [Fraction(0), Fraction(1)], None) == [0, 5]
    assert quotas([10, 10, 10], [Fraction(1)] * 3, 10) == [4, 3, 3]
    with pytest.raises(ValueError, match="not all 0"):
        quotas([3], [Fraction(0)], None)


@given(
    total=st.integers(0, 200), part=st.floats(0, 1), batch=st.integers(1, 9), ranks=st.integers(1, 5),
    workers=st.integers(1, 4), drop=st.booleans(),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_ranks_and_workers_share_without_loss_or_doubles(total, part, batch, ranks, workers, drop):
    start = int(part * total)
    taken = list[int]()
    numbers = set()
    for rank in range(ranks):
        split = Split(total, start, batch, rank, ranks, drop)
        whole = split.positions().tolist()
        alone = [whole[i : i + batch] for i in range(0, len(whole), batch)]
        shared = [split.positions(w, workers).tolist() for w in range(workers)]
        dealt = [[places[i : i + batch] for i in range(0, len(places), batch)] for places in shared]
        turns = [dealt[n % workers][n // workers] for n in range(sum(map(len, dealt)))]
        assert turns == alone  # as a DataLoader asks the workers, one after the other
        assert len(alone) == len(split)
        assert all(len(one) == batch for one in (alone if drop else alone[:-1]))
        taken += whole
        numbers.add(len(alone))
    rest = (total - start) % (batch * ranks) if drop else 0
    assert sorted(taken) == list(range(start, total - rest))
    assert max(numbers) - min(numbers) <= (0 if drop else 1)


@given(st.integers(1, 100), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), st.integers(0, 10))
@settings(max_examples=200, deadline=None)
def test_a_run_goes_on_with_another_number_of_ranks(total, batch, before, after, done):
    """What all ranks consumed until a state, and all that others consume from it on, is the epoch."""
    seen = list[int]()
    splits = [Split(total, 0, batch, rank, before) for rank in range(before)]
    for split in splits:
        seen += split.positions().tolist()[: done * batch]
    position = splits[0].position(done)
    for rank in range(after):
        seen += Split(total, position, batch, rank, after).positions().tolist()
    assert sorted(seen) == list(range(total))
