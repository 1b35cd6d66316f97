"""The store keeps its promises on a disk, in memory, on a real S3 server (Ceph) and one that answers as AWS (moto)."""

import errno
import multiprocessing
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from lesionforge.sinks.store import Store, StoreError, errors, probe, s3
from lesionforge.sinks.store import store as module

PLACES = ("local", "memory", "ceph", "moto")
S3 = ("ceph", "moto")
MIB = 2**20
ROOT = Path(module.__file__).parents[1]


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder in the place the test is parametrised with; the AWS variables point to it."""
    place = request.param
    if place in S3:
        for name, value in request.getfixturevalue(f"{place}_env").items():
            monkeypatch.setenv(name, value)
    folder = uuid.uuid4().hex
    return {"local": f"{tmp_path}/{folder}", "memory": f"memory://{folder}"}.get(place, f"s3://lesionforge/{folder}")


@pytest.fixture
def store(url: str) -> Store:
    return Store(url)


everywhere = pytest.mark.parametrize("url", PLACES, indirect=True)
on_s3 = pytest.mark.parametrize("url", S3, indirect=True)
on_ceph = pytest.mark.parametrize("url", ["ceph"], indirect=True)
on_local = pytest.mark.parametrize("url", ["local"], indirect=True)


@everywhere
def test_the_second_creator_is_refused_and_changes_nothing(store: Store) -> None:
    assert store.put_new("train/000.tar", [b"fir", memoryview(b"st"), b"", bytearray(b"!")])
    assert not store.put_new("train/000.tar", b"second, longer")
    assert store.get("train/000.tar") == b"first!"
    assert store.size("train/000.tar") == 6
    assert store.put_new("empty", b"")
    assert not store.put_new("empty", b"not empty")
    assert store.get("empty") == b""


@everywhere
def test_of_racing_threads_exactly_one_creates_each_object(store: Store) -> None:
    keys, writers = [f"race/{key}" for key in range(20)], 8
    start = threading.Barrier(writers)

    def write(writer: int) -> list[bool]:
        start.wait()
        return [store.put_new(key, [f"writer {writer} ".encode()] * 500) for key in keys]

    with ThreadPoolExecutor(writers) as pool:
        won = list(pool.map(write, range(writers)))
    for index, key in enumerate(keys):
        winners = [writer for writer in range(writers) if won[writer][index]]
        assert len(winners) == 1
        assert store.get(key) == f"writer {winners[0]} ".encode() * 500


RACER = """
import pathlib, sys, time
from lesionforge.sinks.store import Store
url, writer, go = sys.argv[1:]
store = Store(url)
while not pathlib.Path(go).exists():
    time.sleep(0.001)
print(*[int(store.put_new(f"race/{key}", f"writer {writer} ".encode() * 500)) for key in range(20)])
"""


@on_local
def test_of_racing_processes_exactly_one_creates_each_object(store: Store, tmp_path: Path) -> None:
    go = tmp_path / "go"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, store.url(), str(writer), str(go)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for writer in range(8)
    ]
    time.sleep(1.0)
    go.touch()
    won = [[int(word) for word in racer.communicate()[0].split()] for racer in racers]
    for key in range(20):
        winners = [writer for writer in range(8) if won[writer][key]]
        assert len(winners) == 1
        assert store.get(f"race/{key}") == f"writer {winners[0]} ".encode() * 500
    assert list((tmp_path / Path(store.url()).name / ".tmp").iterdir()) == []


DYING = {
    # All bytes written, none of them under the final name yet.
    "local": "os.fsync = lambda file: stop()",
    # The body is read twice, once to sign it: stop half-way through sending it.
    "s3": """
from lesionforge.sinks.store.s3 import Chunks
read, sent = Chunks.readinto, [0]
def readinto(self, buffer):
    sent[0] += len(buffer)
    return stop() if sent[0] > 12 * 2**20 else read(self, buffer)
Chunks.readinto = readinto
""",
}


@pytest.mark.parametrize("url", ["local", *S3], indirect=True)
@pytest.mark.parametrize("call", ["put_new", "put"])
def test_a_writer_killed_half_way_leaves_nothing_to_see(store: Store, call: str) -> None:
    script = f"""
import os, sys, time
from lesionforge.sinks.store import Store
def stop():
    print("half-way", flush=True)
    time.sleep(60)
{DYING["local" if store.is_local else "s3"]}
Store(sys.argv[1]).{call}("train/000.tar", [bytes(2**20)] * 8)
"""
    with subprocess.Popen([sys.executable, "-c", script, store.url()], stdout=subprocess.PIPE, cwd=ROOT) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half-way\n"
        assert store.list() == []
        writer.send_signal(signal.SIGKILL)
    time.sleep(0.2)
    assert store.list() == []
    assert not store.exists("train/000.tar")
    assert store.put_new("train/000.tar", b"by the next one")


@everywhere
def test_put_replaces_and_no_reader_sees_a_mix(store: Store) -> None:
    contents = [bytes([number]) * 300_000 for number in range(12)]
    store.put("card", contents[0])
    done, seen = threading.Event(), set()

    def read() -> None:
        while not done.is_set():
            seen.add(store.get("card"))

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        for content in contents:
            store.put("card", [content[:1000], content[1000:]])
        done.set()
        reader.result()
    assert seen <= set(contents)
    assert store.get("card") == contents[-1]


@everywhere
def test_ranges_are_exact(store: Store) -> None:
    store.put("a/b", bytes(range(200)))
    assert store.get_range("a/b", 10, 5) == bytes(range(10, 15))
    assert store.get_range("a/b", 199, 1) == b"\xc7"
    assert store.get_range("a/b", 7, 0) == b""
    for offset in (198, 200, 5000):
        with pytest.raises(StoreError, match=r"a/b ends before byte"):
            store.get_range("a/b", offset, 5)
    with pytest.raises(ValueError, match="negative"):
        store.get_range("a/b", -1, 5)


@everywhere
def test_lists_are_fresh_sorted_and_relative(store: Store, url: str) -> None:
    assert store.list() == store.list("nowhere") == []
    before, other = time.time(), Store(url)
    for name in ("b/2", "b/1", "a", "b/deep/er", "bb"):
        assert [entry.name for entry in store.list("b")].count(name) == 0
        other.put_new(name, name.encode())
    entries = store.list()
    assert [entry.name for entry in entries] == ["a", "b/1", "b/2", "b/deep/er", "bb"]
    assert [entry.size for entry in entries] == [1, 3, 3, 9, 2]
    assert all(before - 5 < entry.mtime < time.time() + 5 for entry in entries)
    assert [entry.name for entry in store.list("b")] == [entry.name for entry in store.list("b/")]
    assert [entry.name for entry in store.list("b")] == ["b/1", "b/2", "b/deep/er"]
    other.delete("b/1")
    other.delete("b/1")
    assert [entry.name for entry in store.list("b")] == ["b/2", "b/deep/er"]


@on_s3
def test_long_lists_come_in_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        store.put(f"{number}", b"")
    fs = store._open()._fs  # type: ignore[attr-defined]
    call = fs.call_s3
    monkeypatch.setattr(fs, "call_s3", lambda method, **fields: call(method, MaxKeys=3, **fields))
    assert [entry.name for entry in store.list()] == list("01234567")


@everywhere
def test_what_is_not_there_is_not_found(store: Store) -> None:
    store.put("a/b", b"x")
    for missing in ("nothing", "a", "a/b/c"):
        assert not store.exists(missing)
        for call in (store.get, store.size, lambda path: store.get_range(path, 0, 1)):
            with pytest.raises((FileNotFoundError, StoreError)) as caught:
                call(missing)
            if missing == "nothing":
                assert caught.type is FileNotFoundError
                assert store.url("nothing") in str(caught.value)


@everywhere
@pytest.mark.parametrize("path", ["", "/etc/passwd", "../up", "a//b", "a/./b", ".tmp/x"])
def test_paths_stay_inside(store: Store, path: str) -> None:
    for call in (store.get, store.delete, lambda path: store.put_new(path, b"")):
        with pytest.raises(ValueError, match=re.escape(repr(path))):
            call(path)


@everywhere
def test_probe_passes_and_leaves_nothing(store: Store) -> None:
    store.probe()
    assert store.list() == []
    assert list(store._open().list(".tmp")) == []


@everywhere
def test_probe_detects_a_server_that_overwrites_silently(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(store._open())
    write = kind.write
    monkeypatch.setattr(kind, "write", lambda self, key, chunks, new: write(self, key, chunks, False))
    if kind is s3.S3:
        store.probe()
        assert not store.conditional  # one run at a time: tests/sinks/test_staging.py
        assert not pickle.loads(pickle.dumps(store)).conditional
        return
    with pytest.raises(StoreError, match=r"overwrites silently on conditional PUT") as caught:
        store.probe()
    assert store.url() in str(caught.value)


@on_local
def test_probe_removes_old_leftovers_and_nothing_else(store: Store) -> None:
    store.probe()
    folder, day = store.local_path(".tmp"), 86_400
    killed, probing, working, foreign = uuid.uuid4().hex, f"probe-{uuid.uuid4().hex}", uuid.uuid4().hex, "notes.txt"
    for name, age in ((killed, 1.1 * day), (probing, 9 * day), (working, 0.9 * day), (foreign, 9 * day)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age,) * 2)
    store.probe()
    assert {path.name for path in folder.iterdir()} == {working, foreign}


def test_what_has_no_time_is_no_leftover() -> None:
    names = [f".tmp/{uuid.uuid4().hex}" for _ in range(2)]
    assert probe._leftovers(dict.fromkeys(names, 0.0), now=0.0) == []
    assert probe._leftovers({names[0]: 0.0, names[1]: 1.0}, now=time.time()) == names[1:]


@on_s3
def test_large_objects_go_in_one_put_and_stay_create_only(store: Store) -> None:
    chunk = os.urandom(MIB)
    body = [chunk] * 104  # s3fs would send this in parts
    assert store.put_new("big.tar", body)
    assert not store.put_new("big.tar", body[:70])
    assert store.size("big.tar") == 104 * MIB
    assert store.get_range("big.tar", 103 * MIB, MIB) == chunk
    head = store._open()._call("head_object", "big.tar")  # type: ignore[attr-defined]
    assert re.fullmatch(r'"[0-9a-f]{32}"', head["ETag"])  # parts would show as "...-3"


@on_ceph
def test_more_than_a_put_takes_is_a_clear_error(store: Store) -> None:
    chunk = bytes(64 * MIB)
    with pytest.raises(StoreError, match="make shards smaller"):
        store.put_new("huge.tar", [chunk] * 81)


def refusal(status: int, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")


def test_keys_that_are_out_of_date_are_named_even_where_the_server_says_nothing() -> None:
    for code in ("ExpiredToken", "400"):  # the answer to a HEAD has no body
        assert "credentials are out of date" in errors.explain(refusal(400, code), {}, "bucket")


@on_s3
@pytest.mark.parametrize(
    "fault",
    [refusal(503, "SlowDown"), refusal(409, "ConditionalRequestConflict"), ConnectionClosedError(endpoint_url="here")],
    ids=["503", "409", "closed"],
)
@pytest.mark.parametrize("landed", [False, True], ids=["lost-request", "lost-answer"])
@pytest.mark.parametrize("rival", [False, True], ids=["alone", "rival"])
def test_passing_faults_are_retried_and_never_misattributed(
    store: Store, monkeypatch: pytest.MonkeyPatch, fault: Exception, landed: bool, rival: bool
) -> None:
    if rival:
        Store(store.url()).put_new("key", b"same bytes")  # equal content: bytes cannot tell whose it is
    place: Any = store._open()
    call, calls = place._call, []

    def faulty(method: str, key: str, **fields: Any) -> Any:
        calls.append(method)
        if len(calls) > 1:
            return call(method, key, **fields)
        if landed and not rival:
            call(method, key, **fields)
        raise OSError("translated") from fault

    monkeypatch.setattr(place, "_call", faulty)
    assert store.put_new("key", b"same bytes") is not rival
    assert store.get("key") == b"same bytes"
    assert len(calls) > 1


@on_ceph
def test_retries_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(s3.time, "sleep", waits.append)
    place: Any = store._open()

    def fail(*_: Any, **__: Any) -> Any:
        raise ReadTimeoutError(endpoint_url="here")

    monkeypatch.setattr(place, "_call", fail)
    with pytest.raises(StoreError, match=r"cannot write .*unreachable"):
        store.put("key", b"")
    assert len(waits) == len(set(waits)) == 5  # jittered: many workers do not come back together
    assert all(0.05 <= wait <= 0.4 * 2**attempt for attempt, wait in enumerate(waits))


@on_ceph
def test_the_size_of_what_is_due_is_asked_for_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may not know yet what was just written: a shard is not dropped for that."""
    store.put("key", b"bytes")
    monkeypatch.setattr(s3.time, "sleep", lambda seconds: None)
    place: Any = store._open()
    call, late = place._call, iter((True,) * 3)

    def slow(method: str, key: str, **fields: Any) -> Any:
        if next(late, False):
            raise FileNotFoundError(errno.ENOENT, "not yet")
        return call(method, key, **fields)

    monkeypatch.setattr(place, "_call", slow)
    assert not store.exists("key")  # one question: most of what is asked for so is truly not there
    assert store.size("key") == 5
    with pytest.raises(FileNotFoundError):
        store.size("no such key")


@on_ceph
def test_probe_names_a_missing_bucket_and_wrong_keys(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="create bucket missing"):
        Store("s3://missing/there").probe()
    with pytest.raises(StoreError, match="create bucket missing"):
        Store("s3://missing/there").list()
    with pytest.raises(StoreError, match="SignatureDoesNotMatch; check AWS_ACCESS_KEY_ID"):
        Store(url, {"key": os.environ["AWS_ACCESS_KEY_ID"], "secret": "not the secret"}).probe()
    with pytest.raises(StoreError, match="InvalidAccessKeyId; check AWS_ACCESS_KEY_ID"):
        Store(url, {"key": "nobody", "secret": "not the secret"}).probe()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(StoreError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        Store(url).probe()


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_probe_gives_up_on_an_unreachable_endpoint(silent_server: str) -> None:
    for endpoint, seconds in (("http://127.0.0.1:1", 15), (silent_server, 30)):
        start = time.monotonic()
        with pytest.raises(StoreError, match="the endpoint is unreachable: check AWS_ENDPOINT_URL"):
            Store("s3://any", {"key": "k", "secret": "s" * 20, "endpoint_url": endpoint}).probe()
        assert time.monotonic() - start < seconds


def test_probe_names_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    # As root no permission bit stops us: what does is a file in the way and a file system without files.
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/lesionforge")):
        with pytest.raises(StoreError, match=f"cannot write to {folder}: .*choose another path") as caught:
            Store(str(folder)).probe()
        assert "\n" not in str(caught.value)


@on_local
def test_probe_names_a_full_disk_and_links_that_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(number: int) -> Callable[..., None]:
        def call(*_: Any) -> None:
            raise OSError(number, os.strerror(number))

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail(errno.ENOSPC))
        with pytest.raises(StoreError, match="is full: free space"):
            store.probe()
    monkeypatch.setattr(os, "link", fail(errno.EPERM))
    with pytest.raises(StoreError, match="no hard links"):
        store.probe()
    assert list(Path(store.url(".tmp")).iterdir()) == []


@on_local
def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> Iterator[Any]:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(StoreError, match="permission denied"):
        store.list()


def test_unknown_protocols_and_missing_buckets_are_refused() -> None:
    with pytest.raises(StoreError, match="Protocol not known: nonsense"):
        Store("nonsense://there").probe()
    with pytest.raises(StoreError, match="names no bucket"):
        Store("s3:///prefix")


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ["topsecret-option", "topsecret-variable", "topsecret-client"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secrets[1])
    options = {
        "key": "k",
        "secret": secrets[0],
        "endpoint_url": "http://127.0.0.1:1",
        "client_kwargs": {"aws_session_token": secrets[2]},
    }
    store = Store("s3://any", options)
    monkeypatch.setattr(module, "_connect", lambda *_, **__: (_ for _ in ()).throw(OSError(f"leak {secrets}")))
    with pytest.raises(StoreError) as caught:
        store.get("x")
    shown = [repr(store), str(store), str(caught.value), repr(caught.value), repr(pickle.loads(pickle.dumps(store)))]
    shown.append(Store("ftp://me:topsecret-password@host/x").url("y"))
    assert not [text for text in shown if "topsecret" in text]
    assert "leak" in str(caught.value)
    assert all(secret.encode() not in pickle.dumps(Store("s3://any")) for secret in secrets)


@everywhere
def test_travels_to_other_processes_by_pickle_and_by_fork(store: Store) -> None:
    store.put("before", b"")  # connected in this process
    again = pickle.loads(pickle.dumps(store))
    assert repr(again) == repr(store)
    assert again.put_new("pickled", b"")
    if store.url().startswith("memory"):
        return

    def child() -> None:
        store.put_new("forked", b"from the child")

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert store.get("forked") == b"from the child"


def test_local_paths(tmp_path: Path) -> None:
    for url in (str(tmp_path), f"file://{tmp_path}/", f"{tmp_path}/a/.."):
        store = Store(url)
        assert store.is_local
        assert store.url() == str(tmp_path)
        assert store.local_path("a/b") == tmp_path / "a" / "b"
    assert not Store("memory://x").is_local
    with pytest.raises(StoreError, match="no local path"):
        Store("memory://x").local_path("a")


def test_memory_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(f"memory://{uuid.uuid4().hex}/deeper")
    store.probe()
    store.put("a/b", b"c")
    assert [entry.name for entry in store.list()] == ["a/b"]
    assert list(tmp_path.iterdir()) == []


def test_what_the_system_takes_in_parts_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writev, calls = os.writev, list[int]()

    def some(handle: int, chunks: list[memoryview]) -> int:
        calls.append(len(chunks))
        return writev(handle, [*chunks[:2], chunks[2][:1]] if len(chunks) > 2 else [chunks[0][:1]])

    monkeypatch.setattr(os, "writev", some)
    chunks = [bytes([n % 251]) * (n % 7) for n in range(3000)]
    Store(str(tmp_path)).put("a", chunks)
    assert (tmp_path / "a").read_bytes() == b"".join(chunks)
    assert max(calls) == 1024


def test_urls_that_lost_a_slash_are_no_local_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("memory://x", "s3://bucket/prefix", "file:///tmp/x"):
        with pytest.raises(StoreError, match="lost a slash"):
            Store(str(Path(url)))  # a path joins its slashes
    with pytest.raises(StoreError, match="ftp://host/x lost") as caught:
        Store("ftp:/me:topsecret-password@host/x")
    assert "topsecret" not in str(caught.value)
    for name in ("a:b/c", "./s3:/x", "C:/x"):
        assert Store(name).is_local
    assert list(tmp_path.iterdir()) == []


def test_any_other_fsspec_protocol_is_served(tmp_path: Path) -> None:
    store = Store("dir://deeper/x", {"path": str(tmp_path), "target_protocol": "file"})
    store.probe()
    assert store.put_new("a/b", [b"1", b"2"])
    assert not store.put_new("a/b", b"3")
    assert store.get_range("a/b", 1, 1) == b"2"
    assert [(entry.name, entry.size) for entry in store.list()] == [("a/b", 2)]
    store.delete("a/b")
    assert not store.exists("a/b")


def test_stretches_listed_side_by_side_are_the_folder_once(moto_env, monkeypatch):
    """Whatever the cuts are: between keys, at keys, past all of them."""
    for name, value in moto_env.items():
        monkeypatch.setenv(name, value)
    store = Store(f"s3://lesionforge/{uuid.uuid4().hex}")
    names = [f"a/train-{n:06d}.tar" for n in range(7)]
    for name in [*names, "b/x", "a/sub/y"]:
        store.put(name, b"x")
    for cuts in (
        [],
        ["a/train-000003"],
        ["a/train-000003.tar"],
        ["a/b", "a/train-000001", "a/train-000005", "a/z"],
        ["a/z"],
    ):
        assert sorted(entry.name for entry in store.scan("a", cuts)) == ["a/sub/y", *names]
    assert abs(store.list("b")[0].mtime - time.time()) < 600
