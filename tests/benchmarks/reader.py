"""The streaming reader against the alternatives: ``python -m tests.benchmarks.reader [--quick]``.

Everybody reads the same encoded samples of a dataset in a local folder, shuffled, one epoch, the page cache warm.
``raw``: the members' bytes. ``PNG``: two 512 x 512 pictures decoded, by the same function for all. Two workers means
two processes of torch's `DataLoader`; ours has one thread a core for PNG and none for raw. mosaicml-streaming reads
its own format, written from the same bytes. Methods take turns; ratios are medians over the rounds. The goals compare
with the fastest way of using each alternative.

``neighbours``: the share of samples that follow one of the same shard, a measure of the order; a uniform permutation
has one over the number of shards, and workers that take turns have fewer whatever their order. A buffer of 1,000
samples is WebDataset's usual size.

mosaicml-streaming 0.13 wants numpy < 2.2: put it into an environment of its own to have its lines.
"""

from __future__ import annotations

import importlib.util
import io
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import webdataset
from PIL import Image

from lesionforge.sinks import index, layout
from lesionforge.sinks.encode import decode
from lesionforge.sinks.index import Record
from lesionforge.sinks.index import Row as IndexRow
from lesionforge.sinks.reader import Reader, Samples
from lesionforge.sinks.store import Store
from lesionforge.sinks.tar import Tar
from tests.benchmarks.common import Row, alternate, goal, goals, median, table

GOALS = {"webdataset": 2.0, "mosaicml-streaming": 4.0}
OURS = "lesionforge"
BUFFER = 1000
SHARDS = 20
WORKERS = 2
Members = dict[str, bytes]
Read = Callable[[Path, Any], Iterable[tuple[str, Members]]]


def raw(samples: int) -> Iterator[Members]:
    """140 kB: incompressible bytes, json."""
    rng = random.Random(0)
    for i in range(samples):
        text = json.dumps({"labels": {"value": i / 7}, "drawn": {str(k): k / 7 for k in range(20)}}).encode()
        yield {"image.npy": rng.randbytes(131_200), "mask.npy": rng.randbytes(8_320), "json": text}


def pictures(samples: int) -> Iterator[Members]:
    """A frame with smooth shading and noise, a mask, json; 20 different ones."""
    rng = np.random.default_rng(0)
    made = list[Members]()
    for i in range(min(samples, 20)):
        smooth = np.array(Image.fromarray(rng.normal(140, 60, (16, 16)).astype(np.float32)).resize((512, 512), 3))
        frame = np.clip(smooth + rng.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)
        made.append({"image.png": _png(frame), "mask.png": _png(((smooth > 180) * 255).astype(np.uint8))})
        made[-1]["json"] = json.dumps({"lesions": [{"box": [i, 1, 2, 3]}]}).encode()
    for i in range(samples):
        yield made[i % len(made)]


def _png(array: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, format="PNG", compress_level=3)
    return out.getvalue()


def write(folder: Path, samples: list[Members]) -> None:
    """The dataset in our layout and in mosaicml's."""
    store = Store(str(folder))
    for k in range(SHARDS):
        body, rows = Tar(), list[IndexRow]()
        for i in range(k, len(samples), SHARDS):
            key = f"train-0000-{i:08d}"
            rows.append(index.place(IndexRow(key, "train", 0, 0, i, labels="{}"), body.add(key, samples[i])))
        sha, shard = body.close(), f"train-{k:06d}"
        store.put(layout.tar(shard), body.chunks)
        store.put(layout.index(shard), index.write(rows, Record(shard, "f" * 64, sha, body.size, len(rows), 0, "0")))
    if importlib.util.find_spec("streaming"):
        from streaming import MDSWriter

        columns = {"key": "str", **dict.fromkeys(samples[0], "bytes")}
        per_shard = sum(map(len, samples[0].values())) * len(samples) // SHARDS
        with MDSWriter(out=str(folder / "mds"), columns=columns, size_limit=per_shard) as out:
            for k in range(SHARDS):
                for i in range(k, len(samples), SHARDS):
                    out.write({"key": f"train-0000-{i:08d}", **samples[i]})


def ours(folder: Path, decoded: bool, threads: int | None, check: bool = False) -> Iterator[dict[str, Any]]:
    return iter(Reader(Samples(folder, decoded=decoded, check=check), threads=threads))


def theirs(folder: Path, decoded: bool, workers: int) -> Iterator[dict[str, Any]]:
    urls = sorted(map(str, (folder / layout.SHARDS).glob("*.tar")))
    data = webdataset.WebDataset(urls, shardshuffle=len(urls)).shuffle(BUFFER)
    return _workers(data.map(_decoded) if decoded else data, workers)


def mosaic(folder: Path, decoded: bool, workers: int) -> Iterator[dict[str, Any]]:
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    data = StreamingDataset(local=str(folder / "mds"), shuffle=True, batch_size=32)
    read = _workers(data, workers)
    return map(_decoded, read) if decoded and not workers else read


def _workers(data: Any, workers: int) -> Iterator[dict[str, Any]]:
    if not workers:
        return iter(data)
    from torch.utils.data import DataLoader

    return iter(DataLoader(data, batch_size=None, num_workers=workers, collate_fn=_same))


def _same(item: Any) -> Any:
    return item


def _decoded(sample: dict[str, Any]) -> dict[str, Any]:
    return {name: decode(name, data) if isinstance(data, bytes) else data for name, data in sample.items()}


def timed(read: Callable[[], Iterator[dict[str, Any]]], size: int, samples: int) -> float:
    """MB/s of encoded bytes over an epoch, opening included."""
    start = time.perf_counter()
    count = sum(1 for _ in read())
    seconds = time.perf_counter() - start
    if count != samples:
        raise RuntimeError(f"{count} samples were read of {samples}")
    return size / seconds / 1e6


def neighbours(read: Callable[[], Iterator[dict[str, Any]]]) -> float:
    """Share of samples that follow one of their own shard."""
    shards = [int(str(s.get("__key__") or s["key"]).rsplit("-", 1)[1]) % SHARDS for s in read()]
    return sum(a == b for a, b in pairwise(shards)) / (len(shards) - 1)


def methods(decoded: bool) -> dict[str, Callable[[Path], Iterator[dict[str, Any]]]]:
    torch = importlib.util.find_spec("torch") is not None
    out: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
        OURS: partial(ours, decoded=decoded, threads=None),
        "lesionforge, no thread" if decoded else "lesionforge, 1 thread": partial(
            ours, decoded=decoded, threads=0 if decoded else 1
        ),
        "lesionforge, checked": partial(ours, decoded=decoded, threads=None, check=True),
        "webdataset": partial(theirs, decoded=decoded, workers=0),
    }
    if torch:
        out[f"webdataset, {WORKERS} workers"] = partial(theirs, decoded=decoded, workers=WORKERS)
    if importlib.util.find_spec("streaming"):
        out["mosaicml-streaming"] = partial(mosaic, decoded=decoded, workers=0)
        if torch and not decoded:
            out[f"mosaicml-streaming, {WORKERS} workers"] = partial(mosaic, decoded=decoded, workers=WORKERS)
    return out


def measure(quick: bool = False) -> dict[str, Any]:
    """MB/s of encoded bytes by payload and method."""
    rounds = 2 if quick else 7
    payloads = {"raw, 140 kB": (raw, 400 if quick else 4000, False), "PNG": (pictures, 100 if quick else 600, True)}
    out: list[Row] = []
    targets: list[Row] = []
    for payload, (make, count, decoded) in payloads.items():
        with tempfile.TemporaryDirectory(prefix="lesionforge-bench-") as name:
            folder = Path(name)
            samples = list(make(count))
            size = sum(len(data) for sample in samples for data in sample.values())
            write(folder, samples)
            del samples
            reads = {method: partial(call, folder) for method, call in methods(decoded).items()}
            order = {method: neighbours(read) for method, read in reads.items()}  # warms the page cache, too
            speeds = alternate({m: partial(timed, read, size, count) for m, read in reads.items()}, rounds)
        for method, found in speeds.items():
            row: Row = {"payload": payload, "method": method, "median_mb_s": median(found), "best_mb_s": max(found)}
            row |= {"ratio": _ratio(found, speeds["webdataset"]), "neighbours": order[method], "runs": rounds}
            out.append(row)
        if not decoded:
            targets += [_target(name, least, speeds) for name, least in GOALS.items() if name in speeds]
    return {"rows": out, "goals": targets}


def _ratio(found: list[float], base: list[float]) -> float:
    return median([a / b for a, b in zip(found, base, strict=True)])


def _target(name: str, least: float, speeds: dict[str, list[float]]) -> Row:
    rivals = [found for method, found in speeds.items() if method.startswith(name)]
    ratio = min(_ratio(speeds[OURS], rival) for rival in rivals)
    return goal(f"reader, raw bytes: {ratio:.2f} x {name} at its fastest (at least {least:g})", ratio >= least)


def text(result: dict[str, Any]) -> str:
    """The table, for people."""
    columns = {
        "method": "method",
        "payload": "payload",
        "median_mb_s": "median MB/s",
        "best_mb_s": "best MB/s",
        "ratio": "x webdataset",
        "neighbours": "neighbours",
        "runs": "runs",
    }
    return table("Shuffled reading from a local folder", columns, result["rows"]) + goals(result["goals"])


if __name__ == "__main__":
    sys.stdout.write(text(measure("--quick" in sys.argv)))
