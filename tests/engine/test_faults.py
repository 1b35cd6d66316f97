"""What the surroundings do fails the shard, which is made again; what stays with a sample alone is its own fault."""

import concurrent.futures
import errno
import gzip
import os
import pickle
import shutil
import socket
import threading
import urllib.error
import zlib

import aiohttp
import botocore.exceptions
import pytest
from PIL import UnidentifiedImageError

from lesionforge.engine import dataset as document
from lesionforge.engine import driver, retries
from lesionforge.engine.blame import settle
from lesionforge.engine.faults import Fault, find
from lesionforge.engine.identity import Terms
from lesionforge.engine.messages import Task
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.pool import InProcess
from lesionforge.engine.sources import base
from lesionforge.engine.sources.base import open_source
from lesionforge.generators.types import BadCase
from lesionforge.jobs.commands import generate as command
from lesionforge.jobs.commands.generate import generate
from lesionforge.jobs.commands.status import Progress
from lesionforge.sinks import dataset, layout
from lesionforge.sinks.store import Store
from tests.engine.conftest import shas, toy
from tests.weather import CUDA, OutOfMemoryError, StormyStore, Weather


def raised(error, cause=None, inside=None):
    """An exception as it is after it was raised, from another or while another was handled."""
    error.__cause__, error.__context__ = cause, inside
    error.__suppress_context__ = cause is not None
    return error


def system(number):
    return OSError(number, os.strerror(number), "/patients/Anna Karenina.png")


class AcceleratorError(RuntimeError):
    """Named as torch's."""


SURROUNDINGS = {
    "storage": [
        *map(system, (errno.EIO, errno.ESTALE, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENOENT)),
        *map(system, (errno.ENXIO, errno.ENOTDIR, errno.EAGAIN, errno.EBUSY, errno.EREMOTEIO, errno.ENOTCONN)),
        FileNotFoundError("bucket/Anna Karenina.png"),
        PermissionError("Access Denied"),
        OSError("Unable to open file (name = '/x/Anna Karenina.h5', errno = 116, error message = 'Stale file handle')"),
        raised(ValueError("cannot load"), cause=system(errno.ENOENT)),
        raised(BadCase("cannot be read"), inside=system(errno.EIO)),
    ],
    "network": [
        system(errno.ETIMEDOUT),
        ConnectionResetError("peer"),
        TimeoutError(),
        concurrent.futures.TimeoutError(),
        socket.gaierror(-3, "Temporary failure in name resolution"),
        urllib.error.URLError("http://x/Anna Karenina"),
        aiohttp.ClientPayloadError("Response payload is not completed"),
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://x"),
        botocore.exceptions.ClientError({"Error": {"Code": "SlowDown"}}, "GetObject"),
    ],
    "device": [
        RuntimeError(CUDA),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(handle)`"),
        RuntimeError("Found no NVIDIA driver on your system."),
        RuntimeError("No CUDA GPUs are available"),
        RuntimeError("cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR"),
        AcceleratorError("unspecified launch failure"),
        raised(ValueError("projector failed"), cause=RuntimeError(CUDA)),
    ],
    "memory": [
        MemoryError(),
        OutOfMemoryError("Tried to allocate 2 GiB"),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
}  # fmt: skip
OWN = [
    BadCase("is no DICOM file"),
    raised(BadCase("has no label"), inside=system(errno.ENOENT)),
    raised(BadCase("has no label"), cause=system(errno.ENOENT)),
    raised(ValueError("no such series"), inside=system(errno.ENOENT)),  # it was looked for, and done without
    UnidentifiedImageError("cannot identify image file"),
    gzip.BadGzipFile("Not a gzipped file"),
    OSError("image file is truncated (3 bytes not processed)"),
    system(errno.EINVAL),  # a seek to where a broken header says
    EOFError("Compressed file ended"),
    zlib.error("invalid code"),
    KeyError("PixelData"),
    RuntimeError("Expected all tensors to be on the same device, but found cuda:0 and cpu!"),
    SystemExit("done"),
]


@pytest.mark.parametrize(("kind", "error"), [(kind, error) for kind, all_ in SURROUNDINGS.items() for error in all_])
def test_the_surroundings_are_told_from_the_sample_and_no_path_is_named(kind, error):
    fault = find(error)
    assert fault is not None
    assert fault.kind == kind
    assert "Karenina" not in str(fault.at("sources.0, case 3"))
    assert str(pickle.loads(pickle.dumps(fault))) == str(fault)


@pytest.mark.parametrize(
    ("own", "errors"),
    [
        (False, [*map(system, (errno.EIO, errno.ESTALE, errno.ENOSPC, errno.ENOENT, errno.ETIMEDOUT)), TimeoutError()]),
        (True, [*map(system, (errno.EACCES, errno.EISDIR, errno.ENAMETOOLONG)), RuntimeError(CUDA), MemoryError()]),
    ],
)
def test_storage_and_network_are_never_a_sample_s_fault_and_what_one_sample_may_bring_about_is_settled(own, errors):
    assert [find(error).own for error in errors] == [own] * len(errors)


@pytest.mark.parametrize("error", OWN)
def test_what_a_file_or_a_program_is_to_blame_for(error):
    assert find(error) is None


def fault(*names):
    return {name: Fault("storage", "Permission denied", own=True) for name in names}


@pytest.mark.parametrize(
    ("tries", "well", "suspects", "own"),
    [
        (2, "..x..", "c", True),  # the third time, others well
        (1, "..x..", "c", False),
        (2, "xxxxx", "abcde", False),  # all of them: the place
        (2, "..xxx", "cde", False),  # a GPU's end in the middle
        (2, "..x.x", "ce", True),
        (2, "....x", "e", True),
        (2, "x", "a", False),  # a shard of one, nobody else well
    ],
)
def test_what_stays_with_a_sample_on_a_healthy_place_is_its_own(tries, well, suspects, own):
    task = Task(0, tries=tries, suspects=frozenset(suspects))
    went = {name: mark == "." for name, mark in zip("abcde", well, strict=False)}
    if own:
        settle(task, went, fault(*suspects))
        task.suspects = frozenset(suspects[1:])  # it was another one before
    with pytest.raises(Fault) as caught:
        settle(task, went, fault(*suspects))
    assert caught.value.samples == set(suspects)


def test_a_shard_of_one_is_judged_by_the_others():
    settle(Task(0, tries=2, suspects=frozenset("a"), others_well=True), {"a": False}, fault("a"))


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(retries, "PAUSES", (0.02,) * 4)


def test_a_good_shard_ends_a_row_of_faults_and_a_bad_one_is_given_up():
    waiting, task = retries.Retries(), Task(0)
    assert [waiting.fail(task) for _ in range(5)] == [0.02] * 4 + [None]
    for k in range(1, retries.SICK):
        waiting.fail(Task(k))
    assert waiting.sick
    waiting.good()
    assert not waiting.sick


@pytest.fixture
def weather(tmp_path):
    return Weather(tmp_path / "weather")


def stormy(weather, **changes):
    """A recipe on the toys in this weather."""
    options = {"count": 20, "weather": str(weather.folder)} | changes.pop("options", {})
    params = {"weather": str(weather.folder)} | changes.pop("params", {})
    return toy(sources__0__options=options, generator__params=params, **changes)


def run(recipe, place, notify=lambda line: None, store=Store):
    """In this process; returns the outcome."""
    where, job = store(str(place), recipe.storage_options), Pipeline(recipe)
    doc = document.describe(job)
    document.claim(where, doc)
    return driver.run(job, where, InProcess(recipe, where), notify=notify)


@pytest.fixture
def clean(weather, tmp_path):
    """Makes the undisturbed twin; returns its hashes."""

    def make(recipe):
        run(recipe, tmp_path / "clean")
        return shas(tmp_path / "clean")

    return make


@pytest.mark.parametrize("stage_kind", ["read.ESTALE", "read.ENOENT", "read.EACCES", "make.cuda", "make.gpu-memory",
                                        "read.memory", "make.ENOSPC", "write.store"])  # fmt: skip
def test_what_passes_costs_nothing(stage_kind, weather, clean, tmp_path):
    recipe = stormy(weather, storage_options={"weather": str(weather.folder)}, resources__batch=3)
    expected, lines = clean(recipe), []
    stage, kind = stage_kind.split(".")
    weather.bring(stage, kind, times=3 if stage == "write" else 12, at="train-000001" if stage == "write" else None)
    outcome = run(recipe, tmp_path / "out", lines.append, StormyStore)
    assert (outcome.failed, outcome.quarantined) == ({}, 0)
    assert shas(tmp_path / "out") == expected
    assert "tried again in" in lines[0]
    assert "patient" not in " ".join(lines)


def test_a_folder_that_is_away_for_a_while_costs_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(retries, "PAUSES", (0.1, 0.1, 0.2, 0.4, 0.8))
    folder = tmp_path / "share"
    folder.mkdir()
    for n in range(20):
        (folder / f"{n}.txt").write_text(str(n))
    recipe = toy(sources=[{"uri": f"tests.faulty.ToyFiles:{folder}", "split": {"train": 0.8, "val": 0.2}}])
    run(recipe, tmp_path / "clean")
    job, store = Pipeline(recipe), Store(str(tmp_path / "out"))
    pool = InProcess(recipe, store, Terms.of(job))
    folder.rename(tmp_path / "unmounted")
    threading.Timer(0.5, lambda: (tmp_path / "unmounted").rename(folder)).start()
    outcome = driver.run(job, store, pool)
    assert (outcome.shards, outcome.quarantined, outcome.failed) == (6, 0, {})
    assert shas(tmp_path / "out") == shas(tmp_path / "clean")


@pytest.mark.parametrize("kind", ["read.EIO", "read.ENOENT"])
def test_one_shard_that_cannot_be_made_is_left_undone_and_made_by_the_next_run(kind, weather, clean, tmp_path, capsys):
    recipe = stormy(weather)
    expected = clean(recipe)
    weather.bring(*kind.split("."), at=7)  # in every variant
    result = generate(recipe, tmp_path / "out", in_process=True)
    assert result.body()["quarantined"] == 0
    assert len(result.failed) == 2
    assert all(f"sources.0, case 7: {os.strerror(getattr(errno, kind[5:]))} (5 tries)" == why
               for why in result.failed.values())  # fmt: skip
    assert result.short == "2 of 6 shards not made yet"
    result.show()
    assert (
        f"2 shards left undone: sources.0, case 7: {os.strerror(getattr(errno, kind[5:]))}" in capsys.readouterr().out
    )
    assert Progress(str(tmp_path / "out")).look()["state"] == "incomplete"
    assert not (tmp_path / "out" / layout.SUCCESS).exists()
    weather.clear()
    again = generate(recipe, tmp_path / "out", in_process=True)
    assert (again.found, again.short) == (4, "")
    made = {name: sha for name, sha in shas(tmp_path / "out").items() if name in expected}
    assert made == expected  # DALI's indexes aside


@pytest.mark.parametrize(("stage", "kind", "at", "reason"), [
    ("read", "EACCES", 7, "source: cannot be read: Permission denied"),
    ("make", "cuda", "train-0000-00000003", f"error: RuntimeError: {CUDA} (weather.py:"),
    ("make", "gpu-memory", "train-0000-00000003", "error: OutOfMemoryError: CUDA out of memory, ordered (weather.py:"),
    ("make", "memory", "train-0000-00000003", "memory: Unable to allocate 7 GiB, ordered"),
])  # fmt: skip
def test_what_stays_with_one_sample_is_quarantined(stage, kind, at, reason, weather, tmp_path):
    recipe = stormy(weather, multiply=1)
    weather.bring(stage, kind, at=at)
    outcome = run(recipe, tmp_path / "out")
    assert (outcome.samples, outcome.quarantined, outcome.failed) == (19, 1, {})
    store = Store(str(tmp_path / "out"))
    rows = [row for _, rows in dataset.indexes(store, dataset.committed(store)) for row in rows]
    (found,) = [row.reason for row in rows if row.reason]
    assert found.startswith(reason)


@pytest.mark.parametrize("kind", ["read.ESTALE", "make.cuda", "make.memory", "read.EACCES"])
def test_a_place_that_stays_sick_loses_nothing(kind, weather, clean, tmp_path):
    """No shard comes out well: others are not begun, nothing is committed, and the reason is one line."""
    recipe = stormy(weather, options={"count": 200}, multiply=1)
    weather.bring(*kind.split("."))
    with pytest.raises(driver.RecipeFault, match=r"^nothing comes out well any more: .*nothing was committed") as said:
        generate(recipe, tmp_path / "out", in_process=True)
    assert "\n" not in str(said.value)
    assert "patient" not in str(said.value)
    assert Store(str(tmp_path / "out")).list() == []  # free for whoever wants it


def test_a_place_that_falls_sick_ends_the_run_and_the_next_goes_on(weather, clean, tmp_path):
    recipe = stormy(weather, options={"count": 200}, multiply=1)
    expected = clean(recipe)
    store, job = Store(str(tmp_path / "out")), Pipeline(recipe)
    strikes = lambda report: weather.bring("read", "ESTALE") if report.shard == 2 else None  # noqa: E731
    with pytest.raises(driver.RunError, match=r"any more: sources\.0, case \d+: Stale.* run the same command to cont"):
        driver.run(job, store, InProcess(recipe, store), progress=strikes)
    assert len(dataset.committed(store)) == 3
    weather.clear()
    driver.run(job, store, InProcess(recipe, store))
    assert shas(tmp_path / "out") == expected


def test_storage_that_stays_away_ends_the_run_with_the_line_of_ever(weather, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "Store", StormyStore)
    recipe = stormy(weather, storage_options={"weather": str(weather.folder)})
    weather.bring("write", "ENOSPC", at="train-000001")
    result = generate(recipe, tmp_path / "out", in_process=True)
    assert list(result.failed) == ["train-000001"]  # others were written meanwhile
    assert "the disk or quota is full: free space or choose another place" in result.failed["train-000001"]
    shutil.rmtree(tmp_path / "out")
    weather.clear()
    for shard in map(Pipeline(recipe).plan.shard, range(6)):
        weather.bring("write", "ENOSPC", at=shard.name)
    with pytest.raises(driver.RunError, match=r"^storage failed: .*the disk or quota is full.*run the same command"):
        generate(recipe, tmp_path / "out", in_process=True)


def test_many_equal_failures_in_a_row_end_a_run_that_began_well(tmp_path):
    """32 over several shards: what is committed stays, the shards of failures only are not."""
    plan = Pipeline(toy(sources__0__options={"count": 200}, multiply=1)).plan
    later = [plan[n].sample_id for n in range(24, 160)]
    bad = {"sources__0__options": {"count": 200}, "multiply": 1, "generator__params": {"raise_at": later}}
    with pytest.raises(driver.RunError) as caught:
        generate(toy(**bad), tmp_path, in_process=True)
    said = str(caught.value)
    assert said.startswith(
        "the last 32 samples all failed for one reason (error: RuntimeError: ordered to fail (faulty"
    )
    assert "What is committed stays" in said
    assert "\n" not in said
    assert not isinstance(caught.value, driver.RecipeFault)
    assert len(dataset.committed(Store(str(tmp_path)))) == 3
    # Who can do without them says so.
    result = generate(toy(**bad, quality__max_quarantined=0.7), tmp_path, in_process=True)
    assert (result.found, result.short, result.body()["quarantined"]) == (3, "", len(later))


def test_a_source_that_fails_jobs_that_read_it_themselves_is_one_line(weather):
    source = open_source(stormy(weather).sources[0])
    weather.bring("read", "ESTALE", at=2)
    refused = []
    with pytest.raises(Fault, match=r"^case 2: Stale file handle$"):
        list(base.read_all(source, refused.append))
    assert refused == []
