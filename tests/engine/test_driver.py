"""Whose fault a death is, and how the driver goes on after it: with a pool that does as it is told."""

from collections import deque

import pytest

from lesionforge.engine import driver
from lesionforge.engine.driver import Blame
from lesionforge.engine.messages import Event, InHand, Task, Work
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.pool import InProcess
from lesionforge.sinks import dataset
from lesionforge.sinks.store import Store
from tests.engine.conftest import shas, toy


def at_work(*samples, stage="making", late=False):
    return InHand(list(samples), [Work(stage, list(samples))], late)


def test_a_late_sample_is_skipped_at_once():
    task = Task(0)
    assert Blame(2.5).find(task, at_work("a", late=True))
    assert {name: str(why) for name, why in task.skip.items()} == {"a": "time: making took longer than 2.5 s"}


def test_a_late_batch_is_tried_one_by_one_first():
    task, blame = Task(0), Blame(2.5)
    assert blame.find(task, at_work("a", "b", late=True))
    assert (task.skip, task.careful) == ({}, True)
    assert blame.find(task, at_work("b", stage="reading", late=True))
    assert {name: str(why) for name, why in task.skip.items()} == {"b": "time: reading took longer than 2.5 s"}


def test_the_third_death_with_a_sample_alone_in_hand_is_its_fault():
    task, blame = Task(0), Blame(None)
    for _ in range(2):
        assert blame.find(task, at_work("a"))
        assert not task.skip
    assert blame.find(task, at_work("b"))  # somebody else's bad luck in between
    assert blame.find(task, at_work("a"))
    assert {name: str(why) for name, why in task.skip.items()} == {"a": "killed its worker (3 times)"}


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
