"""What the weather campaign stands on: where a run takes place, its processes, and what is told of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.cluster import Nodes, Ours
from tests.chaos.proxy import Proxy
from tests.chaos.storms import VARIABLE
from tests.chaos.toy import ROOT
from tests.chaos.weather_faults import ANYWHERE, ON_A_DISK, ON_RAY, ON_S3, Fault
from tests.conftest import heed_sigint
from tests.weather import Weather

OK, FAILED, SHORT = 0, 1, 3  # exit codes


@dataclass
class Outcome:
    """How one run ended."""

    name: str
    where: str
    faults: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    end: str = ""
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def body(self) -> dict[str, Any]:
        """For machines."""
        return vars(self) | {"good": not self.wrong}


class Command:
    """One process of ours, and what it said."""

    def __init__(self, words: Sequence[str], environment: dict[str, str], said: Path) -> None:
        self.words, self._said, self.began = words, said, time.monotonic()
        line = "import tests.chaos.storms; from lesionforge.jobs.cli import main; main()"
        with said.with_suffix(".out").open("w") as out, said.with_suffix(".err").open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-c", line, *words],
                cwd=ROOT, env=environment, stdout=out, stderr=err, preexec_fn=heed_sigint,
            )  # fmt: skip

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.process.poll()

    def kill(self) -> None:
        """At once."""
        self.process.kill()
        self.process.wait()

    def problems(self) -> list[str]:
        """What no weather excuses."""
        text = self._said.with_suffix(".err").read_text() + self._said.with_suffix(".out").read_text()
        if "Traceback" in text:
            return [f"{self.words[0]}: traceback: {text[text.index('Traceback') :][-600:]}"]
        if self.code not in (OK, FAILED, SHORT, -signal.SIGKILL):
            return [f"{self.words[0]}: exit code {self.code}: {text[-300:]}"]
        return []

    def at_work(self) -> bool:
        """Whether it has begun to make what is to be made."""
        return " shards" in self._said.with_suffix(".err").read_text()

    def last(self) -> str:
        """The last line of what it said."""
        lines = self._said.with_suffix(".err").read_text().strip().splitlines()
        return lines[-1] if lines else ""


@dataclass
class Where:
    """Where a run takes place: in a folder and one process, but for what is given.

    Attributes:
        ours: the processes that are started.
        orders: the folder that they look into.
        nodes: a cluster whose workers do the work.
        server, proxy: a bucket in place of the folder: the server's AWS variables, and what stands before it.
    """

    ours: Ours
    orders: Weather
    nodes: Nodes | None = None
    server: dict[str, str] | None = None
    proxy: Proxy | None = None

    @property
    def name(self) -> str:
        """In a word."""
        return "Ray" if self.nodes else "S3" if self.proxy else "folder"

    def kinds(self) -> dict[str, Fault]:
        """The faults that there are."""
        return ANYWHERE | (ON_S3 if self.proxy else ON_A_DISK) | (ON_RAY if self.nodes else {})

    def environment(self) -> dict[str, str]:
        """Of every process."""
        found = os.environ | self.ours.environment | {VARIABLE: str(self.orders.folder)}
        found |= self.proxy.env if self.proxy else {}
        return found | ({"RAY_ADDRESS": self.nodes.address} if self.nodes else {})
