"""Whose fault a death is, and how the driver goes on after it: with a pool that does as it is told."""

from collections import deque

import pytest

from lesionforge.engine import driver, retries
from lesionforge.engine.blame import Blame
from lesionforge.engine.messages import Event, InHand, Task, Work
from lesionforge.engine.pipeline import Pipeline, Unprepared
from lesionforge.engine.pool import InProcess
from lesionforge.sinks import dataset
from lesionforge.sinks.store import Store
from tests.engine.conftest import shas, toy


def at_work(*samples, stage="making", late=False, done=1, paused=False):
    return InHand(list(samples), [Work(stage, list(samples))], late, done, paused)


def skipped(task):
    return {name: str(why) for name, why in task.skip.items()}


def test_a_sample_is_skipped_when_it_is_late_again():
    task, blame = Task(0), Blame(2.5)
    assert blame.find(task, at_work("a", late=True))
    assert skipped(task) == {}
    assert blame.find(task, at_work("a", late=True))
    assert skipped(task) == {"a": "time: making took longer than 2.5 s"}


def test_a_machine_that_stood_still_blames_nobody():
    task, blame = Task(0), Blame(2.5)
    for _ in range(5):
        assert blame.find(task, at_work("a", late=True, paused=True))
    assert skipped(task) == {}


def test_where_nobody_comes_to_an_end_nobody_is_to_blame():
    """Storage that hangs: whoever is read next is late as well, and the one before it was not guilty."""
    task, blame = Task(0), Blame(2.5)
    for _ in range(2):
        blame.find(task, at_work("a", stage="reading", late=True, done=0))
    assert set(skipped(task)) == {"a"}
    blame.find(task, at_work("b", stage="reading", late=True, done=0))
    assert skipped(task) == {}
    for name in "ab":  # and where another is well meanwhile, both are
        blame.find(task, at_work(name, late=True, done=1))
    assert set(skipped(task)) == {"a", "b"}


def test_a_late_batch_is_tried_one_by_one_first():
    task, blame = Task(0), Blame(2.5)
    assert blame.find(task, at_work("a", "b", late=True))
    assert (task.skip, task.careful) == ({}, True)
    for _ in range(2):
        assert blame.find(task, at_work("b", stage="reading", late=True))
    assert skipped(task) == {"b": "time: reading took longer than 2.5 s"}


def test_the_third_death_with_a_sample_alone_in_hand_is_its_fault():
    task, blame = Task(0), Blame(None)
    for _ in range(2):
        assert blame.find(task, at_work("a"))
        assert not task.skip
    assert blame.find(task, at_work("b"))  # somebody else's bad luck in between
    assert blame.find(task, at_work("a"))
    assert skipped(task) == {"a": "killed its worker (3 times)"}


def test_a_lost_node_is_nobody_s_fault_and_makes_nobody_wiser():
    task = Task(0)
    assert not Blame(None).find(task, InHand())
    assert not task.skip


class Scripted:
    """Runs shards in this process, but answers as ordered first; has room only every other time it is asked."""

    def __init__(self, recipe, store, orders):
        self._inner, self._orders, self._tasks, self._asked = InProcess(recipe, store), deque(orders), deque(), 0

    def room(self):
        self._asked += 1
        return int(self._asked % 2 == 0 and len(self._tasks) < 2)

    def submit(self, task):
        self._tasks.append(task)

    def wait(self, timeout):
        if self._orders:
            order = self._orders.popleft()
            return order(self._tasks)
        if not self._tasks:
            return []
        self._inner.submit(self._tasks.popleft())
        return self._inner.wait(timeout)

    def states(self):
        return {}

    def close(self):
        pass


def run(tmp_path, orders):
    recipe, store = toy(), Store(str(tmp_path))
    outcome = driver.run(Pipeline(recipe), store, Scripted(recipe, store, orders))
    return store, outcome


def died(*in_hand):
    return lambda tasks: [Event(tasks.popleft(), died="killed", in_hand=in_hand[0])] if tasks else []


def test_a_pool_without_room_at_first_is_waited_for(tmp_path):
    store, outcome = run(tmp_path, [lambda tasks: [], lambda tasks: []])
    assert len(dataset.committed(store)) == outcome.shards == 6


def test_workers_that_die_cost_nothing_but_time(tmp_path):
    run(tmp_path / "clean", [])
    lone = [lambda tasks: [Event(None, died="no such module")], died(InHand()), died(at_work("x", "y"))]
    _, outcome = run(tmp_path / "out", lone)
    assert (outcome.deaths, outcome.quarantined) == (3, 0)
    assert shas(tmp_path / "out") == shas(tmp_path / "clean")


def test_workers_that_never_live_end_the_run(tmp_path):
    never = [lambda tasks: [Event(None, died="ModuleNotFoundError: tests.gone")]] * 100
    with pytest.raises(driver.RunError, match=r"die before they make anything; the last message was: .*tests\.gone"):
        run(tmp_path, never)


class Unready(InProcess):
    """The workers of some shards, by the order in which they are asked, cannot be prepared."""

    def __init__(self, recipe, store, which, where=("bad",)):
        super().__init__(recipe, store)
        self._which, self._where, self._asked, self.avoided = which, frozenset(where), 0, []

    def wait(self, timeout):
        if not self._tasks:
            return []
        self._asked += 1
        self.avoided += [set(self._tasks[0].avoid)]
        if self._asked not in self._which:
            return super().wait(timeout)
        return [Event(self._tasks.popleft(), error=Unprepared("weights are torn"), where=self._where)]


def test_a_worker_that_cannot_be_prepared_loses_nothing_where_others_can(tmp_path, monkeypatch):
    monkeypatch.setattr(retries, "PAUSES", (0.0, 0.0))
    run(tmp_path / "clean", [])
    recipe, store = toy(), Store(str(tmp_path / "out"))
    with pytest.raises(driver.RecipeFault, match="weights are torn"):
        driver.run(Pipeline(recipe), store, Unready(recipe, store, [1]))
    outcome = driver.run(Pipeline(recipe), store, pool := Unready(recipe, store, [2, 3]))
    assert (outcome.failed, outcome.shards, pool.avoided.count({"bad"})) == ({}, 6, 2)
    assert shas(tmp_path / "out") == shas(tmp_path / "clean")


def test_a_resumed_run_waits_only_for_other_workers(tmp_path, monkeypatch):
    """What is committed is not given back, and where there is no other worker no pause makes weights whole."""
    monkeypatch.setattr(retries, "PAUSES", (0.0, 0.0))
    recipe, store = toy(), Store(str(tmp_path))
    driver.run(Pipeline(recipe), store, InProcess(recipe, store))
    (tmp_path / "index" / "train-000001.parquet").unlink()
    with pytest.raises(driver.RunError, match=r"weights are torn\. Mend that\. What is committed stays") as caught:
        driver.run(Pipeline(recipe), store, pool := Unready(recipe, store, range(1, 9), where=()))
    assert not isinstance(caught.value, driver.RecipeFault)
    assert len(pool.avoided) == 1
    assert driver.run(Pipeline(recipe), store, Unready(recipe, store, [1])).shards == 1


class Late(InProcess):
    """Workers whose alarm ends them: ``who`` names the sample of a task at which it rings, some times."""

    def __init__(self, recipe, store, who, times, done):
        super().__init__(recipe, store)
        self._who, self._times, self._done = who, times, done

    def wait(self, timeout):
        name = self._times > 0 and self._tasks and self._who(self._tasks[0])
        if not name:
            return super().wait(timeout)
        self._times -= 1
        in_hand = at_work(name, stage="reading", late=True, done=self._done)
        return [Event(self._tasks.popleft(), died="late", in_hand=in_hand)]


def late(tmp_path, times, who, done, recipe):
    store = Store(str(tmp_path))
    return driver.run(Pipeline(recipe), store, Late(recipe, store, who, times, done))


@pytest.mark.parametrize(("times", "lost"), [(1, 0), (2, 1)])
def test_a_first_overrun_costs_nothing_a_second_the_sample(times, lost, tmp_path, monkeypatch):
    monkeypatch.setattr(retries, "PAUSES", (0.01,) * 4)
    run(tmp_path / "clean", [])
    outcome = late(tmp_path / "out", times, lambda task: task.shard == 0 and "train-0000-00000003", 1, toy())
    assert (outcome.deaths, outcome.quarantined, outcome.shards) == (times, lost, 6)
    assert (shas(tmp_path / "out") == shas(tmp_path / "clean")) == (not lost)


def test_a_place_that_hangs_leaves_the_shards_undone(tmp_path, monkeypatch):
    """A hung share: whatever is read is late, in every try; no sample is lost."""
    monkeypatch.setattr(retries, "PAUSES", (0.01,) * 4)
    few = toy(multiply=1, sources__0__options={"count": 8}, balance=None)
    plan = Pipeline(few).plan

    def next_read(task):
        return next(s.sample_id for s in plan.specs(plan.shard(task.shard)) if s.sample_id not in task.skip)

    outcome = late(tmp_path, 99, next_read, 0, few)
    assert (outcome.shards, outcome.quarantined, len(outcome.failed)) == (0, 0, plan.shards)
    assert all("took too long (5 tries)" in why for why in outcome.failed.values())
