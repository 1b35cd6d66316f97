"""Storage faults: whole runs through a proxy that spoils the traffic to a real S3 server, each held to the promises.

`python -m tests.chaos.storage [--seed N] [--json FILE]` runs this campaign alone, with those of one driver at a time
(`storage_alone`) and of local folders (`storage_local`).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lesionforge.infra.ceph import Ceph, install
from tests.chaos import storage_alone, storage_local
from tests.chaos.proxy import Call
from tests.chaos.storage_bench import BUCKET, Bench, Figures, Reader, check, count, cured, disturbed, refused, said
from tests.chaos.toy import ROOT

#: fault -> share of the calls that it meets, and how often in a row at most; what a run must get through
PASSING = {
    "slowdown": (0.4, 3),
    "cut_request": (0.4, 2),
    "cut_answer": (0.3, 2),
    "lost": (0.4, 2),
    "absent": (0.7, 2),
    "silent": (0.15, 1),
    "slow": (0.1, 2),
    "spoilt": (0.4, 2),
}


#: the same, fewer at a time, for the short form
MIXED = (("slowdown", "absent", "spoilt"), ("cut_request", "cut_answer", "lost"), ("silent", "slow"))


def campaign(bench: Bench, small: bool = False) -> list[Figures]:
    """Every kind of fault; ``small``: in three mixtures, and only some of those that end a run."""
    if small:
        out = [disturbed(bench, ", ".join(kinds), _mixed(bench, kinds)) for kinds in MIXED]
        return [*out, _keys_expire(bench), _forbidden(bench, "PutObject")]
    out = [disturbed(bench, kind, bench.draw(kind, *PASSING[kind])) for kind in PASSING]
    everything_but_silence = [*MIXED[0], *MIXED[1]]
    out.append(_over_ray(bench, "mixed, 2 Ray workers", "honest", _mixed(bench, everything_but_silence)))
    out.append(_over_ray(bench, "condition ignored, 2 Ray workers", "ignored", bench.draw("lost", 0.3, 2)))
    out.append(_keys_expire(bench))
    out.append(refused(bench, "server falls silent", _after(25, "silent"), "the endpoint is unreachable"))
    out.append(refused(bench, "SlowDown without end", _after(25, "slowdown"), "SlowDown"))
    out += [_forbidden(bench, action) for action in ("PutObject", "GetObject", "ListBucket")]
    out.append(_missing_bucket(bench))
    return out


def _keys_expire(bench: Bench) -> Figures:
    return refused(bench, "keys expire", _after(25, "expired"), "the credentials are out of date")


def _after(number: int, kind: str) -> Callable[[Call], str]:
    """All calls but the first so many."""
    calls = itertools.count()
    return lambda call: kind if next(calls) >= number else ""


def _mixed(bench: Bench, kinds: Sequence[str]) -> Callable[[Call], str]:
    """Several kinds, each call met by one of them at most and never more than twice in a row."""
    draws = [bench.draw(kind, min(0.25, PASSING[kind][0]), 2) for kind in kinds]
    return lambda call: next(filter(None, (draw(call) for draw in draws)), "")


def _over_ray(bench: Bench, name: str, creation: str, fault: Callable[[Call], str]) -> Figures:
    """A run that must get through with two Ray workers, started by the command line."""
    figures, url, begun = Figures(name), f"s3://{BUCKET}/ray-{creation}", time.monotonic()
    bench.proxy.calm()
    bench.proxy.creation, bench.proxy.fault = creation, fault
    command = (
        "from lesionforge.jobs.cli import main; main()",
        "generate",
        str(bench.path),
        "--out",
        url,
        "--workers",
        "2",
        "--json",
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with Reader(bench.direct(url), figures):
        done = subprocess.run(
            [sys.executable, "-c", *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280
        )
    figures.wrong += [f"exit code {done.returncode}: {done.stderr[-500:]}"] if done.returncode else []
    count(figures, bench.proxy)
    check(figures, bench, url)
    figures.seconds = time.monotonic() - begun
    return figures


@contextlib.contextmanager
def _policy(bench: Bench, bucket: str, action: str) -> Iterator[None]:
    """A bucket on which the server itself refuses an action."""
    bench.buckets.create_bucket(Bucket=bucket)
    where = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    statement = {"Effect": "Deny", "Principal": "*", "Action": [f"s3:{action}"], "Resource": where}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    bench.buckets.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    yield
    bench.buckets.delete_bucket_policy(Bucket=bucket)


def _forbidden(bench: Bench, action: str) -> Figures:
    """A bucket without one permission, refused by the server's own policy."""
    figures, bucket, begun = Figures(f"no s3:{action}"), f"no-{action.lower()}", time.monotonic()
    bench.proxy.calm()
    with _policy(bench, bucket, action):
        said(figures, lambda: bench.run(f"s3://{bucket}/x"), "AccessDenied")
    count(figures, bench.proxy)
    return cured(figures, bench, f"s3://{bucket}/x", begun)


def _missing_bucket(bench: Bench) -> Figures:
    figures, begun = Figures("no such bucket"), time.monotonic()
    bench.proxy.calm()
    said(figures, lambda: bench.run("s3://chaos-later/x"), "create bucket chaos-later")
    count(figures, bench.proxy)
    bench.buckets.create_bucket(Bucket="chaos-later")
    return cured(figures, bench, "s3://chaos-later/x", begun)


def everything(seed: int, small: bool = False) -> list[Figures]:
    """All storage campaigns, on a server of their own; ``small`` hurries the pauses and leaves Ray out.

    Raises:
        CephError: there is no S3 server and it cannot be installed.
    """
    install()
    with tempfile.TemporaryDirectory(prefix="lf-storage-") as folder, Ceph() as server:
        bench = Bench(server.env(), Path(folder), seed, hurry=0.1 if small else 1.0, samples=32 if small else 40)
        with bench.open():
            return [*campaign(bench, small), *storage_alone.campaign(bench, small), *storage_local.campaign(seed)]


def table(rows: Sequence[Figures]) -> Table:
    """The figures for people."""
    grid = Table(title="storage faults", title_justify="left", box=None, pad_edge=False)
    names = ("fault", "injected", "calls", "ended", "lost", "doubled", "halves/looks", "differing", "gc", "left", "s")
    for name in names:
        grid.add_column(name, justify="left" if name in ("fault", "ended") else "right")
    for row in (*rows, total(rows)):
        ended = "skipped" if row.skipped else "one line; cured: finished" if row.said else "finished"
        figures = (row.injected, row.calls, ended, row.lost, row.duplicated, f"{row.half}/{row.looks}", row.differing)
        cells = (row.name, *figures, row.swept, row.leftovers, f"{row.seconds:.1f}")
        grid.add_row(*map(str, cells), style=None if row.good else "red")
    return grid


def show(console: Console, rows: Sequence[Figures]) -> None:
    """The figures, what was wrong, and what was left out."""
    console.print(table(rows))
    for row in rows:
        for line in filter(None, (*row.wrong, row.skipped)):
            console.print(f"{row.name}: {line}", markup=False)


def total(rows: Sequence[Figures]) -> Figures:
    """The sums."""
    out = Figures(f"{len(rows)} cases")
    for name in (
        "injected",
        "calls",
        "lost",
        "duplicated",
        "half",
        "looks",
        "differing",
        "swept",
        "leftovers",
        "seconds",
    ):
        setattr(out, name, sum(getattr(row, name) for row in rows))
    return out


def main() -> None:
    """The campaigns on the command line; exit code 0 only where every promise held."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.storage", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures into this file as well")
    given = parser.parse_args()
    rows = everything(given.seed)
    show(Console(width=140), rows)
    if given.json:
        given.json.write_text(json.dumps([row.body() for row in rows], indent=1))
    sys.exit(0 if all(row.good for row in rows) else 1)


if __name__ == "__main__":
    main()
