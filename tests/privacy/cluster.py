"""The same job on a Ray cluster into a bucket, all that can be seen of it there, and where our own Ray listens."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
from botocore.session import Session

from lesionforge.infra.ceph import free_ports
from tests.clusters import RayCluster
from tests.fixtures_s3 import BUCKET, _make_bucket
from tests.privacy.desk import ROOT, Desk, environment

STATE = ("actors", "tasks", "jobs", "nodes", "workers", "objects", "runtime_envs", "placement_groups", "cluster_events")
PAGES = ("/api/jobs/", "/logical/actors", "/nodes?view=details", "/nodes?view=summary", "/api/cluster_status")
PROFILE = {"AWS_PROFILE": "research"}


@contextlib.contextmanager
def cluster(desk: Desk) -> Iterator[None]:
    """A Ray cluster and a bucket, with secrets in every environment that may hold some; on it the same job."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    keys = {name: desk.secret(name) for name in names}
    lines = "\n".join(f"{name.lower()} = {desk.secret(f'{name} of a profile')}" for name in names)
    folder = desk.folder / "home" / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text(f"[research]\n{lines}\n")
    with _moto() as server:
        cluster = RayCluster(**desk.env, **keys, **server)
        try:
            cluster.add("--num-cpus=2")
            yield
            _on(desk, cluster, keys, server)
            shutil.copytree(
                cluster.folder, desk.folder / "ray", symlinks=True,
                ignore=shutil.ignore_patterns("token", "sockets"),
            )  # fmt: skip
        finally:
            cluster.close()
        _download(desk, server)


def _on(desk: Desk, cluster: RayCluster, keys: dict[str, str], server: dict[str, str]) -> None:
    token = Path(cluster.env["RAY_AUTH_TOKEN_PATH"]).read_text()
    desk.canaries.hexadecimal(token, "secret: Ray's token")
    desk.secrets += 1
    driver = {k: cluster.env[k] for k in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")}
    out = f"s3://{BUCKET}/privacy"
    generate = ["generate", str(desk.recipe), "--out", out, "--workers", "2", "--json"]
    with _processes(desk):
        desk.run([("cluster", {**driver, **keys}, generate), ("profile", PROFILE, ["status", out])], server)
    assert (desk.codes["cluster"], desk.codes["profile"]) == (0, 0), desk.said("cluster", "profile")
    _dashboard(desk, cluster, token)


def ports(desk: Desk) -> None:
    """Where our own Ray listens, while a job runs."""
    listening = set[tuple[str, str]]()
    recipe = desk.write_recipe("ports", {"sources": desk.sources[:1]})
    command = [
        sys.executable,
        "-c",
        "from lesionforge.jobs.cli import main; main()",
        "generate",
        str(recipe),
        "--workers",
        "1",
    ]
    said = desk.folder / "said"
    short = Path(tempfile.mkdtemp(prefix="lf-"))  # sockets lie in it, whose paths are bounded
    with (said / "ports.out").open("wb") as out, (said / "ports.err").open("wb") as err:
        process = subprocess.Popen(
            [*command, "--out", str(desk.folder / "out" / "ports")], cwd=ROOT, stdout=out, stderr=err,
            env={**environment(), **desk.env, "RAY_TMPDIR": str(short)},
        )  # fmt: skip
        while process.poll() is None:
            listening |= _listening(psutil.Process(process.pid))
            time.sleep(0.1)
    shutil.copytree(short, desk.folder / "own ray", symlinks=True, ignore=shutil.ignore_patterns("sockets"))
    shutil.rmtree(short, ignore_errors=True)
    assert process.returncode == 0, desk.said("ports")
    open_ones = {(name, ip) for name, ip in listening if ip.removeprefix("::ffff:") not in ("127.0.0.1", "::1")}
    desk.figures |= {"sockets of our own Ray": len(listening), "beyond loopback": len(open_ones)}
    desk.figures["who listens beyond loopback"] = sorted(open_ones)
    desk.figures["who listens"] = sorted({name for name, _ in listening})


@contextlib.contextmanager
def _processes(desk: Desk) -> Iterator[None]:
    """Keeps the command line of every process that this one's children start meanwhile."""
    lines, stop = set[str](), threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    lines.add(" ".join(process.cmdline()))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        desk.figures["command lines of processes"] = len(lines)
        (desk.folder / "said" / "processes").write_text("\n".join(sorted(lines)))


def _dashboard(desk: Desk, cluster: RayCluster, token: str) -> None:
    pages = [f"/api/v0/{name}?detail=true&limit=10000" for name in STATE]
    told = 0
    for n, page in enumerate((*pages, *PAGES)):
        request = urllib.request.Request(f"{cluster.dashboard}{page}", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                data = answer.read()
        except urllib.error.HTTPError as error:
            data = error.read()
        told += b"ShardWorker" in data
        (desk.folder / "said" / f"dashboard{n}").write_bytes(page.encode() + b"\n" + data)
    assert told >= 2, "the dashboard does not show our actors and tasks, so it shows nothing of use"
    with urllib.request.urlopen(f"http://127.0.0.1:{cluster.metrics_port}/metrics", timeout=60) as answer:
        (desk.folder / "said" / "metrics").write_bytes(answer.read())


def _download(desk: Desk, server: dict[str, str]) -> None:
    client = Session().create_client(
        "s3", region_name="us-east-1", endpoint_url=server["AWS_ENDPOINT_URL"], aws_access_key_id="x",
        aws_secret_access_key="x",
    )  # fmt: skip
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for entry in page.get("Contents", ()):
            found = client.get_object(Bucket=BUCKET, Key=entry["Key"])
            path = desk.folder / "out" / "bucket" / entry["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(found["Body"].read())
            told = json.dumps(found["ResponseMetadata"], default=str) + json.dumps(found["Metadata"])
            path.with_name(path.name + ".metadata").write_text(told)


def _listening(root: psutil.Process) -> set[tuple[str, str]]:
    out = set[tuple[str, str]]()
    with contextlib.suppress(psutil.Error):
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                sockets = [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
                out |= {(f"{process.name()}:{c.laddr.port}", c.laddr.ip) for c in sockets}
    return out


@contextlib.contextmanager
def _moto() -> Iterator[dict[str, str]]:
    """A mock S3 server that takes any key; yields where it is."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    env = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_REGION": "us-east-1"}
    try:
        _make_bucket({**env, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"})
        yield env
    finally:
        server.terminate()
        server.wait(10)
