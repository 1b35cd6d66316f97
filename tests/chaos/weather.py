"""A random campaign of bad weather: ``python -m tests.chaos.weather [--runs N] [--seed S] [--json FILE]``.

Each run meets 5 to 20 faults, drawn by its seed, in a folder or a bucket, in one process or on Ray; the same command is
given again until it says that all is done. In the end the dataset is complete and byte-identical to a run in fair
weather, or it is not complete and says so; `tests.chaos.oracle` judges that. ``--only RUN`` plays one run alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

from rich.console import Console
from rich.table import Table

from tests.chaos.cluster import Ours, cluster
from tests.chaos.proxy import Proxy
from tests.chaos.storms import VARIABLE
from tests.chaos.weather_bench import Outcome, Where
from tests.chaos.weather_run import Run
from tests.fixtures_s3 import serve_moto
from tests.weather import Weather

WHERE = ("folder", "S3", "Ray")
PATTERN = ("folder", "S3", "folder", "Ray", "folder")  # where runs take place, in turn


def campaign(
    folder: Path, runs: int, seed: int, only: int | None = None, kinds: Sequence[str] = WHERE
) -> list[Outcome]:
    """Runs in turn in folders, in a bucket and on Ray."""
    out = list[Outcome]()
    chosen = {n: PATTERN[n % len(PATTERN)] for n in range(runs) if only is None or n == only}
    chosen = {n: kind for n, kind in chosen.items() if kind in kinds}
    for kind in WHERE:
        numbers = [n for n in chosen if chosen[n] == kind]
        if not numbers:
            continue
        with _where(kind, folder / kind) as (where, orphans):
            for n in numbers:
                run = Run(f"run {n}", seed * 1000 + n, folder / kind / str(n), where)
                out.append(_told(run))
        if orphans:
            out.append(Outcome(f"the end of {kind}", kind, wrong=list(orphans)))
    return out


def _told(run: Run) -> Outcome:
    try:
        outcome = run.play()
    except Exception as error:
        outcome = run.outcome
        outcome.wrong.append(f"{type(error).__name__}: {error}")
    sys.stderr.write(f"{outcome.name}, {outcome.where}: {'good' if not outcome.wrong else 'NOT GOOD'}, {outcome.end}\n")
    for line in outcome.wrong:
        sys.stderr.write(f"  {line}\n")
    return outcome


@contextmanager
def _where(kind: str, folder: Path) -> Iterator[tuple[Where, list[str]]]:
    """A place for runs, and the processes that outlived it."""
    orders = Weather(folder / "orders")
    if kind == "Ray":
        with cluster(2, **{VARIABLE: str(orders.folder)}) as (nodes, orphans):
            yield Where(nodes.ours, orders, nodes), orphans
        return
    ours, orphans = Ours(), list[str]()
    try:
        with ExitStack() as stack:
            where = Where(ours, orders)
            if kind == "S3":
                where.server = stack.enter_context(serve_moto())
                where.proxy = Proxy(where.server)
                stack.callback(where.proxy.close)
            yield where, orphans
    finally:
        orphans += ours.end()


def everything(
    runs: int, seed: int, only: int | None = None, kinds: Sequence[str] = WHERE, keep: Path | None = None
) -> list[Outcome]:
    """The campaign in a folder of its own, or one that is kept."""
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lesionforge-weather-")))
        with mock.patch.dict(os.environ, {"LESIONFORGE_CACHE": str(folder / "cache")}):
            return campaign(folder, runs, seed, only, kinds)


def show(console: Console, outcomes: Sequence[Outcome]) -> None:
    """The table, and all that was wrong."""
    console.print(table(outcomes))
    for outcome in outcomes:
        for line in outcome.wrong:
            console.print(f"{outcome.name}: {line}", markup=False)


def table(outcomes: Sequence[Outcome]) -> Table:
    """For people."""
    grid = Table(title="bad weather", title_justify="left", box=None, pad_edge=False)
    for name in ("run", "where", "faults", "of kinds", "attempts", "end", "verdict", "s"):
        grid.add_column(name, justify="right" if name in ("faults", "attempts", "s") else "left", overflow="fold")
    for o in outcomes:
        kinds = ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in sorted(o.faults.items()))
        cells = (o.name, o.where, o.faults.total(), kinds, o.attempts, o.end, "NOT GOOD" if o.wrong else "good")
        grid.add_row(*map(str, cells), f"{o.seconds:.0f}", style="red" if o.wrong else None)
    return grid


def main() -> None:
    """Exit code 0 only where nothing was complete and wrong, nothing hung, and no traceback was seen."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.weather", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="RUN", help="the number of one run, to be played alone")
    parser.add_argument("--where", nargs="+", choices=WHERE, default=WHERE)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave everything there, to look at")
    asked = parser.parse_args()
    outcomes = everything(asked.runs, asked.seed, asked.only, asked.where, asked.keep)
    show(Console(width=180, highlight=False), outcomes)
    if asked.json:
        asked.json.write_text(json.dumps([outcome.body() for outcome in outcomes], indent=1) + "\n")
    sys.exit(1 if any(outcome.wrong for outcome in outcomes) else 0)


if __name__ == "__main__":
    main()
