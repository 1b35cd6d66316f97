"""The fault campaign: ``python -m tests.chaos [--runs N] [--seed S] [--json FILE]``.

Runs under random SIGKILLs of workers, raylets and the driver; poisonous samples; zombie workers; a source that is away,
a sick GPU, a paused machine; a node cut off from the network; a node out of memory; storage faults; bad
weather, all of it mixed. Exit code 0 only where every promise held.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos import kills, network, poison, storage, surroundings, weather, zombies
from tests.chaos.cluster import cluster
from tests.chaos.figures import ZERO, Run

NODES = 3
PARTS = ("kills", "poison", "zombies", "surroundings", "memory", "network", "storage", "weather")


def everything(folder: Path, runs: int, seed: int, only: Sequence[str]) -> tuple[list[Run], str]:
    """All runs, and why a part was left out."""
    out, skipped = list[Run](), ""

    def part(name: str, function: Callable[[], Run | list[Run]]) -> None:
        try:
            made = function()
        except Exception as error:  # its figures are gone; the campaign has failed, and goes on to show the rest
            made = Run(name, wrong=[f"{type(error).__name__}: {error}"])
        made = made if isinstance(made, list) else [made]
        out.extend(made)
        sys.stderr.write(f"{name}: {'good' if all(run.good for run in made) else 'NOT GOOD'}\n")

    if {"kills", "poison", "zombies", "surroundings"} & set(only):
        with cluster(NODES) as (nodes, orphans):
            rng = random.Random(seed)
            for n in range(runs if "kills" in only else 0):
                part(f"kills {n + 1}", lambda n=n: kills.one(n, nodes, folder / f"kills{n}", rng))  # type: ignore[misc]
            if "poison" in only:
                part("poison", lambda: poison.campaign(nodes, folder / "poison", seed, seconds=8))
            if "zombies" in only:
                part("zombies", lambda: zombies.campaign(nodes, folder / "zombies", seed, limit=8))
            for n in range(3 if "surroundings" in only else 0):
                place = folder / f"surroundings{n}"
                part("surroundings", lambda place=place: surroundings.on_ray(nodes, place, rng, limit=6))  # type: ignore[misc]
        out.append(Run("the cluster's end", orphans=len(orphans), wrong=orphans))
    if "memory" in only:
        part("node out of memory", lambda: poison.node_memory(folder / "memory", seed))
    if "network" in only and not (skipped := network.missing()):
        part("node cut off", lambda: network.campaign(folder / "network", seed))
    return out, skipped


def table(runs: Sequence[Run]) -> Table:
    """The figures for people; the last row sums them, but tells the worst of the redone work."""
    grid = Table(title="kills, poison, zombies, surroundings", title_justify="left", box=None, pad_edge=False)
    columns = ("run", "kills", "workers lost", "samples", "poisoned", "lost", "doubled", "differing")
    for name in (*columns, "redone/lost worker", "orphans", "gc", "left", "s"):
        grid.add_column(name, justify="left" if name in ("run", "kills") else "right", no_wrap=name == "run")
    for run in [*runs, total(runs)]:
        killed = ", ".join(f"{count} {kind}" for kind, count in sorted(run.kills.items()))
        redone = "-" if run.redone_per_worker is None else f"{run.redone_per_worker:.2f}"
        counts = (run.workers_lost, run.samples, run.poisoned, run.lost, run.duplicated, run.differing)
        ends = (redone, run.orphans, run.swept, run.leftovers, f"{run.seconds:.0f}")
        grid.add_row(run.name, killed, *map(str, (*counts, *ends)), style=None if run.good else "red")
    return grid


def total(runs: Sequence[Run]) -> Run:
    """The sums; of redone work, the worst."""
    out = Run(f"{len(runs)} runs")
    out.kills = sum((run.kills for run in runs), Counter())
    for name in (*ZERO, "samples", "poisoned", "workers_lost", "swept", "seconds"):
        setattr(out, name, sum(getattr(run, name) for run in runs))
    out.redone = out.workers_lost * max(run.redone_per_worker or 0 for run in runs)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="runs under random kills, of three to five kills each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some parts")
    asked = parser.parse_args()
    console = Console(width=180, highlight=False)
    body: dict[str, Any] = {"seed": asked.seed}
    with tempfile.TemporaryDirectory(prefix="lesionforge-chaos-") as folder:
        runs, body["skipped"] = everything(Path(folder), asked.runs, asked.seed, asked.only)
    good = all(run.good for run in runs)
    body["runs"] = [run.body() for run in runs]
    if runs:
        console.print(table(runs))
    for run in runs:
        for line in run.wrong:
            console.print(f"{run.name}: {line}", markup=False)
    if body["skipped"]:
        console.print(f"left out: a node in a network of its own ({body['skipped']})", markup=False)
    if "storage" in asked.only:
        try:
            faults = storage.everything(asked.seed)
        except Exception as error:
            good, faults = False, []
            console.print(f"storage: {type(error).__name__}: {error}", markup=False)
        storage.show(console, faults)
        body["storage"] = [fault.body() for fault in faults]
        good = good and all(fault.good for fault in faults)
    if "weather" in asked.only:
        outcomes = weather.everything(2 * asked.runs, asked.seed)
        weather.show(console, outcomes)
        body["weather"] = [outcome.body() for outcome in outcomes]
        good = good and not any(outcome.wrong for outcome in outcomes)
    if asked.json:
        asked.json.write_text(json.dumps(body | {"good": good}, indent=1) + "\n")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
