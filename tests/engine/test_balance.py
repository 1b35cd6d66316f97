"""Class quotas: exact, append-only, and the four kinds of balance against counting by hand."""

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesionforge.engine import balance
from lesionforge.engine.permutation import Permutation
from lesionforge.engine.plan import Plan, PlanError
from lesionforge.engine.recipe import Recipe
from tests.engine.conftest import toy

CLASSES = ("mild", "moderate", "severe")
COUNTS = st.dictionaries(st.sampled_from(CLASSES), st.integers(0, 400), min_size=2).filter(lambda c: any(c.values()))


def quota(phases):
    return balance.Quota(phases, lambda name, n: Permutation(n, name.encode().ljust(32, b"-")))


def walked(q, n):
    return Counter(q.target(i) for i in range(n))


@given(COUNTS, st.integers(0, 900))
def test_fill_levels_real_and_synthetic(real, n):
    """Against greedy filling: each sample to a class with the fewest lesions so far."""
    have = dict(real)
    for _ in range(n):
        have[min(have, key=lambda name: have[name])] += 1
    made = walked(quota(balance.fill(real)), n)
    got = sorted(count + made[name] for name, count in real.items())
    level = sum(have.values())
    if n >= sum(max(real.values()) - count for count in real.values()):  # all have caught up
        assert max(got) - min(got) <= 1
    assert sum(got) == level
    assert max(abs(a - b) for a, b in zip(got, sorted(have.values()), strict=True)) <= 1


@given(COUNTS, st.integers(0, 2500))
def test_counts_are_those_of_walking(real, n):
    for phases in (balance.fill(real), balance.natural(real)):
        q = quota(phases)
        assert {k: v for k, v in q.counts(n).items() if v} == walked(q, n)


@given(COUNTS)
def test_natural_keeps_the_sources_shares(real):
    (phase,) = balance.natural(real)
    total = sum(real.values())
    assert phase.block == min(total, balance.MAX_BLOCK)
    for name, count in zip(phase.names, phase.counts, strict=True):
        assert abs(count - real[name] * phase.block / total) < 1
    if total <= balance.MAX_BLOCK:
        assert dict(zip(phase.names, phase.counts, strict=True)) == {k: v for k, v in real.items() if v}


@dataclass
class Frames:
    """A source that knows its lesions' grades: case c has one lesion, severe where c divides by 5."""

    subjects: int = 100
    cases_per_subject: int = 1
    sizes: None = None
    asked: list[int] = field(default_factory=list)

    def grades(self, case):
        self.asked.append(case)
        return ["severe" if case % 5 == 0 else "moderate", "unknown to the generator"]


def plan(mode, multiply=1, source=None):
    recipe: Recipe = toy(balance=mode, multiply=multiply, splits=("train", "val"))
    return Plan(recipe, [source or Frames()], 10, ("moderate", "severe"))


def test_fill_counts_each_splits_own_subjects():
    p = plan("fill", 2)
    counts = p.counts()
    for split in p.splits:
        cases = {p.spec(split, 0, i).case for i in range(sum(counts[split].values()) // 2)}
        real = Counter("severe" if c % 5 == 0 else "moderate" for c in cases)
        assert counts[split]["moderate"] + real["moderate"] == counts[split]["severe"] + real["severe"]
        made = Counter(p[i].target for i in range(len(p)) if p[i].split == split)
        assert made == {k: v for k, v in counts[split].items() if v}


@pytest.mark.parametrize("mode", ["balanced", "fill", "natural"])
def test_growing_appends(mode):
    small, large = plan(mode, 1), plan(mode, 3)
    assert [small[i] for i in range(len(small))] == [large[i] for i in range(len(small))]


def test_balanced_is_equal_shares():
    counts = plan("balanced", 4).counts()["train"]
    assert counts["moderate"] == counts["severe"] > 0


def test_a_source_without_grades_cannot_be_filled():
    class Plain:
        subjects, cases_per_subject, sizes = 10, 1, None

    with pytest.raises(PlanError, match=r"balance fill: sources\.0 has no graded lesions"):
        plan("fill", source=Plain()).counts()
