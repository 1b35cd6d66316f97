"""``python -m tests.cpus``: recipes made as other CPUs would, all bytes held against each other. Exit code 0: equal."""

import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tests.cpus.campaign import ROOT, SETTINGS, made

RECIPES = ("demo", "stenosis_phantom", "lesion_phantom", "plaque_phantom", "angio_ct_phantom")


def main() -> int:
    console, unequal = Console(soft_wrap=True), 0
    with tempfile.TemporaryDirectory(prefix="lf-cpus-") as folder:
        for name in RECIPES:
            path = ROOT / "jobs" / "recipes" / f"{name}.yaml"
            found = {s: made(s, path, Path(folder) / name / str(n)) for n, s in enumerate(SETTINGS)}
            first = found["this CPU"]
            for setting, shards in list(found.items())[1:]:
                other = sum(shards.get(shard) != digest for shard, digest in first.items())
                unequal += other
                console.print(f"{name}, {setting}: {other} of {len(first)} shards differ")
    return 1 if unequal else 0


if __name__ == "__main__":
    sys.exit(main())
