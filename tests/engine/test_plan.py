import resource
from collections import Counter
from itertools import groupby
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.engine.links import NO_LINKS, Links
from lesionforge.engine.plan import Plan, PlanError
from lesionforge.engine.recipe import Recipe


def make(subjects=(10,), width=1, samples=8, sample_bytes=1000, links=NO_LINKS, **fields) -> Plan:
    """``subjects``: of each source, so many of ``width`` cases, or the cases of each."""
    split = fields.pop("split", {"train": 0.8, "val": 0.1, "test": 0.1})
    sources = [{"uri": "toy:x", "split": split} for _ in subjects]
    raw = {"name": "a", "seed": 3, "sources": sources, "generator": {"name": "g"}, "shard": {"samples": samples}}
    recipe = Recipe.model_validate(raw | fields)
    sources = [
        SimpleNamespace(subjects=n, cases_per_subject=width, sizes=None)
        if isinstance(n, int)
        else SimpleNamespace(subjects=len(n), cases_per_subject=0, sizes=n)
        for n in subjects
    ]
    return Plan(recipe, sources, sample_bytes, links=links)


def linked(pairs, counts):
    """Links by chance: subjects of the same remainder are one, as far as ``pairs`` says."""
    groups = [[(s, i) for s, n in enumerate(counts) for i in range(n) if i % 7 == rest] for rest in pairs]
    return Links(tuple(tuple(group) for group in groups if len(group) > 1))


def homes(plan):
    """(source, case) -> the subject, or the group of those that are one."""
    out = {}
    for s, source in enumerate(plan.sources):
        sizes = source.sizes or [source.cases_per_subject] * source.subjects
        owners = [subject for subject, size in enumerate(sizes) for _ in range(size)]
        for case, subject in enumerate(owners):
            group = plan.links.group(s, subject)
            out[s, case] = (s, subject) if group is None else group
    return out


SOURCES = st.lists(
    st.one_of(st.integers(1, 40), st.lists(st.integers(1, 5), min_size=1, max_size=20)), min_size=1, max_size=3
)
plans = st.builds(
    lambda subjects, pairs, **fields: make(
        subjects, links=linked(pairs, [n if isinstance(n, int) else len(n) for n in subjects]), **fields
    ),
    subjects=SOURCES,
    pairs=st.one_of(st.just(()), st.sets(st.integers(0, 6))),
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
    home, where = homes(plan), {}
    for s in specs:
        assert where.setdefault(home[s.source, s.case], s.split) == s.split
    # An even walk: every case once in every variant.
    cases = Counter((s.source, s.case, s.variant) for s in specs)
    assert set(cases.values()) == {1}
    assert len(cases) == len(home) * plan.recipe.multiply
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
        plan.recipe.model_copy(update={"multiply": plan.recipe.multiply + 1}),
        plan.sources,
        plan.sample_bytes,
        links=plan.links,
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


@pytest.mark.parametrize("subjects", [(50,), ([1, 2, 3, 2, 1] * 10,)])
def test_a_subject_s_cases_stand_side_by_side(subjects):
    plan = make(subjects, width=2, split={"train": 1}, multiply=2)
    home = homes(plan)
    owners = [home[0, plan[i].case] for i in range(len(plan))]
    for variant in (owners[: plan.variant_samples], owners[plan.variant_samples :]):
        assert len(list(groupby(variant))) == 50
    assert owners[: plan.variant_samples] != owners[plan.variant_samples :]


def test_subjects_have_their_own_numbers_of_cases():
    """45 runs of 27 patients, each once in every variant: nothing is repeated to make patients alike."""
    sizes = [3] * 4 + [2] * 10 + [1] * 13
    plan = make((sizes,), split={"train": 1}, multiply=2)
    assert len(plan) == 90
    assert Counter(plan[i].case for i in range(90)) == dict.fromkeys(range(45), 2)
    assert {s: c["all"] for s, c in make((sizes,), splits=["train", "val", "test"]).counts().items()}["val"] <= 9


def test_equal_sizes_are_the_even_plan():
    """The same samples as where the number is said once: no dataset of even subjects changes."""
    even, told = make((30, 20), width=3), make(([3] * 30, [3] * 20))
    assert {(s.source, s.case, s.split) for s in (even[i] for i in range(len(even)))} == {
        (s.source, s.case, s.split) for s in (told[i] for i in range(len(told)))
    }


def test_linked_subjects_follow_the_first_and_the_rest_keeps_the_shares():
    """MSD holds 60 scans of LiTS and 40 of its own."""
    links = Links(tuple(((0, i), (1, i + 40)) for i in range(60)))
    plan = make((100, 100), split={"train": 0.5, "test": 0.5}, splits=["train", "test"], links=links)
    where = {(s.source, s.case): s.split for s in (plan[i] for i in range(len(plan)))}
    assert all(where[0, i] == where[1, i + 40] for i in range(60))
    assert Counter(where[0, i] for i in range(100)) == {"train": 50, "test": 50}
    assert Counter(where[1, i] for i in range(40)) == {"train": 20, "test": 20}
    (note,) = plan.notes
    assert note.startswith("120 subjects of sources.0, sources.1 are 60 (equal pixels")


def test_sources_of_one_kin_need_no_table():
    plan = make((10**8, 10**8), links=Links(alike=((1, 0),)), splits=["train", "val", "test"])
    where = {}
    for i in range(0, len(plan), 10**6):
        where[plan[i].case] = plan[i].split
    assert len(plan) == 2 * 10**8
    small = make((300, 300), links=Links(alike=((1, 0),)), splits=["train", "val", "test"])
    for i in range(len(small)):
        assert where.setdefault(("small", small[i].case), small[i].split) == small[i].split


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
