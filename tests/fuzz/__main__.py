"""``python -m tests.fuzz``: spoiled inputs of every kind through the product's own readers, and a table of figures."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.fuzz.campaign import ENDS, Campaign, Limits
from tests.fuzz.kinds import KINDS

HEADS = {"error": "one-line errors", "generic": "generic reasons", "crash": "crashes", "hang": "hangs"}
HEADS |= {"memory": "over memory", "escape": "escaped paths"}


def main() -> int:
    """Run a campaign, or one input of it again."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", type=int, default=1024, help="MiB that a worker may grow by (RLIMIT_AS)")
    parser.add_argument("--seconds", type=float, default=10, help="of the processor, for one input")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--again", metavar="KIND/NUMBER", help="make this one input and read it here, with a traceback")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.again:
        return again(args.again, args.seed)
    limits = Limits(args.memory * 2**20, args.seconds)
    campaign = Campaign(args.inputs, args.seed, args.workers, limits, tuple(args.kinds))
    began = time.monotonic()
    campaign.run()
    show(campaign, time.monotonic() - began)
    if args.json:
        args.json.write_text(json.dumps(campaign.figures(), indent=1) + "\n")
    return 0 if campaign.sound else 3


def show(campaign: Campaign, seconds: float) -> None:
    """The table, and every input that is worth a look."""
    out = Console()
    grid = Table(box=None, header_style="dim", title_justify="left", title=f"fuzz: seed {campaign.seed}")
    for n, head in enumerate(("kind", "inputs", *(HEADS.get(end, end) for end in ENDS))):
        grid.add_column(head, justify="left" if n == 0 else "right")
    for kind in campaign.kinds:
        counts = [campaign.counts[kind, end] for end in ENDS]
        grid.add_row(kind, *(f"{n:,}" for n in (sum(counts), *counts)))
    totals = [campaign.total(end) for end in ENDS]
    grid.add_row("all", *(f"{n:,}" for n in (sum(totals), *totals)), style="bold")
    out.print(grid)
    limits = campaign.limits
    out.print(
        f"limits of an input: {limits.memory >> 20} MiB more address space, {limits.cpu_seconds:g} s of processor; "
        f"reached: {campaign.peak_bytes >> 20} MiB more resident, {campaign.slowest:.1f} s; {seconds:.0f} s in all"
    )
    for item in campaign.notable[:60]:
        out.print(f"{item['end']} {item['kind']}/{item['number']}: {item['said']}", markup=False, highlight=False)


def again(name: str, seed: int) -> int:
    """One input without limits, in this process: for a debugger."""
    from tests.fuzz.kinds import load
    from tests.fuzz.mutate import Rng

    kind, number = name.split("/")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-again-"))
    rng, module = Rng(f"{seed}/{kind}/{number}"), load(kind)
    module.build(rng, folder)
    out = Console()
    out.print(f"the input is in {folder}")
    for line in module.run(rng, folder):
        out.print(line, markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
