"""Nodes in network namespaces of their own, with addresses of their own; one is cut off and comes back.

Needs root, ``ip`` and the right to make namespaces; where that is not given, ``missing`` says so.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from lesionforge.engine.pipeline import Pipeline
from tests.chaos.cluster import Ours, Stuck, until
from tests.chaos.figures import Run, check, redone
from tests.chaos.toy import SHARD, Driver, recipe, undisturbed
from tests.chaos.zombies import changed, state, stop_one, wake

SAMPLES = 160
SECONDS = 0.4  # a sample: the run must outlast the cut
#: A lost node is noticed in seconds, where Ray takes half a minute by default. No token: the network is our own.
QUICK = {"RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "1000"}
QUICK |= {"RAY_health_check_failure_threshold": "4", "RAY_AUTH_MODE": "disabled"}


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def missing() -> str:
    """Why this cannot run here, or an empty string."""
    if shutil.which("ip") is None:
        return "there is no `ip` command"
    name = f"lf{uuid.uuid4().hex[:8]}"
    try:
        ip("netns", "add", name)
        try:
            ip("link", "add", name, "type", "bridge")
            ip("link", "del", name)
        finally:
            ip("netns", "del", name)
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not permitted: {str(error.stderr).strip()}"
    return ""


class Network:
    """A bridge, and a namespace for each node; node 0 is the head, in the machine's own namespace."""

    def __init__(self, ours: Ours, count: int) -> None:
        self._ours, self._name = ours, f"lf{uuid.uuid4().hex[:6]}"
        self._net = f"10.{random.randrange(200, 250)}.{random.randrange(256)}"
        self.count = count
        ours.environment |= QUICK
        self._environment = os.environ | ours.environment
        try:
            self._build()
        except BaseException:
            self.shutdown()
            raise

    def _build(self) -> None:
        ip("link", "add", self._name, "type", "bridge")
        ip("addr", "add", f"{self._net}.1/24", "dev", self._name)
        ip("link", "set", self._name, "up")
        for n in range(1, self.count + 1):
            space = self.space(n)
            ip("netns", "add", space)
            ip("link", "add", space, "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("link", "set", space, "master", self._name, "up")
            ip("-n", space, "addr", "add", f"{self._net}.{n + 1}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
            ip("-n", space, "link", "set", "lo", "up")
        with socket.socket() as free:
            free.bind((f"{self._net}.1", 0))
            self.address = f"{self._net}.1:{free.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        self._start(0, "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false")
        for n in range(1, self.count + 1):
            self.start(n)

    def space(self, n: int) -> str:
        """Name of a node's namespace, and of the link that leads to it."""
        return f"{self._name}n{n}"

    def start(self, n: int) -> None:
        """Start a node; back when it has joined."""
        self._start(n, f"--address={self.address}", "--num-cpus=1")

    def _start(self, n: int, *more: str) -> None:
        inside = ["ip", "netns", "exec", self.space(n)] if n else []
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *more]
        address = f"--node-ip-address={self._net}.{n + 1}"
        said = self._ours.folder / f"node{n}.log"
        with said.open("w") as log:
            subprocess.Popen(
                [*inside, *command, address, f"--object-store-memory={80 * 2**20}"],
                env=self._environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            until(lambda: "Ray runtime started" in said.read_text(), f"node {n}", 120)
        except Stuck:
            raise Stuck(f"node {n} does not start: {said.read_text()[-2000:]}") from None

    def cut(self, n: int) -> None:
        """Take a node's cable out."""
        ip("link", "set", self.space(n), "down")

    def mend(self, n: int) -> None:
        """Plug it in again."""
        ip("link", "set", self.space(n), "up")

    def pids(self, n: int) -> set[int]:
        """Processes of a node."""
        done = subprocess.run(["ip", "netns", "pids", self.space(n)], check=True, capture_output=True, text=True)
        return {int(pid) for pid in done.stdout.split()}

    def shutdown(self) -> None:
        """End the nodes; what has not ended after a while is killed."""
        for process in self._ours.marked():
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        with suppress(Stuck):
            until(lambda: not list(self._ours.marked()), "the end of the nodes", 15)
        for process in self._ours.marked():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for n in range(1, self.count + 1):
            for words in (("link", "del", self.space(n)), ("netns", "del", self.space(n))):
                with suppress(subprocess.CalledProcessError):
                    ip(*words)
        ip("link", "del", self._name)


@contextmanager
def network(count: int) -> Iterator[tuple[Ours, Network]]:
    """A cluster whose nodes have addresses of their own."""
    ours = Ours()
    try:
        net = Network(ours, count)
        try:
            yield ours, net
        finally:
            net.shutdown()
    finally:
        ours.end()


def campaign(folder: Path, seed: int) -> Run:
    """A node is cut off with a worker of its own asleep; the worker wakes a zombie, the node comes back and works."""
    rng, begun, run = random.Random(seed), time.monotonic(), Run("node cut off and brought back")
    log, out = folder / "log", folder / "out"
    log.mkdir(parents=True)
    asked = recipe(rng.randrange(2**31), SAMPLES, {"seconds": SECONDS, "log": str(log)})
    grown = asked.model_copy(update={"multiply": 2})
    undisturbed(grown, folder / "clean")
    for file in log.iterdir():
        file.unlink()
    with network(3) as (ours, net):
        driver = Driver(ours, net.address, asked, out, net.count)
        driver.until(lambda: driver.committed() >= 2, "two shards")
        worker, index = stop_one(ours, rng, log, out, Pipeline(asked).plan)
        run.kills["stopped"] += 1
        lost = next(n for n in range(1, net.count + 1) if worker.pid in net.pids(n))
        net.cut(lost)
        run.kills["cut off"] += 1
        run.workers_lost = 1
        driver.until(index.exists, "another's commit of the zombie's shard")
        before, slept = state(out), (log / str(worker.pid)).read_text()
        if not wake(worker):
            run.wrong.append("the worker was gone before it could wake")
        else:
            until(lambda: (log / str(worker.pid)).read_text() != slept or not worker.is_running(), "a sign of life")
        net.mend(lost)
        until(lambda: worker.pid not in net.pids(lost), "the end of the lost node's worker")
        until(lambda: not net.pids(lost), "the end of the lost node")
        driver.finish()
        run.redone = redone(log, SHARD)
        run.wrong += changed(before, out)
        net.start(lost)
        more = Driver(ours, net.address, grown, out, net.count)  # refused if the node had not come back
        more.until(lambda: any((log / str(pid)).exists() for pid in net.pids(lost)), "work on the node that came back")
        more.finish()
        run.orphans = ours.outlive()
    check(run, grown, out, folder / "clean")
    run.seconds = time.monotonic() - begun
    return run
