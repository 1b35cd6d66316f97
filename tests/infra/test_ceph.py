"""The local S3 server starts, serves, stands beside another one and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lesionforge.infra import ceph
from lesionforge.infra.ceph import Ceph, CephError, CephMissing
from lesionforge.sinks.store import Store
from tests.conftest import heed_sigint


def options(server: Ceph) -> dict[str, str]:
    return {"key": server.access_key, "secret": server.secret_key, "endpoint_url": server.endpoint}


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.usefixtures("ceph_env")  # installs the packages; the two here stand beside that server as well
def test_two_side_by_side_serve_their_own_and_leave_nothing() -> None:
    with Ceph() as one, Ceph() as two:
        pids = [child.pid for server in (one, two) for child in server._children]
        assert len(pids) == 6
        assert one.secret_key != two.secret_key
        for server, content in ((one, b"one"), (two, b"two")):
            server.make_bucket("mine")
            server.make_bucket("mine")
            store = Store("s3://mine", options(server))
            store.probe()
            store.put("who", content)
        assert Store("s3://mine", options(one)).get("who") == b"one"
        assert Store("s3://mine", options(two)).get("who") == b"two"
        folders = [one.data, two.data]
        with pytest.raises(CephError, match="already running"):
            one.start()
    assert not any(map(alive, pids))
    assert not any(folder.exists() for folder in folders)


@pytest.mark.usefixtures("ceph_env")
def test_a_given_folder_is_kept_and_not_used_twice(tmp_path: Path) -> None:
    server = Ceph(tmp_path / "data")
    with server:
        server.make_bucket("mine")
    assert (tmp_path / "data" / "ceph.conf").exists()
    with pytest.raises(CephError, match="already holds"):
        Ceph(tmp_path / "data").start()


@pytest.mark.usefixtures("ceph_env")
def test_a_failed_start_names_the_log_and_ends_what_it_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ceph, "_ATTEMPTS", 2)
    # The gateway is given the monitor's port: taken, whatever ports are tried next.
    monkeypatch.setattr(ceph, "_CONFIGURATION", ceph._CONFIGURATION.replace(":{port}", ":{mon_port}"))
    server = Ceph(tmp_path / "data")
    with pytest.raises(CephError, match=r"radosgw ended with .*look at .*data"):
        server.start()
    assert server._children == []


@pytest.mark.usefixtures("ceph_env")
def test_a_gateway_that_hangs_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = []

    def wait(self: Ceph, port: int, seconds: float = 2.0) -> None:
        if not ports:  # as if it had not bound: nobody listens on the port looked at
            port = ceph.free_ports(1)[0]
        ports.append(port)
        answer(self, port, seconds if len(ports) == 1 else 60.0)

    answer = Ceph._wait
    monkeypatch.setattr(Ceph, "_wait", wait)
    with Ceph() as server:
        assert len(ports) == 2
        server.make_bucket("mine")


def test_missing_packages_name_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for call in (ceph.install, Ceph().start):
        with pytest.raises(CephMissing, match=r"apt-get install .*radosgw"):
            call()


@pytest.mark.usefixtures("ceph_env")
def test_the_command_prints_what_a_shell_needs_and_ends_on_interrupt() -> None:
    command = [sys.executable, "-m", "lesionforge.infra.ceph", "--bucket", "mine"]
    folder = Path(ceph.__file__).parents[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, preexec_fn=heed_sigint) as run:
        assert run.stdout is not None
        lines: list[str] = []
        while not lines or lines[-1].startswith("export"):
            lines.append(run.stdout.readline().strip())
        env = dict(line.removeprefix("export ").split("=", 1) for line in lines[:-1])
        given = {"key": env["AWS_ACCESS_KEY_ID"], "secret": env["AWS_SECRET_ACCESS_KEY"]}
        Store("s3://mine", {**given, "endpoint_url": env["AWS_ENDPOINT_URL"]}).probe()
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        run.send_signal(signal.SIGINT)
        assert run.wait(20) == 0
    assert len(children) == 3
    deadline = time.monotonic() + 5
    while any(alive(int(pid)) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(int(pid)) for pid in children)
