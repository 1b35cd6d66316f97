"""What the parts share: what was asked, the time that is left, and a report that is written as it grows."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Asked:
    """How all parts run.

    Attributes:
        device: torch device string.
        toy: everything at a size that shows that it runs, and nothing else.
        data: dataset of bi-plane samples to learn reconstruction from; None: trees are made as they are needed.
        out: where the results go.
        stenoses: dataset of drawn stenoses to fit the diffusion backend on; None: of phantoms, made as they are needed.
        lesions: dataset of drawn plaques to fit the lesion backends on; None: of phantoms, made as they are needed.
    """

    device: str
    toy: bool
    data: Path | None
    out: Path
    stenoses: Path | None = None
    lesions: Path | None = None

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")


class MissingError(Exception):
    """Something is not installed; its text is what."""


def need(*modules: str) -> None:
    """Raise ``MissingError`` where modules cannot be imported."""
    if lacking := [name for name in modules if find_spec(name) is None]:
        raise MissingError(", ".join(lacking))


def missing(error: Exception) -> str:
    """The library of others that an error says is not there, or nothing."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return "" if name in ("lesionforge", "tests") else name


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def write(file: Path, body: Mapping[str, Any]) -> None:
    """JSON that is there whole or not at all; what is no number is null."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(_plain(body), indent=1) + "\n")
    os.replace(part, file)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Report:
    """A part's results; its file follows every change.

    Args:
        name: of the part.
        out: the folder it is written into.
        seconds: that the part has.
    """

    def __init__(self, name: str, out: Path, seconds: float) -> None:
        self._file, self._begun, self._seconds = out / f"{name}.json", time.monotonic(), seconds
        self.body: dict[str, Any] = {"state": "running", "seconds": 0.0, "checks": [], "skipped": []}
        self._write()

    @property
    def left(self) -> float:
        """Seconds."""
        return self._begun + self._seconds - time.monotonic()

    def check(self, what: str, met: bool, **figures: Any) -> None:
        """Something that must be so, with the figures that show it."""
        self.body["checks"].append({"check": what, "met": bool(met), **figures})
        told = ", ".join(f"{name} {_short(value)}" for name, value in figures.items())
        say(f"  {'ok' if met else 'FAILED'}: {what}{f' ({told})' if told else ''}")
        self._write()

    def row(self, table: str, **cells: Any) -> None:
        """A row of a table of figures."""
        self.body.setdefault(table, []).append(cells)
        self._write()

    def skip(self, what: str, needs: str) -> None:
        """Something that was not looked at: never counted as passed."""
        self.body["skipped"].append({"what": what, "needs": needs})
        say(f"  skipped: {what} needs {needs}")
        self._write()

    def end(self, error: str | None = None) -> None:
        """Settle the state: ``passed`` where all was looked at and is as it must be."""
        checks, skipped = self.body["checks"], self.body["skipped"]
        failed = error is not None or not all(one["met"] for one in checks)
        self.body["state"] = "failed" if failed else "skipped" if skipped else "passed" if checks else "failed"
        if error is not None:
            self.body["error"] = error
            say(f"  FAILED: {error}")
        self._write()

    def _write(self) -> None:
        self.body["seconds"] = round(time.monotonic() - self._begun, 1)
        write(self._file, self.body)


def _short(value: Any) -> str:
    value = _plain(value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)
