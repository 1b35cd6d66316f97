"""The same samples as a user of Ray Data would make and write them, for ``tests.benchmarks.pipeline``.

``map_batches(Actor).write_webdataset(folder)`` around our source, generator and checks. ``Plain`` is what its guide
has: arrays out of the actors, encoded while writing. ``Tuned`` gives it bytes as our shards hold them, a batch a shard,
so that its writing task has nothing left but the tar. ``by_case`` has the variants of a case made one after the other,
so that an actor paints it once: every shard holds few cases then, and another variant changes them all.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.sample import Maker
from lesionforge.jobs.commands import recipes
from lesionforge.sinks.encode import encode
from lesionforge.sinks.quarantine import Quarantined

PACKED = re.compile(r"(\.delta)?\.npy\.zst$")


class Plain:
    """Our source and generator behind ``map_batches``."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.maker = Maker(Pipeline(recipes.load(asked)))
        self.held: tuple[Any, Any] = (None, None)  # the case read last

    def samples(self, batch: dict[str, Any]) -> list[dict[str, Any]]:
        """Members by name, of those that can be made."""
        out = []
        for i in batch["item"]:
            spec = self.maker.pipeline.plan[int(i)]
            if self.held[0] != (spec.source, spec.case):
                self.held = (spec.source, spec.case), self.maker.read(spec)
            case = self.held[1]
            if isinstance(case, Quarantined):
                continue
            (sample,) = self.maker.make([case], [spec])
            if not isinstance(sample, Quarantined):
                members = self.maker.members(sample, self.maker.row(spec, case))
                out.append({"__key__": spec.sample_id, **members})
        return out

    def __call__(self, batch: dict[str, Any]) -> Any:
        rows = self.samples(batch)
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        columns["json"] = [json.dumps(meta) for meta in columns["json"]]  # a column of one type: the metas differ
        whole = {n: np.stack(c) if isinstance(c[0], np.ndarray) else np.array(c) for n, c in columns.items()}
        return {PACKED.sub(".npy", name): column for name, column in whole.items()}  # its encoder knows no other


class Tuned(Plain):
    """Bytes out."""

    def __call__(self, batch: dict[str, Any]) -> Any:
        rows = self.samples(batch)
        return pa.Table.from_pylist(
            [{n: v if n == "__key__" else encode(n, v) for n, v in row.items()} for row in rows]
        )


def write(asked: dict[str, Any], folder: Path, workers: int, tuned: bool, by_case: bool = False) -> None:
    """Make all samples of a recipe into shards below a folder. Ray runs."""
    import ray  # ray.data cannot be imported without pandas

    ray.data.DataContext.get_current().enable_progress_bars = False
    plan, size, variants = (
        Pipeline(recipes.load(asked)).plan,
        asked["shard"]["samples"],
        asked.get("multiply", 1),
    )
    order = list(range(len(plan)))
    if by_case:
        order.sort(key=lambda i: (plan[i].source, plan[i].case))
        size = max(1, size // variants) * variants  # no case in two batches
    (
        ray.data.from_items(order, override_num_blocks=len(plan) // size)
        .map_batches(
            Tuned if tuned else Plain, fn_constructor_args=(asked,), batch_size=size, concurrency=workers, num_cpus=1
        )
        .write_webdataset(str(folder), encoder=None if tuned else [_told, True], min_rows_per_file=size)
    )


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose json is no text any more, which the encoder would pack once again."""
    return {**row, "json": json.loads(row["json"])}
