"""``python -m tests.privacy [--json FILE]``: identifiers and secrets in, none out. Exit code 0 where nothing leaked."""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.privacy.campaign import run
from tests.privacy.standard import TABLE_E_1_1

SHOWN = (
    "attributes of Table E.1-1", "identifiers planted", "secrets planted", "samples", "quarantined",
    "flagged as carrying writing", "commands", "command lines of processes", "sockets of our own Ray",
    "beyond loopback", "files searched", "bytes searched", "leaked",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.privacy", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work in this new folder and leave it there")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lf-privacy-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        figures = run(folder)
    figures |= {"attributes of Table E.1-1": len(TABLE_E_1_1), "seconds": round(time.monotonic() - began, 1)}
    table = Table(title="privacy", title_justify="left", box=None, show_header=False)
    for name in SHOWN:
        table.add_row(name, f"{figures[name]:,}")
    console = Console(soft_wrap=True)
    console.print(table)
    for leak in figures["leaks"]:
        console.print(f"leak: {leak}", markup=False)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if figures["leaked"] or figures["beyond loopback"] else 0


if __name__ == "__main__":
    sys.exit(main())
