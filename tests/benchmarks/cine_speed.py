"""Where the time of an angiographic run goes: CPU milliseconds of one thread.

OMP_NUM_THREADS=1 python -m tests.benchmarks.cine_speed [--runs 6]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from lesionforge.generators.base import Memory
from lesionforge.generators.cine import run as filmed
from lesionforge.generators.cine.acquisition import acquire
from lesionforge.generators.cine.film import Film
from lesionforge.generators.cine.generator import Cine
from lesionforge.generators.cine.labels import Site
from lesionforge.generators.cine.motion import Motion
from lesionforge.generators.cine.params import CineParams
from lesionforge.generators.cine.reflux import Reflux
from lesionforge.generators.cine.tubes import Canvas
from lesionforge.generators.phantom.angiogram.frame import phantom_angiogram
from lesionforge.generators.phantom.tree.coronary import phantom_tree
from lesionforge.generators.types import Rejected, SampleSpec, Scene
from lesionforge.sinks.encode import encode

spent: dict[str, float] = {}


def timed(owner: Any, name: str, label: str) -> None:
    """Replace a function by one that adds its CPU time under a label."""
    plain: Callable[..., Any] = getattr(owner, name)

    def measured(*args: Any, **more: Any) -> Any:
        begin = time.process_time()
        try:
            return plain(*args, **more)
        finally:
            spent[label] = spent.get(label, 0.0) + time.process_time() - begin

    setattr(owner, name, measured)


def main() -> None:
    """Films runs of phantoms before phantoms' own frames, whose vessels are taken out, and prints JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=6)
    runs = options.parse_args().runs
    generator = Cine(CineParams())
    frames = size = 0
    for n in range(-1, runs):
        if n == 0:  # all is compiled
            for owner, name, label in (
                (Motion, "at", "motion"),
                (filmed, "project", "projection"),
                (Canvas, "draw", "tubes"),
                (Reflux, "draw", "reflux"),
                (Film, "frame", "film"),
                (Site, "seen", "labels"),
            ):
                timed(owner, name, label)
        key = hashlib.blake2b(str(n).encode(), digest_size=32).digest()
        side = "left" if n % 2 else "right"
        case = Scene(phantom_tree(key, side, str(n)), phantom_angiogram(key, side, str(n)))
        spec = SampleSpec(f"train-0000-{n + 1:08d}", "train", 0, 0, 0, None, key)
        begin = time.process_time()
        try:
            acquire(generator.params, case.case, case.background, spec, Memory(1))
            setup = time.process_time() - begin
            begin = time.process_time()
            sample = generator.make(case, spec)
        except Rejected:
            continue
        made = time.process_time() - begin
        begin = time.process_time()
        size += sum(len(encode(name, value)) for name, value in sample.fields.items()) if n >= 0 else 0
        if n >= 0:
            spent["set-up, background included"] = spent.get("set-up, background included", 0.0) + setup
            spent["all of a sample"] = spent.get("all of a sample", 0.0) + made
            spent["encoding"] = spent.get("encoding", 0.0) + time.process_time() - begin
            frames += len(sample.labels["frames"])
    out = {label: round(1000 * seconds / frames, 2) for label, seconds in spent.items()}
    print(json.dumps({"frames": frames, "bytes a frame": size // frames, "ms a frame": out}, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
