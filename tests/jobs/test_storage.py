"""The same dataset, byte by byte, on a disk, on a real S3 server (Ceph over HTTP) and on moto."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest

from lesionforge.engine.driver import run
from lesionforge.engine.faults import Fault
from lesionforge.engine.messages import Task
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.pool import InProcess
from lesionforge.engine.sources.files import File
from lesionforge.engine.sources.pictures.masks import Masks, MasksOptions
from lesionforge.engine.worker import Worker
from lesionforge.jobs.commands.verify import verify
from lesionforge.sinks import layout
from lesionforge.sinks.store import Store
from tests.engine.conftest import ROOT, toy
from tests.engine.test_identity import pictures
from tests.engine.test_worker import run as run_whole


def names_and_bytes(store):
    return {e.name: store.get(e.name) for e in store.list() if not e.name.startswith("pictures/")}


@pytest.fixture(params=["ceph_env", "moto_env"])
def s3(request, monkeypatch, tmp_path):
    for name, value in request.getfixturevalue(request.param).items():
        monkeypatch.setenv(name, value)
    return f"s3://lesionforge/{tmp_path.name}-{os.getpid()}"


def test_disk_and_s3_hold_the_same_bytes(s3, tmp_path):
    local, _ = run_whole(toy(), tmp_path)
    remote, _ = run_whole(toy(), s3)
    assert names_and_bytes(remote) == names_and_bytes(local)
    assert len(remote.list("shards")) == 6
    assert verify(remote).problems == []
    assert all(remote.get(e.name) == local.get(e.name) for e in remote.list("pictures"))


def test_a_source_on_s3_is_read_once_to_be_hashed_and_known_by_its_etags(s3, tmp_path, monkeypatch):
    """The same identity as on a disk; what was replaced by bytes of equal number is found when it is read."""
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # of another server
    pictures(tmp_path / "in", 2)
    place = Store(f"{s3}-in")
    for path in (tmp_path / "in").iterdir():
        place.put(path.name, path.read_bytes())
    far = Masks(f"{s3}-in", MasksOptions())
    assert far.fingerprint() == Masks(str(tmp_path / "in"), MasksOptions()).fingerprint()
    monkeypatch.setattr(File, "_hash", None)  # nothing more is fetched to be hashed
    again = Masks(f"{s3}-in", MasksOptions())
    assert again.fingerprint() == far.fingerprint()
    assert np.array_equal(again.read(0).image, far.read(0).image)
    place.put("0.bmp", (tmp_path / "in" / "1.bmp").read_bytes())
    with pytest.raises(Fault, match="is not what it was when the run began"):
        again.read(0)


def test_memory_too(tmp_path):
    local, _ = run_whole(toy(), tmp_path)
    remote, _ = run_whole(toy(), f"memory://{tmp_path.name}")
    assert names_and_bytes(remote) == names_and_bytes(local)


@pytest.mark.parametrize("difference", [{}, {"params": {"size": 8}}], ids=["same bytes", "other pixels"])
def test_a_late_second_writer_changes_nothing(s3, difference):
    """Also where its pixels differ, as after a change of GPU: who was first stays."""
    store, _ = run_whole(toy(), s3)
    before = names_and_bytes(store)
    late = Worker(toy(), store)
    late.store = _Blind(store)
    for name, value in difference.get("params", {}).items():
        object.__setattr__(late.pipeline.generator.params, name, value)
    for k in range(late.pipeline.plan.shards):
        report = late.make(Task(k))
        assert (report.samples, report.quarantined) == (len(late.pipeline.plan.shard(k)), 0)
    assert names_and_bytes(store) == before


class _Blind:
    """A store whose reader looked before the first writer was done: no shard seems committed."""

    def __init__(self, store):
        self._store = store

    def exists(self, path):
        return False

    def __getattr__(self, name):
        return getattr(self._store, name)


def test_an_interrupted_run_is_continued_on_s3(s3):
    job, store = Pipeline(toy()), Store(s3)
    Worker(toy(), store).make(Task(2))
    first = {e.name: store.get(e.name) for e in store.list("shards")}
    assert len(first) == 1
    outcome = run(job, store, InProcess(toy(), store))
    assert outcome.shards == 5
    assert {e.name: store.get(e.name) for e in store.list("shards")}.items() >= first.items()


@pytest.mark.parametrize("s3", ["moto_env"], indirect=True)  # where bytes go is the others' to show
def test_the_command_line_writes_to_s3_with_ray_workers(s3, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(toy().model_dump(mode="json")))
    main = "from lesionforge.jobs.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", main, "generate", str(path), "--out", s3, "--workers", "2", "--json"],
        cwd=ROOT, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["samples"] == 40
    local, _ = run_whole(toy(), tmp_path / "local")
    assert names_and_bytes(Store(s3)) == names_and_bytes(local)
    secret = os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    assert not any(secret in data for data in names_and_bytes(Store(s3)).values())
    assert secret.decode() not in done.stdout + done.stderr


def test_no_object_is_left_half_made(s3):
    store, _ = run_whole(toy(), s3)
    known = {layout.RECIPE, layout.MANIFEST, layout.WIDS, layout.CARD, layout.SUCCESS}
    folders = {"shards", "index", "dali", "manifest", "pictures"}
    assert {e.name for e in store.list() if Path(e.name).parts[0] not in folders} == known
