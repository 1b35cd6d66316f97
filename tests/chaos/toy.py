"""The job that is disturbed: toy samples, made by ``lesionforge generate`` in a process that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from lesionforge.engine import dataset, driver
from lesionforge.engine.finalise import finalise
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.pool import InProcess
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.recipe_yaml import parse
from lesionforge.sinks.store import Store
from tests import faulty
from tests.chaos.cluster import PATIENCE, Ours, until
from tests.conftest import heed_sigint

ROOT = Path(__file__).resolve().parents[2]
SHARD = 8  # samples


def recipe(
    seed: int,
    samples: int,
    params: dict[str, Any],
    options: dict[str, Any] | None = None,
    resources: dict[str, Any] | None = None,
    quality: dict[str, Any] | None = None,
) -> Recipe:
    """A recipe on the toy source and generator."""
    source = {"uri": "tests.faulty.Toy:here", "options": {"count": samples, **(options or {})}, "split": {"train": 1}}
    raw = {
        "name": "chaos",
        "seed": seed,
        "sources": [source],
        "generator": {"name": "tests.faulty.Faulty", "params": params},
        "splits": ["train"],
        "shard": {"samples": SHARD},
        "resources": {"cpus": 1, **(resources or {})},
        "quality": quality or {},
    }
    return parse(json.dumps(raw))


def undisturbed(recipe: Recipe, place: Path) -> None:
    """The same dataset, made in this process and without the pauses."""
    store, job = Store(str(place)), Pipeline(recipe)
    doc = dataset.describe(job)
    dataset.claim(store, doc)
    with mock.patch.object(faulty, "time", SimpleNamespace(sleep=lambda seconds: None)):
        driver.run(job, store, InProcess(recipe, store))
    finalise(store, doc)


class Driver:
    """``lesionforge generate`` in a process of its own; ``start`` again is the same command again."""

    def __init__(self, ours: Ours, address: str, recipe: Recipe, out: Path, workers: int) -> None:
        self.out, self._file, self._workers = out, out.parent / f"{out.name}.yaml", workers
        self._file.write_text(json.dumps(recipe.model_dump(mode="json")))
        self._environment = os.environ | ours.environment | {"RAY_ADDRESS": address}
        self.start()

    def start(self) -> None:
        command = "from lesionforge.jobs.cli import main; main()", "generate", str(self._file), "--out", str(self.out)
        with self._said("out").open("w") as out, self._said("err").open("w") as err:  # a pipe may fill, or never close
            self._process = subprocess.Popen(
                [sys.executable, "-c", *command, "--workers", str(self._workers), "--json"],
                cwd=ROOT, env=self._environment, stdout=out, stderr=err, preexec_fn=heed_sigint,
            )  # fmt: skip

    def _said(self, channel: str) -> Path:
        return self._file.with_suffix(f".{channel}")

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def running(self) -> bool:
        return self._process.poll() is None

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait for something that happens while it runs; its own failure is not waited for."""
        until(lambda: condition() or not self.running(), what)
        if not condition():
            self.finish()
            raise RuntimeError(f"the driver ended before {what}")

    def finish(self) -> dict[str, Any]:
        """Wait for its end; returns what it said.

        Raises:
            RuntimeError: where it failed.
        """
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._process.returncode != 0:
            err = self._said("err").read_text()[-2000:]
            raise RuntimeError(f"the driver ended with {self._process.returncode} (-9: it took {PATIENCE:g} s): {err}")
        said: dict[str, Any] = json.loads(self._said("out").read_text())
        return said

    def committed(self) -> int:
        """Shards that are there by now."""
        return len(list(self.out.glob("index/*.parquet")))
