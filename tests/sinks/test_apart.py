"""Nothing is in two splits: what the plan could not see is seen in the end, by equal hashes, and named."""

import pytest

from lesionforge.engine import dataset as document
from lesionforge.engine.finalise import finalise
from lesionforge.jobs.commands.generate import generate
from lesionforge.jobs.commands.verify import verify
from lesionforge.sinks import layout
from lesionforge.sinks.apart import Apart
from lesionforge.sinks.store import Store
from tests import faulty
from tests.engine.conftest import toy


class Doubled(faulty.Toy):
    """Cases 10 to 19 are cases 0 to 9 under other names, which nothing tells before they are read."""

    def read(self, case):
        return faulty.Toy.read(self, case % 10)


@pytest.fixture
def recipe():
    split = {"train": 0.5, "test": 0.5}
    return toy(sources__0__uri=f"{__name__}.Doubled:x", sources__0__split=split, splits=["train", "test"])


def test_what_is_in_two_splits_ends_without_success_and_verify_names_it(recipe, tmp_path):
    done = generate(recipe, tmp_path / "out", in_process=True)
    store = Store(str(tmp_path / "out"))
    plan = document.read(store).plan
    homes = {case: {plan[i].split for i in range(len(plan)) if plan[i].case % 10 == case} for case in range(10)}
    both = sum(len(splits) == 2 for splits in homes.values())
    assert both
    assert f"{2 * both} of the pictures, volumes and subjects stand in two splits: source_id id" in done.short
    assert not store.exists(layout.SUCCESS)
    assert verify(store).problems == [done.short]
    assert finalise(store, document.read(store)).problem == done.short


def test_one_split_may_hold_it_twice(recipe, tmp_path):
    alone = recipe.model_copy(update={"splits": ("train",)})
    assert not generate(alone, tmp_path / "out", in_process=True).short
    assert not verify(tmp_path / "out").problems


def test_marks_are_counted_once_a_split_up_to_a_bound():
    for cases, found in ((10, {3}), (10**9, set())):
        apart = Apart(cases)
        for split, marks in (("train", [1, 2]), ("train", [2, 3]), ("val", [4]), ("test", [2**64 - 1, 3])):
            apart.add(split, b"".join(mark.to_bytes(8, "little") for mark in marks))
        assert apart.shared() == found
