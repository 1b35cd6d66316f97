"""Reconstruction at its full size: ours and the paper's diffusion learn from two thousand trees, the hull beside.

A learner counts steps, not seconds: a few steps are made first, and as many asked for as fit. What the networks take of
a tree is worked out by all cores beforehand, else the card would wait for it.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np

from tests.gpu.part import Asked, Report, missing, need, say

NEEDS = ("torch", "accelerate", "safetensors", "numba", "scipy", "skimage", "rich")
SHARE = 0.6
LEARNERS = {"sparse": 3, "xradiff-small": 5, "unet-small": 1, "wgan-small": 1}  # parts of the time; those there are
TOYS = {"sparse": 1, "xradiff": 1}
BATCH = {"sparse": 8}  # a card is not filled by the one tree of a CPU core
SIZE, TOY = (60, 128, 512), (24, 48, 64)  # cells to reconstruct on, cells of the truth, pixels
GOALS = {"right": 0.80, "left": 0.70}  # Dice of ours, from 2,000 trees
TREES, TESTS, HELD = 2024, 120, 40
LOOK = 12  # steps that show how long one takes
READING = 0.25  # share of the time until reading ends, whatever is left to read
SHOWN = ("dsc", "o2", "chamfer", "cldice", "pieces")


def run(asked: Asked, report: Report) -> None:
    from lesionforge.jobs.tasks.reconstruction.settings import LEARNERS as KNOWN
    from lesionforge.jobs.tasks.reconstruction.task import Reconstruction
    from tests.gpu.trees import Made, Stored

    size, *sizes = TOY if asked.toy else SIZE
    task, parts = Reconstruction(size=size), TOYS if asked.toy else LEARNERS
    opened = {name: _opened(report, task, name, asked) for name in parts if name in KNOWN}
    learners = {name: learner for name, learner in opened.items() if learner is not None}
    names = list(learners)
    if asked.data is not None:
        train, test = Stored(asked.data, "train", task), Stored(asked.data, "test", task)
    else:
        need("annotated_types")
        train, test = (Made(4 if asked.toy else n, split, task, *sizes)
                       for n, split in ((TREES, "train"), (TESTS, "test")))  # fmt: skip
    with _pool({"train": train, "test": test}, learners, asked.toy) as pool:
        unseen = [pair for pair, _ in _read(pool, "test", range(min(TESTS, len(test))), report.left * 0.1)]
        told = _read(pool, "train", range(min(TREES, len(train))), report.left * READING)
        pairs = [pair for pair, _ in told]
        origin = "of stored shards" if asked.data is not None else "made here"
        report.check("trees are read", len(pairs) > 0 < len(unseen), learnt_from=len(pairs), unseen=len(unseen))
        say(f"  {origin}; {report.left:.0f} s left")
        report.body["trees"] = {"learnt from": len(pairs), "unseen": len(unseen), "from": origin}
        found = {"hull": _scored(pool, task, task.learner(task.settings("hull"), "cpu"), unseen)}
        _row(report, task, "hull", found["hull"])
        for at, name in enumerate(names):
            share = parts[name] / sum(parts[other] for other in names[at:])
            rows = {pair.sample: of[name] for pair, of in told}
            seconds = report.left * share
            try:
                found[name] = _learnt(pool, task, name, learners[name], pairs, rows, unseen, report, seconds)
            except Exception as error:  # another may learn
                report.check(f"{name} learns", False, error=f"{type(error).__name__}: {str(error)[:300]}")
    for name in (name for name in names if name in found):
        _judge(report, task, name, found, enough=len(pairs) >= 2000)


def _opened(report: Report, task: Any, name: str, asked: Asked) -> Any:
    """A learner, or None where a library of its network is missing."""
    try:
        return task.learner(of_size(task, name, asked.toy), asked.device)
    except ImportError as error:
        if not (lacks := missing(error)):
            raise
        report.skip(name, lacks)
        return None


def of_size(task: Any, name: str, toy: bool) -> Any:
    """A learner's settings for a card, or a toy's."""
    own = task.settings(name)
    there = {field.name for field in fields(own)}
    wanted = {"preset": "tiny", "batch": 2} if toy else {"batch": BATCH.get(name, own.batch)}
    return replace(own, **{key: value for key, value in wanted.items() if key in there})


# -- reading and preparing, by all cores

_TREES: dict[str, Any] = {}  # of a worker: by split
_LEARNERS: dict[str, Any] = {}


@contextmanager
def _pool(trees: dict[str, Any], learners: dict[str, Any], toy: bool) -> Iterator[Executor | None]:
    """Processes that begin before this one touches a GPU; None works here."""
    if toy:
        _begin(trees, learners)
        yield None
        return
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), initializer=_begin, initargs=(trees, learners)) as pool:
        yield pool
        pool.shutdown(cancel_futures=True)


def _begin(trees: dict[str, Any], learners: dict[str, Any]) -> None:
    import torch

    torch.set_num_threads(1)
    _TREES.update(trees)
    _LEARNERS.update(learners)


def _read(pool: Executor | None, split: str, numbers: range, seconds: float) -> list[tuple[Any, dict[str, Any]]]:
    """Pairs, and what each learner takes of them, as many as are ready in time."""
    end = time.monotonic() + seconds
    if pool is None:
        return [pickle.loads(_prepared(split, n)) for n in numbers]
    waiting: list[Future[bytes]] = [pool.submit(_prepared, split, n) for n in numbers]
    out = []
    for one in waiting:
        try:
            out.append(pickle.loads(one.result(max(0.0, end - time.monotonic()))))
        except TimeoutError:
            break
    for one in waiting[len(out) :]:
        one.cancel()
    return out


def _prepared(split: str, number: int) -> bytes:
    pair = _TREES[split][number]
    _ = pair.hull, pair.target  # kept with it
    rows = {name: learner.prepared(pair) for name, learner in _LEARNERS.items()} if split == "train" else {}
    return pickle.dumps((pair, rows))


# -- learning within a time


def _learnt(
    pool: Executor | None,
    task: Any,
    name: str,
    learner: Any,
    pairs: Sequence[Any],
    rows: dict[str, Any],
    unseen: Sequence[Any],
    report: Report,
    seconds: float,
) -> list[Any]:
    end = time.monotonic() + seconds
    plain = learner.settings
    learner.prepared = lambda pair: rows[pair.sample]
    some = [pair for pair in pairs if pair.subject in {pair.subject for pair in pairs[:16]}]
    ticks: list[float] = []
    few = 2 if pool is None else LOOK
    learner.settings = replace(plain, steps=few, warmup=min(few, plain.warmup))
    learner.fit(some, [], 1.0, 0, progress=lambda *_: ticks.append(time.monotonic()))
    a_step = float(np.median([b - a for a, b in pairwise(ticks)][few // 2 :] or [0.1]))
    begun = time.monotonic()
    for pair in unseen[:2]:
        learner.predict(pair)
    a_case = (time.monotonic() - begun) / 2
    subjects = len({pair.subject for pair in pairs})
    held = min(plain.held, HELD / subjects)
    after = a_case * (len(unseen) + 2 * held * subjects) + 5  # threshold and scores
    most = 60 * len(pairs) // plain.batch
    steps = few if pool is None else max(few, min(most, int(0.93 * (end - time.monotonic() - after) / a_step)))
    say(f"  {name}: {a_step:.3f} s a step, {a_case:.2f} s a case; {steps} steps of {plain.batch} trees")
    learner.settings = replace(plain, steps=steps, held=held, warmup=min(steps, plain.warmup))
    losses: list[float] = []
    begun = time.monotonic()
    learner.fit(pairs, [], 1.0, 0, progress=lambda step, of, loss: losses.append(loss))
    took = time.monotonic() - begun
    found = _scored(pool, task, learner, unseen)
    more = {"seconds_a_step": a_step, "seconds_a_case": a_case, "steps": steps, "batch": plain.batch}
    _row(
        report, task, name, found, seconds=took, loss=float(np.mean(losses[-50:])), threshold=learner.threshold, **more
    )
    return found


# -- scores


def _scored(pool: Executor | None, task: Any, learner: Any, pairs: Sequence[Any]) -> list[Any]:
    told = zip(pairs, task.predict(learner, pairs), strict=True)
    if pool is None:
        return [task.score(pair, found) for pair, found in told]
    waiting = [pool.submit(task.score, pair, found) for pair, found in told]
    return [one.result() for one in waiting]


def _row(report: Report, task: Any, name: str, found: Sequence[Any], **more: Any) -> None:
    """A line of the table, with 95 % intervals over subjects."""
    from lesionforge.jobs.studies.summary import draws, estimate

    measures = task.measures(found)
    values, held = measures.values(), measures.held
    by_draw = draws(measures, len({one.subject for one in found}))
    cells, line = {}, []
    for side in ("right", "left"):
        for score in SHOWN:
            which = f"{side}/{score}"
            level = estimate([values[which]], [by_draw[which]], held[which], task.bounds(which))
            cells[which] = [level.value, level.low, level.high]
        three = (f"{score} {_interval(cells[f'{side}/{score}'])}" for score in SHOWN[:3])
        line.append(f"{side} {', '.join(three)}")
    say(f"  {name}: {'; '.join(line)}")
    report.row("table", method=name, **cells, **more)


def _interval(level: Sequence[float | None]) -> str:
    value, low, high = level
    return f"{value:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None else "")


def _judge(report: Report, task: Any, name: str, found: dict[str, Any], enough: bool) -> None:
    mine, hull = (task.measures(found[one]).values() for one in (name, "hull"))
    whole = all(np.isfinite(mine[f"{side}/dsc"]) for side in GOALS)
    report.check(f"{name}: its row is whole", whole)
    if not enough:
        return
    for side, goal in GOALS.items():
        dice, base = mine[f"{side}/dsc"], hull[f"{side}/dsc"]
        report.check(f"{name}: above the hull, {side}", dice > base, dsc=dice, hull=base)
        if name == "sparse":
            report.check(f"{name}: Dice of {goal:g}, {side}", dice >= goal, dsc=dice)
