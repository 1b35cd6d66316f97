"""The whole job on sources full of identifiers and an environment full of secrets, and a search of all it leaves."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from botocore.session import Session

from engine.unnamed import subject_hash
from infra.ceph import free_ports
from tests.clusters import RayCluster
from tests.fixtures_s3 import BUCKET, _make_bucket
from tests.privacy import worlds
from tests.privacy.canaries import Canaries
from tests.privacy.search import Searched

ROOT = Path(__file__).resolve().parents[2]
PYTHONPATH = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
STATE = ("actors", "tasks", "jobs", "nodes", "workers", "objects", "runtime_envs", "placement_groups", "cluster_events")
PAGES = ("/api/jobs/", "/logical/actors", "/nodes?view=details", "/nodes?view=summary", "/api/cluster_status")
PROFILE = {"AWS_PROFILE": "research"}
Command = tuple[str, dict[str, str], list[str]]


@dataclass
class Privacy:
    """One campaign in a folder of its own."""

    folder: Path
    canaries: Canaries = field(default_factory=Canaries)
    searched: Searched = field(default_factory=Searched)
    codes: dict[str, int] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    secrets: int = 0

    def __post_init__(self) -> None:
        for name in ("sources", "said", "tmp", "cache", "home", "out"):
            (self.folder / name).mkdir()
        self.sources = worlds.sources(self.folder / "sources", self.canaries)
        self._old_hashes()
        self.env = {
            "PYTHONPATH": PYTHONPATH,
            "TMPDIR": str(self.folder / "tmp"),
            "LESIONFORGE_CACHE": str(self.folder / "cache"),
            "HOME": str(self.folder / "home"),
            "OMP_NUM_THREADS": "1",
            "LESIONFORGE_LOG": "debug",
        }
        self.recipe = self._recipe("recipe", {})
        self._control()

    def _control(self) -> None:
        """Search the sources: what is not found again there would not be found in an output either."""
        control = Searched()
        control.walk(self.folder / "sources", self.canaries)
        found = {value for _, value in control.leaks}
        known = [value for value in self.canaries.planted if self.canaries.found(value.encode()).keys() & found]
        self.figures["identifiers planted"] = len(known)  # without those in files that are cut short on purpose
        self.missed = sorted(set(self.canaries.planted) - set(known))

    def _old_hashes(self) -> None:
        """A name hashed with the seed alone could be guessed from a list of names: that is a leak, too."""
        import hashlib

        key = hashlib.blake2b(b"subject/5", digest_size=32).digest()
        for value in list(self.canaries.planted):
            for subject in (value, *(f"{kind}/{value}" for kind in ("masks", "xml", "txt", "dicom"))):
                self.canaries.hexadecimal(subject_hash(key, subject), value)

    def _recipe(self, name: str, changes: dict[str, Any]) -> Path:
        body = {
            "name": "privacy",
            "seed": 5,
            "sources": self.sources,
            "generator": {"name": "tests.privacy.nosy.Nosy", "params": {}},
            "multiply": 2,
            "splits": ["train"],
            "shard": {"samples": 20},
            "resources": {"cpus": 0.5},
            "quality": {"max_quarantined": 1, "redraws": 0},
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(body | changes, indent=1))
        return path

    # What is run

    def in_process(self) -> None:
        """Every command that reads or writes a dataset, and every error that a source can end in."""
        out, recipe = str(self.folder / "out" / "made"), str(self.recipe)
        first = self._run([("generate", {}, ["generate", recipe, "--out", out, "--in-process", "--json"])])
        assert first == {"generate": 0}, self.said("generate")
        manifest = json.loads((self.folder / "out" / "made" / "manifest.json").read_text())
        self.figures |= {"samples": manifest["samples"], "quarantined": manifest["quarantined"]}
        self.figures["reasons"] = manifest["reasons"]
        self.figures["flagged as carrying writing"] = manifest["burned_in_text"]
        places = [word for n, s in enumerate(self.sources) for word in ("--source", f"{n}={s['uri']}")]
        commands: list[Command] = [
            ("again", {}, ["generate", recipe, "--out", out, "--in-process"]),
            ("plan", {}, ["plan", recipe, "--estimate"]),
            ("status", {}, ["status", out]),
            ("verify", {}, ["verify", out, "--json"]),
            ("preview", {}, ["preview", out]),
            ("yolo", {}, ["export", out, "--to", str(self.folder / "out" / "yolo"), "--format", "yolo"]),
            ("coco", {}, ["export", out, "--to", str(self.folder / "out" / "coco"), "--format", "coco"]),
            ("nowhere", {}, ["replay", out, "train-0000-00000000"]),
            ("gc", {}, ["gc", out, "--dry-run"]),
            ("doctor", {"AWS_SECRET_ACCESS_KEY": self._secret("key")}, ["doctor", recipe, "--out", out]),
        ]
        for n in (0, 5, 12, 20, 27):
            to = ["--to", str(self.folder / "out" / "replayed")]
            commands.append((f"replay{n}", {}, ["replay", out, f"train-0000-{n:08d}", *places, *to]))
        commands += self._errors()
        self._run(commands)

    def _errors(self) -> list[Command]:
        """Commands that must fail: sources that are missing or empty, secrets where none may be."""
        out, commands = str(self.folder / "out" / "never"), list[Command]()
        for n, source in enumerate(self.sources):
            scheme = source["uri"].split(":")[0]
            missing = worlds.named(self.folder / "sources", self.canaries, f"missing {scheme}")
            empty = worlds.named(self.folder / "sources", self.canaries, f"empty {scheme}")
            empty.mkdir()
            (empty / f"{self.canaries.text('stray file')}.txt").write_text("nothing")
            file = next(path for path in (self.folder / "sources").rglob("*") if path.is_file())
            strange = f"strange://{self.canaries.text('strange address')}/{self.canaries.text('strange address')}"
            for what, place in (("missing", missing), ("empty", empty), ("file", file), ("strange", strange)):
                recipe = self._recipe(f"{what}{n}", {"sources": [source | {"uri": f"{scheme}:{place}"}]})
                commands.append((f"{what}-{scheme}", {}, ["plan", str(recipe), "--json"]))
        broken = worlds.named(self.folder / "sources", self.canaries, "broken arcade")
        annotations = broken / "stenosis" / "train" / "annotations"
        annotations.mkdir(parents=True)
        said = self.canaries.text("COCO file name")
        body = {"categories": [], "annotations": [], "images": [{"id": 1, "file_name": f"{said}.png"}]}
        (annotations / "train.json").write_text(json.dumps(body))
        recipe = self._recipe("broken", {"sources": [{"uri": f"arcade:{broken}"}]})
        commands.append(("broken-arcade", {}, ["generate", str(recipe), "--out", out]))
        return commands + self._refused(out)

    def _secret(self, name: str) -> str:
        self.secrets += 1
        return self.canaries.text(f"secret: {name}")

    def _refused(self, out: str) -> list[Command]:
        secret = self._secret
        wrong: dict[str, dict[str, Any]] = {
            "options": {"storage_options": {"key": secret("key"), "secret": secret("secret")}},
            "deep": {"storage_options": {"client_kwargs": {"aws_session_token": secret("token")}}},
            "out-url": {"out": f"ftp://jane:{secret('password')}@127.0.0.1/x"},
            "source-url": {"sources": [{"uri": f"dicom:sftp://jane:{secret('password')}@127.0.0.1/x"}]},
        }
        commands: list[Command] = [
            (f"refused-{name}", {}, ["generate", str(self._recipe(f"refused-{name}", changes)), "--in-process"])
            for name, changes in wrong.items()
        ]
        override = f"storage_options.secret={secret('override')}"
        address = f"http://{secret('user')}:{secret('password')}@127.0.0.1:9"
        keys = {"AWS_ACCESS_KEY_ID": secret("key"), "AWS_SECRET_ACCESS_KEY": secret("secret")}
        commands += [
            ("refused-set", {}, ["generate", str(self.recipe), "--out", out, "--set", override]),
            ("refused-out", {}, ["generate", str(self.recipe), "--out", f"ftp://a:{secret('password')}@127.0.0.1/x"]),
            ("unreachable", {**keys, "AWS_ENDPOINT_URL": address}, ["generate", str(self.recipe), "--out", "s3://b/x"]),
        ]
        return commands

    @contextlib.contextmanager
    def cluster(self) -> Iterator[None]:
        """A Ray cluster and a bucket, with secrets in every environment that may hold some; on it the same job."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        keys = {name: self._secret(name) for name in names}
        lines = "\n".join(f"{name.lower()} = {self._secret(f'{name} of a profile')}" for name in names)
        folder = self.folder / "home" / ".aws"
        folder.mkdir()
        (folder / "credentials").write_text(f"[research]\n{lines}\n")
        with _moto() as server:
            cluster = RayCluster(**self.env, **keys, **server)
            try:
                cluster.add("--num-cpus=2")
                yield  # there is other work to do while it starts
                cluster.wait(2)
                self._on(cluster, keys, server)
                shutil.copytree(
                    cluster.folder, self.folder / "ray", symlinks=True,
                    ignore=shutil.ignore_patterns("token", "sockets"),
                )  # fmt: skip
            finally:
                cluster.close()
            self._download(server)

    def _on(self, cluster: RayCluster, keys: dict[str, str], server: dict[str, str]) -> None:
        token = Path(cluster.env["RAY_AUTH_TOKEN_PATH"]).read_text()
        self.canaries.hexadecimal(token, "secret: Ray's token")
        self.secrets += 1
        driver = {k: cluster.env[k] for k in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")}
        out = f"s3://{BUCKET}/privacy"
        generate = ["generate", str(self.recipe), "--out", out, "--workers", "2", "--json"]
        with self._processes():
            self._run([("cluster", {**driver, **keys}, generate), ("profile", PROFILE, ["status", out])], server)
        assert (self.codes["cluster"], self.codes["profile"]) == (0, 0), self.said("cluster", "profile")
        self._dashboard(cluster, token)

    def ports(self) -> None:
        """Where our own Ray listens, while a job runs."""
        listening = set[tuple[str, str]]()
        recipe = self._recipe("ports", {"sources": self.sources[:1]})
        command = [sys.executable, "-c", "from jobs.cli import main; main()", "generate", str(recipe), "--workers", "1"]
        said = self.folder / "said"
        short = Path(tempfile.mkdtemp(prefix="lf-"))  # sockets lie in it, whose paths are bounded
        with (said / "ports.out").open("wb") as out, (said / "ports.err").open("wb") as err:
            process = subprocess.Popen(
                [*command, "--out", str(self.folder / "out" / "ports")], cwd=ROOT, stdout=out, stderr=err,
                env={**_environment(), **self.env, "RAY_TMPDIR": str(short)},
            )  # fmt: skip
            while process.poll() is None:
                listening |= _listening(psutil.Process(process.pid))
                time.sleep(0.1)
        shutil.copytree(short, self.folder / "own ray", symlinks=True, ignore=shutil.ignore_patterns("sockets"))
        shutil.rmtree(short, ignore_errors=True)
        assert process.returncode == 0, self.said("ports")
        open_ones = {(name, ip) for name, ip in listening if ip.removeprefix("::ffff:") not in ("127.0.0.1", "::1")}
        self.figures |= {"sockets of our own Ray": len(listening), "beyond loopback": len(open_ones)}
        self.figures["who listens beyond loopback"] = sorted(open_ones)
        self.figures["who listens"] = sorted({name for name, _ in listening})

    # What is kept of it

    def _run(self, commands: list[Command], more: dict[str, str] | None = None) -> dict[str, int]:
        file = self.folder / "said" / "commands"
        file.write_text(json.dumps(commands))
        done = subprocess.run(
            [sys.executable, "-m", "tests.privacy.shell", str(file)], cwd=ROOT, text=True, capture_output=True,
            env={**_environment(), **self.env, **(more or {})},
        )  # fmt: skip
        file.unlink()
        assert done.returncode == 0, done.stderr
        codes: dict[str, int] = json.loads(done.stdout)
        self.codes |= codes
        return codes

    def said(self, *names: str) -> str:
        """What commands said on both streams."""
        files = [self.folder / "said" / f"{name}.{stream}" for name in names for stream in ("out", "err")]
        return "\n".join(file.read_text() for file in files)

    @contextlib.contextmanager
    def _processes(self) -> Iterator[None]:
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
            self.figures["command lines of processes"] = len(lines)
            (self.folder / "said" / "processes").write_text("\n".join(sorted(lines)))

    def _dashboard(self, cluster: RayCluster, token: str) -> None:
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
            (self.folder / "said" / f"dashboard{n}").write_bytes(page.encode() + b"\n" + data)
        assert told >= 2, "the dashboard does not show our actors and tasks, so it shows nothing of use"
        with urllib.request.urlopen(f"http://127.0.0.1:{cluster.metrics_port}/metrics", timeout=60) as answer:
            (self.folder / "said" / "metrics").write_bytes(answer.read())

    def _download(self, server: dict[str, str]) -> None:
        client = Session().create_client(
            "s3", region_name="us-east-1", endpoint_url=server["AWS_ENDPOINT_URL"], aws_access_key_id="x",
            aws_secret_access_key="x",
        )  # fmt: skip
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            for entry in page.get("Contents", ()):
                found = client.get_object(Bucket=BUCKET, Key=entry["Key"])
                path = self.folder / "out" / "bucket" / entry["Key"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(found["Body"].read())
                told = json.dumps(found["ResponseMetadata"], default=str) + json.dumps(found["Metadata"])
                path.with_name(path.name + ".metadata").write_text(told)

    def search(self) -> dict[str, Any]:
        """Look through all that is left but the sources, the recipes and the profile, which the user wrote."""
        for name in ("out", "said", "tmp", "cache", "ray", "own ray"):
            if (self.folder / name).is_dir():
                self.searched.walk(self.folder / name, self.canaries)
        leaks = self.searched.leaks
        return {
            **self.figures,
            "secrets planted": self.secrets,
            "commands": len(self.codes),
            "files searched": self.searched.files,
            "bytes searched": self.searched.bytes,
            "leaked": sum(leaks.values()),
            "leaks": [f"{place}: {value} ({self.canaries.where(value)})" for place, value in sorted(leaks)][:50],
        }


def _environment() -> dict[str, str]:
    """This process's, without what belongs to others' clusters and buckets."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RAY_", "LESIONFORGE_"))}


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
