"""Bad weather that a test orders while a run is at work: through files of a folder, so that it reaches every process.

The toy source and generator (``tests.faulty``, option and parameter ``weather``) and ``StormyStore`` ask here at every
step. Without files nothing happens, so the undisturbed twin is made by the same recipe.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lesionforge.sinks.store import Store, StoreError

CUDA = "CUDA error: an illegal memory access was encountered"


class OutOfMemoryError(RuntimeError):
    """Named as torch.cuda's."""


class Weather:
    """What is ordered, as files ``STAGE.KIND.WHOM`` of a folder.

    Stages: ``read``, ``make``, ``write`` (a store's), ``look`` (a store's reading). Kinds: an errno's name, ``cuda``,
    ``gpu-memory``, ``memory``, ``store`` and ``slow``, a sleep of a second.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def bring(self, stage: str, kind: str, times: int | None = None, at: str | int | None = None) -> None:
        """Order it.

        Args:
            times: how often it strikes; always where ``None``.
            at: the case, the sample or the object that it strikes; any where ``None``.
        """
        whom = "any" if at is None else f"at-{str(at).replace('/', '-')}"
        for n in range(times or 1):
            (self.folder / f"{stage}.{kind}.{whom}.{'always' if times is None else n}").touch()

    def strike_process(self, stage: str, kind: str, pid: int) -> None:
        """Order it for whatever one process does."""
        (self.folder / f"{stage}.{kind}.process-{pid}.always").touch()

    def clear(self) -> None:
        """Fair weather."""
        for path in self.folder.iterdir():
            path.unlink(missing_ok=True)


def strike(folder: str, stage: str, at: str | int) -> None:
    """Do what is ordered for a stage at a case, a sample or an object."""
    if not folder:
        return
    mine = {"any", f"at-{str(at).replace('/', '-')}", f"process-{os.getpid()}"}
    for path in sorted(Path(folder).glob(f"{stage}.*")):
        _, kind, whom, times = path.name.split(".", 3)
        if whom in mine:
            if times != "always":
                try:
                    path.unlink()
                except FileNotFoundError:  # another process was struck by it
                    continue
            _happen(kind)


def _happen(kind: str) -> None:
    if kind == "cuda":
        raise RuntimeError(CUDA)
    if kind == "gpu-memory":
        raise OutOfMemoryError("CUDA out of memory, ordered")
    if kind == "memory":
        raise MemoryError("Unable to allocate 7 GiB, ordered")
    if kind == "store":
        raise StoreError("cannot write there, ordered")
    if kind == "slow":
        time.sleep(1)
        return
    number = getattr(errno, kind)
    raise OSError(number, os.strerror(number), "/a/path/with/a/patients/name")


class StormyStore(Store):
    """A store whose weather is ordered by ``storage_options: {weather: FOLDER}``, for local places."""

    def put_new(self, path: str, data: Any) -> bool:
        self._strike("write", path)
        return super().put_new(path, data)

    def put(self, path: str, data: bytes | bytearray | memoryview | Sequence[Any]) -> None:
        self._strike("write", path)
        super().put(path, data)

    def get(self, path: str, most: int | None = None) -> bytes:
        self._strike("look", path)
        return super().get(path, most)

    def _strike(self, stage: str, path: str) -> None:
        with self._errors(stage, path, absent=StoreError):
            strike(self._options.get("weather", ""), stage, path.rsplit("/", 1)[-1].split(".")[0])
