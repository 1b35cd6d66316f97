"""Faults of local folders: a full disk, one that becomes read-only, a folder that may not be written.

They run in a process with a mount namespace of its own and without the right to override permissions, so that they
mean what they mean to a user, also where this runs as root.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from unittest import mock

from lesionforge.engine import retries
from lesionforge.jobs import console
from lesionforge.sinks.store import lease
from tests.chaos.cluster import until
from tests.chaos.storage_alone import pixels
from tests.chaos.storage_bench import BEAT, STALE, Figures, Reader, Twin, cured, said
from tests.chaos.toy import ROOT

Change = Callable[[Path], object]
NAMES = ("disk full", "disk becomes read-only", "disk is read-only", "folder may not be written", "no right, mid-run",
         "disk full for a while")  # fmt: skip
_RIGHTS = "-dac_override,-dac_read_search"
_OWN = ("unshare", "--map-root-user", "--mount", "setpriv", f"--bounding-set={_RIGHTS}", f"--inh-caps={_RIGHTS}")


def campaign(seed: int) -> list[Figures]:
    """All of them; skipped, with the reason, where this machine does not let us mount."""
    with tempfile.TemporaryDirectory(prefix="lf-local-") as folder:
        here = Path(folder)
        (here / "disk").mkdir()
        may = subprocess.run([*_OWN, *_mount(here / "disk", "size=1m")], capture_output=True, text=True)
        if may.returncode:
            why = f"no mount namespace of our own: {may.stderr.strip().splitlines()[-1]}"
            return [Figures(name, skipped=why) for name in NAMES]
        command = [*_OWN, sys.executable, "-m", "tests.chaos.storage_local", folder, str(seed)]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
        if done.returncode:
            return [Figures("local folders", wrong=[done.stderr[-2000:]])]
        known = {field.name for field in fields(Figures)}
        return [Figures(**{k: v for k, v in row.items() if k in known}) for row in json.loads(done.stdout)]


def _mount(disk: Path, options: str) -> list[str]:
    return ["mount", "-t", "tmpfs", "-o", options, "none", str(disk)]


def _remount(disk: Path, options: str) -> None:
    def once() -> bool:  # a file that is open for writing is in the way
        return subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], capture_output=True).returncode == 0

    until(once, f"the remount with {options}")


def _inside(folder: Path, seed: int) -> list[Figures]:
    twin, disk = Twin(folder, seed, samples=40), folder / "disk"

    def case(name: str, options: str, spoil: Change, words: str, mend: Change) -> Figures:
        subprocess.run(_mount(disk, options), check=True)
        out = disk / "out"
        out.mkdir()
        figures, begun = Figures(name, injected=1), time.monotonic()
        trouble = threading.Thread(target=spoil, args=(out,))
        with Reader(twin.direct(str(out)), figures), pixels(0, 0.02, {twin.last: trouble.join}):
            trouble.start()
            if "mid" not in name and "becomes" not in name:
                trouble.join()
            said(figures, lambda: twin.run(str(out)), words)
            trouble.join()
        mend(out)
        cured(figures, twin, str(out), begun)
        subprocess.run(["umount", str(disk)], check=True)
        return figures

    def committed(out: Path, count: int = 2) -> None:
        until(lambda: len(list((out / "index").glob("*.parquet"))) >= count, "the first shards")

    def becomes_read_only(out: Path) -> None:
        committed(out)
        _remount(disk, "ro")

    def loses_the_right(out: Path) -> None:
        committed(out)
        (out / "shards").chmod(0o555)

    def has_room_again(out: Path) -> Figures:
        """A full disk that is given room meanwhile: the run waits, and nobody need do anything."""
        subprocess.run(_mount(disk, "size=150k"), check=True)
        figures, begun = Figures(NAMES[5], injected=1), time.monotonic()
        timer = threading.Timer(1.5, lambda: _remount(disk, "size=64m"))
        with Reader(twin.direct(str(out)), figures), mock.patch.object(retries, "PAUSES", (0.5,) * 6):
            timer.start()
            result = twin.run(str(out))
            timer.join()
        figures.wrong += [result.short] if result.short else []
        cured(figures, twin, str(out), begun)
        subprocess.run(["umount", str(disk)], check=True)
        return figures

    full, denied = "the disk or quota is full", "permission denied: choose a folder"
    read_only = "the file system is read-only"
    return [
        case(NAMES[0], "size=150k", lambda out: None, full, lambda out: _remount(disk, "size=64m")),
        case(NAMES[1], "size=64m", becomes_read_only, read_only, lambda out: _remount(disk, "rw")),
        case(NAMES[2], "size=64m", lambda out: _remount(disk, "ro"), read_only, lambda out: _remount(disk, "rw")),
        case(NAMES[3], "size=64m", lambda out: out.chmod(0o555), denied, lambda out: out.chmod(0o755)),
        case(NAMES[4], "size=64m", loses_the_right, denied, lambda out: (out / "shards").chmod(0o755)),
        has_room_again(disk / "out"),
    ]


if __name__ == "__main__":
    console.err.quiet = True
    mock.patch.multiple(lease, BEAT=BEAT, STALE=STALE).start()
    mock.patch.object(retries, "PAUSES", (0.2,)).start()
    sys.stdout.write(json.dumps([row.body() for row in _inside(Path(sys.argv[1]), int(sys.argv[2]))]))
