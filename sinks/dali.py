"""Index of one shard in NVIDIA DALI's format: written by whoever commits it, so that none is left to the end."""

from __future__ import annotations

from collections.abc import Iterable

from lesionforge.sinks.index import Row


def dali(rows: Iterable[Row]) -> bytes:
    """Index of one shard in NVIDIA DALI's ``wds2idx`` format v1.2: per sample, ``ext offset size name`` a member."""
    lines = [
        " ".join(f"{m['name']} {m['offset']} {m['size']} {row.sample_id}.{m['name']}" for m in row.members or ())
        for row in rows
        if row.status == "ok"
    ]
    return "".join(f"{line}\n" for line in [f"v1.2 {len(lines)}", *lines]).encode()
