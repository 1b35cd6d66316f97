"""An S3 server on this machine: Ceph's RADOS gateway, one node, on loopback, without systemd.

For tests and for trying things out; it is the same server many sites run, so conditional writes behave as they do
there. `python -m lesionforge.infra.ceph` runs one in the foreground.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

_PACKAGES = ("ceph-mon", "ceph-osd", "radosgw", "ceph-common")
_BINARIES = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool", "setpriv")
_ATTEMPTS = 3
ONE_APT = ("flock", "/run/lock/lesionforge-apt", "sh", "-c")  # `apt-get update` does not wait for another itself
_INSTALL = f"apt-get update && apt-get install -y --no-install-recommends {' '.join(_PACKAGES)}"

# Trust is a matter of loopback here, hence no cephx; `ms mon client mode` must then be crc, or radosgw never comes up.
# The two paxos lines make the start take 1 s instead of 11; without tcp_nodelay a GET takes 44 ms instead of 2;
# the quota and lifecycle threads, which nobody needs here, make the gateway take up to 10 s to end.
_CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}]
ms bind msgr1 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
run dir = {data}
log file = {data}/$name.log
admin socket =
crash dir = {data}
mon data = {data}/mon
osd data = {data}/osd
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
paxos propose interval = 0.05
paxos min wait = 0.01
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw relaxed region enforcement = true
rgw gc obj min wait = 5
rgw gc processor period = 5
rgw thread pool size = 32
rgw rados pool pg num min = 1
rgw enable quota threads = false
rgw enable lc threads = false
"""
_OBJECTSTORE: Mapping[str, str] = {
    "memory": "osd objectstore = memstore\nosd fast shutdown = false\nmemstore device bytes = 4294967296\n",
    "disk": "osd objectstore = bluestore\nbluestore block size = 10737418240\n",  # a sparse file
}


class CephError(RuntimeError):
    """The server cannot be installed or started; the message says what to run or to look at."""


class CephMissing(CephError):
    """Ceph is not installed; the message has the command that does it."""


def install() -> None:
    """Install Ceph's Debian packages if they are missing.

    Raises:
        CephMissing: they are missing and this is not root on a system with apt.
        CephError: apt failed.
    """
    missing = [name for name in _BINARIES if shutil.which(name) is None]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise CephMissing(
            f"Ceph is not installed ({', '.join(missing)} missing). On Debian or Ubuntu run as root: {_INSTALL}"
        )
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if (done := subprocess.run([*ONE_APT, _INSTALL], capture_output=True, text=True, env=env)).returncode:
        raise CephError(f"`{_INSTALL}` failed: {' '.join(done.stderr.split())[-400:]}")


class Ceph:
    """One monitor, one OSD and one gateway, children of this process.

    Args:
        data: folder for its state, kept afterwards; a temporary one, removed at the end, if not given.
        objectstore: "memory" (up to 4 GiB) or "disk" (up to 10 GiB in a sparse file).

    A server is always made anew: a folder that already holds one is refused. It ends with the thread that started it,
    if not stopped before.
    """

    def __init__(self, data: str | Path | None = None, objectstore: Literal["memory", "disk"] = "memory") -> None:
        if objectstore not in _OBJECTSTORE:
            raise ValueError(f"objectstore {objectstore!r} must be one of {', '.join(_OBJECTSTORE)}")
        self._given = Path(data).absolute() if data else None
        self._objectstore = objectstore
        self._children: list[subprocess.Popen[bytes]] = []
        self.access_key = ""
        self.secret_key = ""
        self.endpoint = ""

    def __enter__(self) -> Ceph:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Ceph:
        """Start it and wait until it answers.

        Raises:
            CephError: it is running already, the packages are missing or a part did not start (with its log's path).
        """
        if self._children:
            raise CephError(f"already running at {self.endpoint}: stop it first")
        missing = [name for name in _BINARIES if shutil.which(name) is None]
        if missing:
            raise CephMissing(f"{', '.join(missing)} missing: call install() or run as root: {_INSTALL}")
        if self._given and (self._given / "ceph.conf").exists():
            raise CephError(f"{self._given} already holds a server's data: delete it or choose another folder")
        self.data = self._given or Path(tempfile.mkdtemp(prefix="lesionforge-ceph-"))
        self._environment = {**os.environ, "CEPH_CONF": f"{self.data}/ceph.conf"}
        self.access_key, self.secret_key = secrets.token_hex(10), secrets.token_hex(20)
        try:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    self._start()
                    break
                except CephError as error:
                    # Ports are chosen, then bound: another program may have been quicker. Then with others. And a
                    # gateway has been seen to hang at its start (once in some hundreds): then another one.
                    if attempt == _ATTEMPTS or not (self._port_was_taken() or "no answer" in str(error)):
                        raise
                    self._end_children()
        except BaseException:
            self._end_children()  # the data stays: the error names its logs
            raise
        atexit.register(self.stop)  # children must not outlive a parent that fails
        return self

    def stop(self) -> None:
        """End the three processes, gateway first, and remove the temporary data."""
        atexit.unregister(self.stop)
        self._end_children()
        if self._given is None and hasattr(self, "data"):
            shutil.rmtree(self.data, ignore_errors=True)

    def env(self) -> dict[str, str]:
        """The variables that point AWS clients, s3fs and `sinks.store.Store` here."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def make_bucket(self, name: str) -> None:
        """Make a bucket; no error if it is there."""
        from botocore.session import Session  # type: ignore[import-untyped]

        client = Session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )
        client.create_bucket(Bucket=name)
        client.close()

    def _start(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        for name in ("mon", "osd"):
            (self.data / name).mkdir(parents=True)
        mon_port, port = free_ports(2)
        fsid, osd, address = str(uuid.uuid4()), str(uuid.uuid4()), f"[v2:127.0.0.1:{mon_port}]"
        settings = _CONFIGURATION.format(fsid=fsid, mon_port=mon_port, port=port, data=self.data)
        (self.data / "ceph.conf").write_text(settings + _OBJECTSTORE[self._objectstore])
        self.endpoint = f"http://127.0.0.1:{port}"

        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, f"{self.data}/monmap")
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", f"{self.data}/monmap")
        self._spawn("ceph-mon", "-f", "-i", "a")
        self._run("ceph", "osd", "new", osd)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._spawn("ceph-osd", "-f", "-i", "0")
        keys = (f"--access-key={self.access_key}", f"--secret-key={self.secret_key}")
        self._run("radosgw-admin", "user", "create", "--uid=lesionforge", "--display-name=lesionforge", *keys)
        self._spawn("radosgw", "-f", "-n", "client.rgw")
        self._wait(port)

    def _run(self, *command: str) -> None:
        try:
            done = subprocess.run(
                command, env=self._environment, cwd=self.data, capture_output=True, text=True, timeout=60
            )
        except subprocess.TimeoutExpired:
            raise CephError(f"{command[0]} did not end within 60 s; look at {self.data}/*.log") from None
        if done.returncode:
            said = " ".join(done.stderr.split()).replace(self.secret_key, "***")[-300:]
            raise CephError(f"{command[0]} ended with {done.returncode}: {said}; look at {self.data}/*.log")

    def _spawn(self, *command: str) -> None:
        with (self.data / f"{command[0]}.out").open("ab") as out:
            # Its own session: Ctrl-C in the terminal reaches this process only, which ends them in order.
            # setpriv (util-linux): should this process be killed, the kernel ends them.
            child = subprocess.Popen(
                ("setpriv", "--pdeathsig", "TERM", *command),
                env=self._environment,
                cwd=self.data,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._children.append(child)

    def _wait(self, port: int, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for child in self._children:
                if child.poll() is not None:
                    name = str(child.args[3])  # type: ignore[index]
                    raise CephError(f"{name} ended with {child.returncode}; look at {self.data}/{name}.out and *.log")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        raise CephError(f"no answer on {self.endpoint} after {seconds:.0f} s; look at {self.data}/*.log")

    def _port_was_taken(self) -> bool:
        logs = [*self.data.glob("*.log"), *self.data.glob("*.out")]
        return any("Address already in use" in log.read_text(errors="replace") for log in logs)

    def _end_children(self) -> None:
        for child in reversed(self._children):
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._children.clear()


def free_ports(count: int) -> list[int]:
    """Different TCP ports of 127.0.0.1 that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def main() -> None:
    """Run a server until Ctrl-C, having written the lines a shell needs to use it."""
    parser = argparse.ArgumentParser(prog="python -m lesionforge.infra.ceph", description=main.__doc__)
    parser.add_argument("--bucket", default="lesionforge", help="bucket to make (default: %(default)s)")
    parser.add_argument("--data", help="folder for its data, kept afterwards (default: a temporary one)")
    parser.add_argument("--objectstore", choices=sorted(_OBJECTSTORE), default="memory")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # end the children then, too
    try:
        install()
        with Ceph(given.data, given.objectstore) as server:
            server.make_bucket(given.bucket)
            lines = [f"export {name}={value}" for name, value in server.env().items()]
            sys.stdout.write("\n".join([*lines, f"# serving s3://{given.bucket}; Ctrl-C ends it", ""]))
            sys.stdout.flush()
            signal.pause()
    except KeyboardInterrupt:
        sys.exit(0)
    except CephError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
