"""Shards in small, made as a worker makes them: shared by the tests of this folder."""

from collections.abc import Collection
from typing import Any

import numpy as np

from lesionforge.sinks import index
from lesionforge.sinks.encode import encode
from lesionforge.sinks.index import Record, Row
from lesionforge.sinks.tar import Tar

RECIPE = "a" * 64
VERSION = "0.1.0"


def name_of(i: int, split: str = "train") -> str:
    return f"{split}-0000-{i:08d}"


def fields(i: int, pixels: int = 0) -> dict[str, Any]:
    """One array of every kind that is written; ``pixels`` seeds what a GPU might draw otherwise the next time."""
    rng = np.random.default_rng([i, pixels])
    return {
        "view0.png": rng.integers(0, 256, (12, 9), dtype=np.uint8),
        "depth.png": rng.integers(0, 65536, (12, 9), dtype=np.uint16),
        "colour.png": rng.integers(0, 256, (5, 4, 3), dtype=np.uint8),
        "volume.npy": rng.normal(size=(3, 4, 5)).astype(np.float32),
        "mask.npy.gz": rng.integers(0, 2, (6, 6), dtype=np.uint8),
    }


def meta(i: int) -> dict[str, Any]:
    """The ``json`` member as `engine.sample.Maker.members` builds it."""
    return {
        "sample_id": name_of(i),
        "split": "train",
        "variant": 0,
        "source": 0,
        "case": i,
        "target": ("mild", "severe")[i % 2],
        "subject": f"{i:016x}",
        "source_id": f"id{i}",
        "redraws": i % 3,
        "generator": "toy",
        "recipe": RECIPE,
        "value": i / 3,
        "name": "LAD",
        "drawn": {"angle_deg": 30.0 + i},
        "measured": {"zeta": float(i), "alpha": 0.1},
    }


def packed(samples: int = 3, pixels: int = 0, lost: Collection[int] = (), first: int = 0) -> tuple[Tar, list[Row]]:
    """An open tar and its rows; the samples in ``lost`` are quarantined."""
    body, rows = Tar(), list[Row]()
    for i in range(first, first + samples):
        if i in lost:
            rows.append(Row(name_of(i), "train", 0, 0, i, "mild", status="quarantined", reason="source: unreadable"))
            continue
        members = {**fields(i, pixels), "json": meta(i)}
        entry = body.add(name_of(i), {name: encode(name, value) for name, value in members.items()})
        rows.append(index.place(index.row_of(members["json"]), entry))
    return body, rows


def whole(body: Tar) -> bytes:
    """The file's bytes, closed."""
    body.close()
    return b"".join(body.chunks)


def record_of(body: Tar, rows: list[Row], shard: str = "train-000000") -> Record:
    lost = sum(row.status == "quarantined" for row in rows)
    return Record(shard, RECIPE, body.close(), body.size, len(rows) - lost, lost, VERSION)
