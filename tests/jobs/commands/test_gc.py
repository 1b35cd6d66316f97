"""`lesionforge gc` on the command line, and the mark that a run leaves while it is at work."""

import json
import os
import signal
import subprocess
import sys
import uuid

import pytest

from lesionforge.jobs import console
from lesionforge.jobs.commands.gc import gc
from lesionforge.jobs.commands.generate import generate
from lesionforge.sinks.store import Store, StoreError
from lesionforge.sinks.store.s3 import S3
from tests.engine.conftest import ROOT, toy
from tests.engine.ray.test_ray import wait_for
from tests.engine.test_worker import run
from tests.jobs.test_storage import names_and_bytes


def written(folder, recipe):
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe.model_dump(mode="json")))
    return path


def cli(*args, **popen):
    return subprocess.Popen(
        [sys.executable, "-c", "from lesionforge.jobs.cli import main; main()", *map(str, args)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen,
    )  # fmt: skip


def test_it_tells_what_it_removed_and_how_many_bytes(tmp_path):
    out = tmp_path / "out"
    run(toy(), out)
    (out / "shards" / "train-000077.tar").write_bytes(bytes(1234))
    for args, there in ((("--dry-run", "--age", "0"), True), (("--age", "0"), False)):
        said, _ = cli("gc", out, *args, "--json").communicate()
        body = json.loads(said)
        assert (body["removed"], body["bytes"]) == ([{"name": "shards/train-000077.tar", "bytes": 1234}], 1234)
        assert (out / "shards" / "train-000077.tar").exists() is there
    said, _ = cli("gc", out).communicate()
    assert said.startswith("removed 0 objects, 0 B, from")


def test_a_live_run_is_left_alone_and_a_killed_one_is_cleared_up_after(tmp_path):
    out = tmp_path / "out"
    slow = toy(generator__params={"seconds": 0.6})
    driver = cli("generate", written(tmp_path, slow), "--out", out, "--in-process")
    wait_for(lambda: list(out.glob("index/*.parquet")) or driver.poll() is not None)
    assert driver.poll() is None, driver.communicate()
    with pytest.raises(StoreError, match="a run is at work"):  # after its next beat, in ten seconds at most
        gc(str(out), young=0)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    (name,) = (entry.name for entry in Store(str(out)).hidden().list() if entry.name.startswith("run-"))
    removed = [entry["name"] for entry in gc(str(out), young=0)["removed"]]
    assert f".tmp/{name}" in removed
    assert Store(str(out)).hidden().list() == []


def test_a_server_without_conditional_put_is_told_of_and_holds_the_same_bytes(moto_env, tmp_path, monkeypatch, capsys):
    for name, value in moto_env.items():
        monkeypatch.setenv(name, value)
    local, _ = run(toy(), tmp_path / "local")
    write = S3.write
    monkeypatch.setattr(S3, "write", lambda self, key, chunks, new: write(self, key, chunks, False))
    monkeypatch.setattr(console.err, "_file", sys.stderr)
    place = f"s3://lesionforge/{uuid.uuid4().hex}-{os.getpid()}"
    generate(written(tmp_path, toy()), place, None, in_process=True)
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: s3")]
    assert len(notes) == 1
    assert "does not refuse a second creator (conditional PUT)" in notes[0]
    assert names_and_bytes(Store(place)) == names_and_bytes(local)
