"""The shard writer against the alternatives: ``python -m tests.benchmarks.writer``.

Everybody writes the same encoded samples into the same number of shards in a fresh folder on the local disk. Ours
is what a commit does: `Tar` with SHA-256, and `Store.put_new`, which syncs file and folder. Two rules of
durability, each the same for all: ``one sync``, os.sync() at the end, inside the timed region; ``sync each``, every
shard's file and folder synced before the next is begun, as a commit needs it. ``cores busy``: the same as ``sync each``
in CPU time of the whole process, its threads and the system's work for it included, while every core has another
process to run; a run of ours has a worker a core, so that no second core is left to hash on. Methods take turns; ratios
are medians over the rounds. The last line writes nothing: SHA-256 of one file is one stream, so no writer that hashes
can be faster than that.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import webdataset

from lesionforge.sinks.encode import encode
from lesionforge.sinks.store import Store
from lesionforge.sinks.tar import Tar
from tests.benchmarks.common import Row, alternate, goal, goals, median, table

GOALS = {"140 kB": 1.4, "bi-plane, 4.2 MB": 0.9}  # times ShardWriter as it comes, in CPU time, with SHA-256 on
BUSY = "cores busy, CPU time"
Members = dict[str, bytes]
Shards = list[list[tuple[str, Members]]]


def small(samples: int) -> list[tuple[str, Members]]:
    """Samples of 140 kB: a 256 x 256 uint16 picture, a packed mask, json."""
    rng = random.Random(0)
    json = encode("json", {"labels": {"value": 0.5}, "drawn": {str(i): i / 7 for i in range(20)}})
    return [
        (f"train-0000-{i:08d}", {"image.npy": rng.randbytes(131_200), "mask.npy": rng.randbytes(8_320), "json": json})
        for i in range(samples)
    ]


def biplane(samples: int) -> list[tuple[str, Members]]:
    """Samples like the bi-plane generator's: two silhouettes of 4 kB, two float or byte volumes of 128^3, json."""
    rng = np.random.default_rng(0)
    json = encode("json", {"labels": {"value": 0.5}, "drawn": {str(i): i / 7 for i in range(60)}})
    volume = encode("volume.npy", rng.integers(0, 2, (128, 128, 128), dtype=np.uint8))
    return [
        (
            f"train-0000-{i:08d}",
            {
                "view0.png": rng.bytes(4096),
                "view1.png": rng.bytes(4096),
                "hull.npy": bytes(bytearray(volume)),
                "volume.npy": bytes(bytearray(volume)),
                "json": json,
            },
        )
        for i in range(samples)
    ]


def ours(folder: Path, shards: Shards, each: bool) -> None:
    store = Store(str(folder))
    for k, samples in enumerate(shards):
        body = Tar()
        for key, members in samples:
            body.add(key, members)
        body.end()
        if not store.put_new(f"shards/train-{k:06d}.tar", body.chunks):
            raise RuntimeError("the folder is not fresh")
        body.close()


def shard_writer(encoder: bool) -> Callable[[Path, Shards, bool], None]:
    def write(folder: Path, shards: Shards, each: bool) -> None:
        post = _sync if each else None
        pattern, size = str(folder / "train-%06d.tar"), len(shards[0])
        with webdataset.ShardWriter(
            pattern, maxcount=size, maxsize=1e12, encoder=encoder, post=post, verbose=0
        ) as writer:
            for samples in shards:
                for key, members in samples:
                    writer.write({"__key__": key, **members})

    return write


def python_tarfile(folder: Path, shards: Shards, each: bool) -> None:
    for k, samples in enumerate(shards):
        path = folder / f"train-{k:06d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as file:
            for key, members in samples:
                for name, data in members.items():
                    info = tarfile.TarInfo(f"{key}.{name}")
                    info.size = len(data)
                    file.addfile(info, io.BytesIO(data))
        if each:
            _sync(str(path))


def raw(folder: Path, shards: Shards, each: bool) -> None:
    for k, samples in enumerate(shards):
        path = folder / f"train-{k:06d}.bin"
        with path.open("wb", buffering=0) as file:
            for _, members in samples:
                for data in members.values():
                    file.write(data)
        if each:
            _sync(str(path))


def sha_alone(folder: Path, shards: Shards, each: bool) -> None:
    """The ceiling of any writer that hashes: a shard's hash is one stream."""
    for samples in shards:
        digest = hashlib.sha256()
        for _, members in samples:
            for data in members.values():
                digest.update(data)


def _sync(path: str) -> None:
    for name in (path, os.path.dirname(path)):
        handle = os.open(name, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


METHODS: dict[str, Callable[[Path, Shards, bool], None]] = {
    "ours: Tar + SHA-256 + put_new": ours,
    "webdataset.ShardWriter": shard_writer(True),
    "webdataset.ShardWriter(encoder=False)": shard_writer(False),
    "tarfile": python_tarfile,
    "raw files of the same bytes": raw,
    "SHA-256 alone, nothing written": sha_alone,
}


def timed(write: Callable[[Path, Shards, bool], None], shards: Shards, each: bool, clock: Callable[[], float]) -> float:
    """Seconds to have it all on the disk."""
    folder = Path(tempfile.mkdtemp(prefix="lesionforge-bench-"))
    os.sync()
    try:
        start = clock()
        write(folder, shards, each)
        if not each:
            os.sync()
        return clock() - start
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def busy(cores: int) -> Iterator[None]:
    """So many processes that do nothing but run."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def measure(quick: bool = False) -> dict[str, Any]:
    """MB/s of payload by method, payload and rule."""
    rounds, count = (2, 1) if quick else (7, 2)
    payloads = {"140 kB": (small, 400), "bi-plane, 4.2 MB": (biplane, 16)}
    out: list[Row] = []
    targets: list[Row] = []
    for payload, (make, per_shard) in payloads.items():
        samples = make(per_shard)
        shards = [samples] * count
        size = count * sum(len(data) for _, members in samples for data in members.values())
        cores = len(os.sched_getaffinity(0))
        for rule, each, others in (("one sync", False, 0), ("sync each", True, 0), (BUSY, True, cores)):
            clock = time.process_time if others else time.perf_counter
            calls = {name: partial(timed, write, shards, each, clock) for name, write in METHODS.items()}
            with busy(others):
                for call in calls.values():
                    call()  # imports, page cache
                seconds = alternate(calls, rounds)
            base = seconds["webdataset.ShardWriter"]
            ratios = {n: median([b / t for b, t in zip(base, s, strict=True)]) for n, s in seconds.items()}
            for name, times in seconds.items():
                out.append(
                    {
                        "payload": payload,
                        "rule": rule,
                        "method": name,
                        "median_mb_s": size / median(times) / 1e6,
                        "best_mb_s": size / min(times) / 1e6,
                        "ratio": ratios[name],
                        "runs": len(times),
                    }
                )
            found, least = ratios["ours: Tar + SHA-256 + put_new"], GOALS[payload]
            if rule == BUSY:
                targets.append(goal(f"writer, {payload}, {rule}: {found:.2f} x ShardWriter ({least})", found >= least))
    return {"rows": out, "goals": targets}


def text(result: dict[str, Any]) -> str:
    """The table, for people."""
    columns = {
        "method": "method",
        "payload": "payload",
        "rule": "durability",
        "median_mb_s": "median MB/s",
        "best_mb_s": "best MB/s",
        "ratio": "x ShardWriter",
        "runs": "runs",
    }
    return table("Shards to local disk", columns, result["rows"]) + goals(result["goals"])


if __name__ == "__main__":
    sys.stdout.write(text(measure("--quick" in sys.argv)))
