"""Training of the reconstruction task from shards against pairs in memory: ``-m tests.benchmarks.reconstruction``.

The sparse network at its own size on bi-plane pairs of the paper's (512 x 512, 128^3, 60^3), for two rounds over them.
``kept``: prepared pairs stay for the next round, as they do until they are ``learner.KEPT`` bytes. ``not kept``: all is
read and prepared for every step, as of more than that. Samples a second of CPU, in turns; the goal is of medians.
Beside, what a pair takes: as an item that names its place in the shards, read, and prepared.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from lesionforge.jobs.commands.generate import generate
from lesionforge.jobs.studies.places import DataPlace, read
from lesionforge.jobs.tasks.reconstruction.models import learner as learning
from lesionforge.jobs.tasks.reconstruction.models.sparse_learner import SparseLearner
from lesionforge.jobs.tasks.reconstruction.pairs import Item
from lesionforge.jobs.tasks.reconstruction.settings import SparseSettings
from lesionforge.jobs.tasks.reconstruction.task import Reconstruction
from tests.benchmarks.common import Row, alternate, goal, goals, median, table

GOAL = 0.95
RECIPE = {
    "name": "pairs",
    "seed": 1,
    "generator": {"name": "biplane", "params": {"resample": 60}},
    "splits": ["train"],
}


def samples_a_second(items: Sequence[Item], rounds: int, kept: int) -> float:
    """Of CPU, of a whole training but for the choice of its threshold."""
    learner = SparseLearner(SparseSettings(steps=rounds * len(items)))
    learning.KEPT, before = kept, learning.KEPT
    took = list[float]()
    begun = time.process_time()
    try:
        learner.fit(items, [], 1, 0, progress=lambda step, of, loss: took.append(time.process_time() - begun))
    finally:
        learning.KEPT = before
    return len(took) / took[-1]


def measure(quick: bool = False) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    subjects, rounds = (2, 3) if quick else (6, 5)
    with tempfile.TemporaryDirectory() as folder:
        sources = [{"uri": "phantom:coronary", "options": {"count": subjects, "sides": ["left", "right"]}}]
        generate({**RECIPE, "sources": sources}, folder, in_process=True)
        shards = read(Reconstruction(), DataPlace(folder)).items
        memory = [item.read() for item in shards]
        methods = {
            f"{name}, {words}": partial(samples_a_second, items, 2, kept)
            for words, kept in (("kept", learning.KEPT), ("not kept", 0))
            for name, items in (("memory", memory), ("shards", shards))
        }
        samples_a_second(shards, 1, 0)  # warms kernels and caches
        found = {name: median(values) for name, values in alternate(methods, rounds).items()}
        learner = SparseLearner(SparseSettings())
        sizes = {
            "item": (len(pickle.dumps(shards)) - len(pickle.dumps(shards[0]))) / (len(shards) - 1),
            "read": len(pickle.dumps(memory)) / len(memory),
            "prepared": len(pickle.dumps([learner.prepared(pair) for pair in memory])) / len(memory),
        }
    rows: list[Row] = [
        {"what": words, **{name: found[f"{name}, {words}"] for name in ("memory", "shards")}}
        for words in ("kept", "not kept")
    ]
    for row in rows:
        row["share"] = row["shards"] / row["memory"]
    reached = [
        goal(f"{row['what']}: {row['share']:.2f} of memory's, {GOAL} wanted", row["share"] >= GOAL) for row in rows
    ]
    return {"rows": rows, "kilobytes": {name: size / 1000 for name, size in sizes.items()}, "goals": reached}


def text(result: dict[str, Any]) -> str:
    columns = {"what": "prepared pairs", "memory": "memory", "shards": "shards", "share": "share"}
    kilobytes = ", ".join(f"{name} {size:.1f}" for name, size in result["kilobytes"].items())
    title = "training, samples a second of CPU"
    return table(title, columns, result["rows"]) + f"kB a pair: {kilobytes}\n" + goals(result["goals"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    sys.stdout.write(text(measure(parser.parse_args().quick)))
