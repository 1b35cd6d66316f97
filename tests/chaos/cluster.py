"""A Ray cluster of several nodes on this machine whose processes can be told from everybody else's."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from tests.clusters import LEAN

MARK = "LESIONFORGE_CHAOS"  # in the environment of every process of ours, and of nobody else's
PATIENCE = 480.0  # seconds to wait for anything at all: slow machines are slow, and a hang must end


class Stuck(Exception):
    """Something did not happen in all the time there is."""


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait for a condition; returns its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise Stuck(f"waited {seconds:g} s for {what}")
        time.sleep(0.02)
    return value


class Ours:
    """The processes that this campaign has started, by a mark in their environment."""

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self.folder = Path(tempfile.mkdtemp(prefix="lfc-", dir="/tmp"))  # short: Ray's sockets lie below
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        root = Path(__file__).resolve().parents[2]
        self.environment = {
            MARK: self.mark,
            "RAY_TMPDIR": str(self.folder),
            "TMPDIR": str(self.temporary),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")])),
        }

    def marked(self) -> Iterator[psutil.Process]:
        """Those that live."""
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    yield process
            except psutil.Error:  # gone meanwhile, or somebody else's
                continue

    def workers(self) -> list[psutil.Process]:
        """Our shard workers, whichever node they are on."""
        return [process for process in self.marked() if _title(process).startswith("ray::ShardWorker")]

    def outlive(self) -> int:
        """Workers that are still there a minute after their driver's end."""
        try:
            until(lambda: not self.workers(), "the end of the workers", 60)
        except Stuck:
            return len(self.workers())
        return 0

    def end(self) -> list[str]:
        """Wait until all have ended by themselves; what has not is an orphan, named here and killed."""
        try:
            until(lambda: not list(self.marked()), "the end of our processes", 120)  # Ray's agents take a minute
        except Stuck:
            orphans = list(self.marked())
            names = [_title(process) for process in orphans]
            for process in orphans:
                process.kill()
            return names
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        return []


def _title(process: psutil.Process) -> str:
    try:
        return (process.cmdline() or [""])[0]
    except psutil.Error:
        return ""


class Nodes:
    """A head that works not, and nodes of one CPU each that do."""

    def __init__(self, ours: Ours, count: int) -> None:
        from ray.cluster_utils import Cluster

        self.ours, self.count = ours, count
        with mock.patch.dict(os.environ, ours.environment):
            self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **LEAN})
        self.fill()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def fill(self) -> None:
        """Add nodes until there are as many as asked for: what an autoscaler would do."""
        with mock.patch.dict(os.environ, self.ours.environment):
            while len(self._cluster.worker_nodes) < self.count:
                self._cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)

    def kill_worker(self, rng: random.Random) -> int:
        """SIGKILL one worker; returns how many workers that took."""
        worker = rng.choice(until(self.ours.workers, "a worker"))
        worker.kill()
        return 1

    def kill_raylet(self, rng: random.Random) -> int:
        """SIGKILL a node's raylet; its workers go with it."""
        node = rng.choice(sorted(self._cluster.worker_nodes, key=lambda node: node.node_id))
        raylet = int(node.all_processes["raylet"][0].process.pid)
        took = sum(worker.ppid() == raylet for worker in self.ours.workers())
        os.kill(raylet, signal.SIGKILL)
        self._cluster.remove_node(node, allow_graceful=False)
        return took

    def shutdown(self) -> None:
        self._cluster.shutdown()


@contextmanager
def cluster(count: int, **settings: str) -> Iterator[tuple[Nodes, list[str]]]:
    """A cluster, and the names of the processes that outlived it (there ought to be none).

    Args:
        count: nodes that work.
        settings: environment variables of every process.
    """
    ours, orphans = Ours(), list[str]()
    ours.environment |= settings
    try:
        nodes = Nodes(ours, count)
        try:
            yield nodes, orphans
        finally:
            nodes.shutdown()
    finally:
        orphans += ours.end()
