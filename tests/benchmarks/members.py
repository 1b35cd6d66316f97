"""What each encoding makes of the members of shipped recipes: ``python -m tests.benchmarks.members [--quick]``.

The first sample of each recipe that needs no data is made, and every array of it packed in every way that holds it:
bytes, and CPU time of one thread for packing and for reading back, medians over the rounds. Members of few bytes
(points, matrices) are left out. ``*``: what the recipe ships.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.sample import Maker
from lesionforge.jobs.commands import recipes
from lesionforge.sinks.encode import decode, encode
from lesionforge.sinks.quarantine import Quarantined
from tests.benchmarks.common import Row, median, table

RECIPES = ("demo", "stenosis_phantom", "plaque_phantom", "lesion_phantom")
ENCODINGS = ("npy", "npy.gz", "npy.zst", "delta.npy.zst", "png")
LEAST = 10_000  # values


def arrays(recipe: str) -> dict[str, Any]:
    """The large arrays of a recipe's first sample, by the names of their members."""
    job = Pipeline(recipes.load(recipe))
    maker = Maker(job)
    for number in range(len(job.plan)):
        spec = job.plan[number]
        case = maker.read(spec)
        if isinstance(case, Quarantined):
            continue
        (sample,) = maker.make([case], [spec])
        if not isinstance(sample, Quarantined):
            return {name: value for name, value in sample.fields.items() if np.size(value) >= LEAST}
    raise RuntimeError(f"no sample of {recipe} comes out well")


def holds(encoding: str, array: Any) -> bool:
    """Whether an encoding is for such arrays."""
    if encoding == "png":
        return array.ndim == 2 and array.dtype in (np.uint8, np.uint16)
    return encoding != "delta.npy.zst" or array.dtype == np.int16


def milliseconds(call: Any, rounds: int) -> float:
    """Of CPU, median."""
    took = list[float]()
    for _ in range(rounds):
        start = time.thread_time()
        call()
        took.append(1e3 * (time.thread_time() - start))
    return median(took)


def measure(quick: bool = False) -> dict[str, Any]:
    """Kilobytes and milliseconds by recipe, member and encoding."""
    rows, rounds = list[Row](), 3 if quick else 15
    for recipe in RECIPES[:2] if quick else RECIPES:
        for member, array in arrays(recipe).items():
            stem, _, shipped = member.partition(".")
            for encoding in (encoding for encoding in ENCODINGS if holds(encoding, array)):
                name = f"{stem}.{encoding}"
                data = encode(name, array)
                assert np.array_equal(decode(name, data), array)
                row: Row = {"member": f"{recipe} {stem} {'x'.join(map(str, array.shape))}", "dtype": str(array.dtype)}
                row |= {"encoding": encoding + "*" * (encoding == shipped), "kb": len(data) / 1000}
                row["encode"] = milliseconds(lambda name=name, array=array: encode(name, array), rounds)
                row["decode"] = milliseconds(lambda name=name, data=data: decode(name, data), rounds)
                rows.append(row)
    return {"rows": rows}


def text(result: dict[str, Any]) -> str:
    """The table, for people."""
    columns = {"member": "member", "dtype": "type", "encoding": "encoding", "kb": "kB"}
    return table("Members", columns | {"encode": "encode ms", "decode": "decode ms"}, result["rows"])


if __name__ == "__main__":
    sys.stdout.write(text(measure("--quick" in sys.argv)))
