"""A Ray cluster as operators start one: `ray start --block` for each node, with a token.

Ray takes this machine's own address where there are several nodes; the dashboard is on loopback.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

from lesionforge.infra.ceph import free_ports

BIN = Path(sys.executable).parent
STARTS = 3  # of a node, at most
#: For the head of a `ray.cluster_utils.Cluster`: without the processes that nobody here looks at, which poll all along.
LEAN = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}


class RayCluster:
    """A head, without work if nothing else is said, and nodes. Ends by its own processes alone.

    Attributes:
        env: for commands that use the cluster.
        folder: Ray's temporary folder; short, as sockets lie in it.
    """

    def __init__(self, bin_: Path = BIN, cpus: int = 0, **settings: str) -> None:
        """``bin_``: of the environment that the nodes run in. ``cpus``: of the head, for work.

        ``settings``: environment variables of every node.
        """
        self._bin = bin_
        self.folder = Path(tempfile.mkdtemp(prefix="lf-"))
        self._nodes: list[subprocess.Popen[bytes]] = []
        port, dashboard, self.metrics_port, client = free_ports(4)
        self.address, self.dashboard = f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}"
        token = self.folder / "token"
        self._token = secrets.token_hex(32)
        token.write_text(self._token)
        auth = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0"}
        ours = {"RAY_raylet_start_wait_time_s": "80"}  # patience with a busy machine
        clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "RAY_ADDRESS")}
        self._env = {**clean, **auth, **ours, **settings, "PATH": f"{bin_}:{os.environ['PATH']}"}
        self.env = {**self._env, "RAY_ADDRESS": self.address}
        try:
            self._joined(
                "--head", f"--port={port}", f"--num-cpus={cpus}",
                "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}",
                f"--metrics-export-port={self.metrics_port}", f"--ray-client-server-port={client}",
                f"--temp-dir={self.folder}",
            )  # fmt: skip
        except BaseException:
            self.close()
            raise

    def add(self, *options: str) -> subprocess.Popen[bytes]:
        """One more node, which has joined."""
        return self._joined(f"--address={self.address}", *options)

    def _joined(self, *options: str, seconds: float = 200) -> subprocess.Popen[bytes]:
        """A node that the dashboard counts as alive.

        One that ends as it starts is started again: on a busy machine the agent of Ray's dashboard sometimes does.
        """
        before = self._alive()
        for start in range(STARTS):
            self._run(*options)
            deadline = time.monotonic() + seconds
            while self._nodes[-1].poll() is None:
                if self._alive() - before:
                    return self._nodes[-1]
                assert time.monotonic() < deadline, self.said()
                time.sleep(0.2)
            assert start < STARTS - 1, self.said()
            self._end(self._nodes[-1:])
        raise AssertionError

    def _alive(self) -> set[str]:
        """Ids of the nodes that the dashboard says are; none where it does not answer."""
        request = urllib.request.Request(
            f"{self.dashboard}/nodes?view=summary", headers={"Authorization": f"Bearer {self._token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                found = json.load(answer)["data"]["summary"]
        except OSError:
            return set()
        return {node["raylet"]["nodeId"] for node in found if node["raylet"].get("state") == "ALIVE"}

    def said(self) -> str:
        """The end of what each node wrote, and what the raylets say of draining and of deaths."""
        logs = self.folder / "session_latest" / "logs"
        notable = re.compile("^(?!.*(state-dump|CheckDead)).*(drain|shut|exit|disconnect|dead|died)", re.IGNORECASE)
        told = [path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*.out")]
        for path in (*logs.glob("raylet*.out"), *logs.glob("gcs_server.out")):
            told += [
                path.name,
                *(line for line in path.read_text(errors="replace").splitlines() if notable.match(line)),
            ]
        return "\n".join(told)

    def close(self) -> None:
        """End all of it."""
        self._end(self._nodes)
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def _end(nodes: list[subprocess.Popen[bytes]]) -> None:
        family = [psutil.Process(node.pid) for node in nodes if node.poll() is None]
        family += [child for one in family for child in one.children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=20)
        for node in nodes:
            node.wait(20)

    def _run(self, *options: str) -> subprocess.Popen[bytes]:
        (agent,) = free_ports(1)
        common = ("--block", "--node-ip-address=127.0.0.1", "--object-store-memory=100000000")
        command = [self._bin / "ray", "start", *common, f"--dashboard-agent-listen-port={agent}", *options]
        with (self.folder / f"{len(self._nodes)}.out").open("wb") as out:
            node = subprocess.Popen(command, env=self._env, stdout=out, stderr=out, start_new_session=True)
        self._nodes.append(node)
        return node
