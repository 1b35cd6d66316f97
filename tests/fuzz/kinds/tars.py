"""Shards: links, absolute names, pax and sparse members, doubles, cuts, members that are bombs."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from lesionforge.sinks import index
from tests.fuzz.kinds import datasets, pictures
from tests.fuzz.mutate import Rng, number, plain, some_bytes, word

NOTICED = "error"
told = datasets.told
run = datasets.consume
SHARD = "shards/train-000000.tar"
TYPES = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE)
TYPES = (*TYPES, tarfile.CONTTYPE, tarfile.AREGTYPE, b"V", b"M", b"x", b"g", b"L", b"K", b"\xff")
NAMES = ("/etc/passwd", "../../outside.json", "..", "a/../../b.json", "train-0000-00000000.json", ".json", "a", "a.b.c")


def build(rng: Rng, folder: Path) -> None:
    """A dataset whose first tar is spoiled; its index may be made to agree with it."""
    files: dict[str, bytes | None] = {}
    if not rng.sound:
        files[SHARD] = data = spoil(rng, datasets.sound()[SHARD])
        if rng.random() < 0.5:
            files["index/train-000000.parquet"] = agreeing(data)
    datasets.write(folder, files)


def agreeing(data: bytes) -> bytes:
    """An index that was made of this tar, where one can be; else the sound one with this tar's checksum."""
    record, rows = index.read(datasets.sound()["index/train-000000.parquet"])
    with contextlib.suppress(Exception):
        rows = index.from_tar(data, record.recipe)
    told = {**vars(record), "tar_sha256": hashlib.sha256(data).hexdigest(), "tar_bytes": len(data)}
    try:
        return index.write(rows, index.Record(**told))
    except Exception:
        return datasets.sound()["index/train-000000.parquet"]


def spoil(rng: Rng, data: bytes) -> bytes:
    """Bytes without a mind, or members with one."""
    draw = rng.random()
    if draw < 0.15:
        return some_bytes(rng, data)
    if draw < 0.2:
        return rng.choice((b"", bytes(512), bytes(10240), data[: rng.randrange(len(data))], data + data, data[512:]))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = [(info, archive.extractfile(info).read()) for info in archive]  # type: ignore[union-attr]
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(members))
        info, body = members[at]
        match rng.randrange(8):
            case 0:
                info.type = rng.choice(TYPES)
                info.linkname = rng.choice(("/etc/passwd", "../../outside", info.name, ""))
            case 1:
                info.name = rng.choice(NAMES)
            case 2:
                info.pax_headers = {
                    rng.choice(("path", "size", "linkpath", "GNU.sparse.realsize")): rng.choice(("../x", "9" * 30))
                }
            case 3:
                members.insert(rng.randrange(len(members) + 1), members[at])
            case 4:
                members.pop(at)
            case 5:
                rng.shuffle(members)
            case _:
                body = member(rng, info.name, body)
                info.size = len(body)
                members[at] = info, body
        if not members:
            break
    out = io.BytesIO()
    form = rng.choice((tarfile.USTAR_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))
    for info, body in members:
        try:
            out.write(info.tobuf(form, errors="surrogateescape"))
        except (ValueError, TypeError):
            continue
        out.write(body + bytes(-len(body) % 512))
    return out.getvalue() + bytes(rng.choice((1024, 1024, 1024, 0, 512, 10240)))


def member(rng: Rng, name: str, body: bytes) -> bytes:
    """A member's bytes under a sound header."""
    if rng.random() < 0.3:
        return some_bytes(rng, body)
    if name.endswith("json"):
        try:
            meta: Any = json.loads(body)
        except ValueError:
            return some_bytes(rng, body)
        match rng.randrange(4):
            case 0:
                return b"[" * 50_000 + b"]" * 50_000
            case 1:
                meta["sample_id"] = rng.choice((word(rng), "../../outside", 3))
            case 2:
                meta["lesions"] = [{"box": [number(rng, 3) for _ in range(4)], "severity_class": word(rng)}]
            case 3:
                meta = plain(rng, meta, 2)
        return datasets.canonical(meta)
    if name.endswith("png"):
        return pictures.spoil(rng, body, "png")
    return array(rng, packed=name.endswith("gz"))


def array(rng: Rng, packed: bool) -> bytes:
    """An npy that is larger than its bytes, of objects, or a bomb."""
    shape = rng.choice(("(10**9,)", "(100000000,)", "(4,)", "(-1,)", "(2**40,2**40)", "(0,99999999999)", "4", "(4,4)"))
    descr = rng.choice(("'<f8'", "'|O'", "'|u1'", "'<M8[ns]'", "[('a','|O')]", "'|V100000'", "'<U99999999'", "x"))
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    data = b"\x93NUMPY" + rng.choice((b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\x09\0")) + len(head).to_bytes(2, "little")
    data += head.encode() + rng.choice((bytes(32), b"\x80\x04cos\nsystem\n(S'x'\ntR."))
    if rng.random() < 0.2:
        buffer = io.BytesIO()
        np.save(buffer, np.array([{"a": 1}], object), allow_pickle=True)
        data = buffer.getvalue()
    if not packed:
        return data
    return gzip.compress(data if rng.random() < 0.7 else bytes(2**29), 6, mtime=0)
