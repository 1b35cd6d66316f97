"""Inputs that do what no input may, to show that the campaign would notice; of no campaign's own kinds."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
from collections import Counter
from pathlib import Path

from lesionforge.engine.sources.base import SourceError
from tests.fuzz.mutate import Rng

TRAPS = (
    "crash",
    "hang",
    "memory",
    "escape",
    "escape",
    "escape",
    "crash",
    "crash",
    "generic",
    "error",
    "read",
    "hang",
    "read",
    "escape",
)


def build(rng: Rng, folder: Path) -> None:
    """The number of the trap, which the test has left beside the folder."""
    (folder / "trap").write_bytes((folder.parent / "trap").read_bytes())


def told(message: str) -> bool:
    """Errors name a field."""
    return "sources.0" in message


def run(rng: Rng, folder: Path) -> list[str]:
    """Spring the trap."""
    match int((folder / "trap").read_text()):
        case 0:
            os.kill(os.getpid(), signal.SIGKILL)
        case 1:
            while True:
                pass
        case 2:
            bytearray(2**34)
        case 3:
            Path("/etc/hostname").exists() and Path("/etc/hostname").read_bytes()
        case 4:
            (folder / ".." / "outside").write_text("x")
        case 5:
            pickle.loads(pickle.dumps(Counter))
        case 6:
            raise TypeError("unforeseen")
        case 7:
            raise SourceError("something is wrong")
        case 8:
            return ["source: TypeError: unforeseen (reader.py:7)"]
        case 9:
            raise SourceError("sources.0.uri (nifti): no such folder")
        case 11:
            signal.pause()
        case 12:
            (folder / "a" / "b").mkdir(parents=True)
            shutil.rmtree(folder / "a")  # by names within open folders
        case 13:
            os.mkdir("outside", dir_fd=os.open(folder.parent, os.O_DIRECTORY))
    return []
