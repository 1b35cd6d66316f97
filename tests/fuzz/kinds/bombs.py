"""A dataset with one small file that becomes large: Parquet, gzip, PNG and JSON, each sound until it is unpacked."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from lesionforge.sinks import layout
from tests.fuzz.kinds import datasets, indexes, pictures, tars
from tests.fuzz.mutate import Rng
from tests.sinks import bombs

NOTICED = "error"
told = datasets.told
run = datasets.consume
SIZE = 2**29  # bytes that most become


def _packed() -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros(0, np.uint8))
    head = out.getvalue().replace(b"(0,)", f"({SIZE + 1},)".encode())
    head = head[: 10 + int.from_bytes(head[8:10], "little")]
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        file.write(head)
        for _ in range(SIZE >> 20):
            file.write(bytes(2**20))
        file.write(b"\0")
    return packed.getvalue()


def _packed_zstd() -> bytes:
    out: bytes = pa.compress(gzip.decompress(_packed()), "zstd", asbytes=True)
    return out


def _objects() -> bytes:
    return b'{"lesions": [' + b"{}," * 3_000_000 + b"{}]}"


def _document(key: str) -> bytes:
    body = json.loads(datasets.sound()[layout.RECIPE])
    body[key] = "HERE"
    return json.dumps(body).encode().replace(b'"HERE"', b"[" + b"{}," * 5_000_000 + b"{}]")


def _runs() -> bytes:
    body = json.loads(datasets.sound()[layout.RECIPE])
    body["sources"][0]["runs"] = [[2**40, 1]]
    return json.dumps(body).encode()


#: Name -> the bytes that go into the tar's member of that ending, or into the file.
MEMBERS: dict[str, Callable[[], bytes]] = {
    "npy.gz": _packed,
    "npy.zst": _packed_zstd,
    "png": lambda: pictures.bomb(30_000, 10_000, 0),
    "json": _objects,
}
FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "dictionary": (indexes.INDEX, bombs.dictionary),
    "prefixes": (indexes.INDEX, bombs.prefixes),
    "members": (indexes.INDEX, lambda: bombs.members(30_000_000)),
    "links": (layout.RECIPE, lambda: _document("links")),
    "versions": (layout.RECIPE, lambda: _document("versions")),
    "runs": (layout.RECIPE, _runs),
    "manifest": (layout.MANIFEST, _objects),
}


@cache
def files(name: str) -> dict[str, bytes | None]:
    """The dataset's files that this bomb replaces."""
    if name in FILES:
        path, make = FILES[name]
        return {path: make()}
    data, made = datasets.sound()[tars.SHARD], io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for info in archive:
            body: bytes = archive.extractfile(info).read()  # type: ignore[union-attr]
            if info.name.endswith("." + name):
                body = _member(name)
                info.size = len(body)
            made.write(info.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % 512))
    tar = made.getvalue() + bytes(1024)
    return {tars.SHARD: tar, indexes.INDEX: tars.agreeing(tar)}


@cache
def _member(name: str) -> bytes:
    return MEMBERS[name]()


def build(rng: Rng, folder: Path) -> None:
    """A dataset with one of them."""
    datasets.write(folder, {} if rng.sound else files(rng.choice((*MEMBERS, *FILES))))
