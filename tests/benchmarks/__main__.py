"""All benchmarks in one run: ``python -m tests.benchmarks [--quick] [--json FILE] [--only NAME ...]``."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.common import LOAD_LIMIT, load

# numba's cache holds the module's name: one made by `python tests/benchmarks/projector.py` cannot be loaded here.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parent / "__pycache__" / "numba"))
BENCHMARKS = (
    "projector", "writer", "reader", "pipeline", "overhead", "scale", "diffusion", "lesion_speed", "lesion_truth",
    "lesion_networks", "ends", "members", "reconstruction",
)  # fmt: skip


def measure(name: str, quick: bool) -> tuple[dict[str, Any], str]:
    """One benchmark's figures and its tables as text."""
    module = importlib.import_module(f"tests.benchmarks.{name}")
    result = module.measure(quick) if name != "projector" else module.measure()
    return result, module.text(result)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller sizes: shows that all runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=BENCHMARKS, help="some of them")
    asked = parser.parse_args()
    at_start = load()
    say(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}")
    say(f"load at the start: {at_start:.2f}" + (f" - above {LOAD_LIMIT:g}: " + BUSY if at_start > LOAD_LIMIT else ""))
    figures: dict[str, Any] = {"load": at_start, "cores": len(os.sched_getaffinity(0)), "quick": asked.quick}
    for name in asked.only:
        begun = time.monotonic()
        figures[name], text = measure(name, asked.quick)
        say(f"\n== {name} ({time.monotonic() - begun:.0f} s)\n{text}".rstrip())
    goals = [row for name in asked.only for row in figures[name].get("goals", ())]
    say(f"\n{sum(row['met'] for row in goals)} of {len(goals)} goals met")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n")


BUSY = "the machine is busy, do not trust these figures"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
