import resource
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.engine.plan import Plan, PlanError
from lesionforge.engine.recipe import Recipe


def make(subjects=(10,), width=1, samples=8, sample_bytes=1000, **fields) -> Plan:
    split = fields.pop("split", {"train": 0.8, "val": 0.1, "test": 0.1})
    sources = [{"uri": "toy:x", "split": split} for _ in subjects]
    raw = {"name": "a", "seed": 3, "sources": sources, "generator": {"name": "g"}, "shard": {"samples": samples}}
    recipe = Recipe.model_validate(raw | fields)
    return Plan(recipe, [SimpleNamespace(subjects=n, cases_per_subject=width) for n in subjects], sample_bytes)


plans = st.builds(
    make,
    subjects=st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple),
    width=st.integers(1, 3),
    samples=st.integers(1, 20),
    multiply=st.integers(1, 4),
    seed=st.integers(0, 2**40),
    splits=st.just(["train", "val", "test"]),
    balance=st.sampled_from([None, {"a": 1}, {"a": 0.5, "b": 0.3, "c": 0.2}, {"x": 1, "y": 2}]),
)


@given(plans)
@settings(max_examples=60, deadline=None)
def test_what_every_plan_keeps(plan):
    specs = [plan[i] for i in range(len(plan))]
    assert len({s.sample_id for s in specs}) == len({s.key for s in specs}) == len(plan)
    # P7: a subject is in one split only.
    width = plan.sources[0].cases_per_subject
    where = {}
    for s in specs:
        assert where.setdefault((s.source, s.case // width), s.split) == s.split
    # An even walk: every case once in every variant.
    cases = Counter((s.source, s.case, s.variant) for s in specs)
    total = sum(s.subjects * s.cases_per_subject for s in plan.sources)
    assert set(cases.values()) == {1}
    assert len(cases) == total * plan.recipe.multiply
    # Shards cover every sample once, in order, and know where each one is.
    in_shards = [s for k in range(plan.shards) for s in plan.specs(plan.shard(k))]
    assert sorted(s.sample_id for s in in_shards) == sorted(s.sample_id for s in specs)
    assert len({plan.shard(k).name for k in range(plan.shards)}) == plan.shards
    for k in range(plan.shards):
        assert all(plan.shard_of(s) == plan.shard(k) for s in plan.specs(plan.shard(k)))
        assert plan.number(plan.shard(k).name) == k
    for name in ("train-999999", "train-1", "train-", "other-000000", "train-00000x", "", "train-٣"):
        assert plan.number(name) is None
    assert all(plan.find(s.sample_id) == s for s in specs)
    # The counts say what is there.
    told = {(split, c): n for split, classes in plan.counts().items() for c, n in classes.items() if n}
    assert told == Counter((s.split, s.target or "all") for s in specs)


@given(plans)
@settings(max_examples=30, deadline=None)
def test_growing_only_appends(plan):
    bigger = Plan(
        plan.recipe.model_copy(update={"multiply": plan.recipe.multiply + 1}), plan.sources, plan.sample_bytes
    )
    assert [bigger[i] for i in range(len(plan))] == [plan[i] for i in range(len(plan))]
    assert [bigger.shard(k) for k in range(plan.shards)] == [plan.shard(k) for k in range(plan.shards)]
    assert len(bigger) > len(plan)


def test_quotas_are_exact_in_every_block():
    plan = make((400,), multiply=2, split={"train": 1}, splits=["train"], balance={"a": 0.5, "b": 0.3, "c": 0.2})
    for block in range(0, len(plan), 10):
        assert Counter(plan[i].target for i in range(block, block + 10)) == {"a": 5, "b": 3, "c": 2}
    assert [plan[i].target for i in range(10)] != [plan[i].target for i in range(10, 20)]  # but not the same order


def test_the_order_of_classes_in_the_file_does_not_matter():
    a, b = make((50,), balance={"x": 0.7, "y": 0.3}), make((50,), balance={"y": 0.3, "x": 0.7})
    assert [a[i] for i in range(len(a))] == [b[i] for i in range(len(b))]


def test_two_seeds_walk_differently_and_split_differently():
    a, b = make((1000,), seed=1), make((1000,), seed=2)
    assert [a[i].case for i in range(100)] != [b[i].case for i in range(100)]
    train = [{p[i].case for i in range(len(p)) if p[i].split == "train"} for p in (a, b)]
    assert train[0] != train[1]


def test_split_sizes_follow_the_shares():
    plan = make((1000,), splits=["train", "val", "test"])
    assert {s: c["all"] for s, c in plan.counts().items()} == {"train": 800, "val": 100, "test": 100}
    assert set(make((1000,)).counts()) == {"train", "val"}  # nothing synthetic in test unless asked


def test_the_byte_bound_sizes_shards():
    assert make((100,), samples=50, sample_bytes=10**6, shard={"samples": 50, "bytes": "8 MB"}).shard_samples == 8
    assert make((100,), sample_bytes=10**6, shard={"samples": 50, "bytes": 10}).shard_samples == 1


def test_a_subject_s_cases_stand_side_by_side():
    plan = make((50,), width=2, split={"train": 1})
    for i in range(0, len(plan), 2):
        assert plan[i].case // 2 == plan[i + 1].case // 2


def test_a_billion_samples_are_never_all_in_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan = make((500_000_000,), width=2, samples=1000, balance={"a": 0.25, "b": 0.75}, splits=["train", "val", "test"])
    assert len(plan) == 10**9
    assert sum(sum(c.values()) for c in plan.counts().values()) == 10**9
    for i in range(0, 10**9, 10**6):
        plan[i]
    assert plan.shard(plan.shards - 1).stop == 100_000_000
    assert plan.find(plan[10**9 - 1].sample_id) == plan[10**9 - 1]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


def test_asking_for_nothing_is_refused():
    with pytest.raises(PlanError, match=r"splits \['test'\], which hold no subject"):
        make((3,), split={"train": 1}, splits=["test"])


def test_uneven_shares_are_refused_with_the_fix():
    with pytest.raises(PlanError, match="whole percents"):
        make((3,), balance={"a": 0.333333, "b": 0.666667}).counts()


@pytest.mark.parametrize("name", ["train-0000-00000099", "train-0009-00000000", "x", "val-a-b", "test-0000-00000000"])
def test_unknown_ids_are_refused(name):
    with pytest.raises(PlanError, match="its ids run from train-0000-00000000"):
        make((10,)).find(name)


def test_a_split_that_gets_nobody_is_noted():
    assert make((1,), split={"train": 0.8, "val": 0.2}).notes == ["sources.0 has 1 subject: none falls into val"]
    assert make((10,), split={"train": 0.8, "val": 0.2}).notes == []
