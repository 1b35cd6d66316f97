"""Training of the reconstruction task from shards against pairs in memory: ``-m tests.benchmarks.reconstruction``.

The sparse network at its own size on bi-plane pairs of the paper's (512 x 512, 128^3, 60^3). What a sample takes beside
the step itself is a pair read, from its shard or from memory, and prepared: both in turns, in CPU of one thread, which
a whole training's noise on a busy machine would hide. It is paid at every step where more is learnt from than
``learner.KEPT`` holds prepared, else once a pair: the goal is of the former. Beside, the bytes of a pair: as an item
that names its place in the shards, read, and prepared.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from lesionforge.jobs.commands.generate import generate
from lesionforge.jobs.studies.places import DataPlace, read
from lesionforge.jobs.tasks.reconstruction.models.sparse_learner import SparseLearner
from lesionforge.jobs.tasks.reconstruction.pairs import Item
from lesionforge.jobs.tasks.reconstruction.settings import SparseSettings
from lesionforge.jobs.tasks.reconstruction.task import Reconstruction
from tests.benchmarks.common import alternate, goal, goals, median, table

GOAL = 0.95
RECIPE = {
    "name": "pairs",
    "seed": 1,
    "generator": {"name": "biplane", "params": {"resample": 60}},
    "splits": ["train"],
}


def milliseconds(items: Sequence[Item], prepared: Callable[[Any], Any]) -> float:
    """Of CPU, to read and prepare one of them."""
    begun = time.process_time()
    for item in items:
        prepared(item.read())
    return 1e3 * (time.process_time() - begun) / len(items)


def step(items: Sequence[Item], steps: int) -> float:
    """Milliseconds of CPU of a training step whose pair is prepared, median."""
    ends = list[float]()
    learner = SparseLearner(SparseSettings(steps=len(items) + steps))
    learner.fit(items, [], 1, 0, progress=lambda step, of, loss: ends.append(time.process_time()))
    return 1e3 * median([b - a for a, b in pairwise(ends[len(items) - 1 :])])


def measure(quick: bool = False) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    subjects, rounds = (2, 3) if quick else (4, 9)
    learner = SparseLearner(SparseSettings())
    with tempfile.TemporaryDirectory() as folder:
        sources = [{"uri": "phantom:coronary", "options": {"count": subjects, "sides": ["left", "right"]}}]
        generate({**RECIPE, "sources": sources}, folder, in_process=True)
        shards = read(Reconstruction(), DataPlace(folder)).items
        memory = [item.read() for item in shards]
        rows = [learner.prepared(pair) for pair in memory]
        methods = {
            name: lambda items=items: milliseconds(items, learner.prepared)
            for name, items in (("memory", memory), ("shards", shards))
        }
        found = {name: median(values) for name, values in alternate(methods, rounds).items()}
        found["step"] = step(memory, 4 if quick else 12)
        sizes = {
            "item": (len(pickle.dumps(shards)) - len(pickle.dumps(shards[0]))) / (len(shards) - 1),
            "read": len(pickle.dumps(memory)) / len(memory),
            "prepared": len(pickle.dumps(rows)) / len(rows),
        }
    share = (found["step"] + found["memory"]) / (found["step"] + found["shards"])
    reached = [goal(f"all from shards: {share:.3f} of memory's samples a second, {GOAL} wanted", share >= GOAL)]
    return {"rows": [found], "kilobytes": {name: size / 1000 for name, size in sizes.items()}, "goals": reached}


def text(result: dict[str, Any]) -> str:
    columns = {"memory": "from memory", "shards": "from its shard", "step": "step"}
    kilobytes = ", ".join(f"{name} {size:.1f}" for name, size in result["kilobytes"].items())
    title = "training, ms of CPU a sample: a pair read and prepared, and the step itself"
    return table(title, columns, result["rows"]) + f"kB a pair: {kilobytes}\n" + goals(result["goals"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    sys.stdout.write(text(measure(parser.parse_args().quick)))
