"""A small sound dataset, and everything that reads one, for the kinds that spoil its files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lesionforge.engine import dataset as document
from lesionforge.engine.dataset import DatasetError
from lesionforge.generators.types import CoronaryTree, Sample, SampleSpec
from lesionforge.jobs.commands import preview, verify
from lesionforge.jobs.commands.export import export
from lesionforge.jobs.commands.generate import generate
from lesionforge.jobs.errors import UsageError
from lesionforge.sinks import dataset, layout
from lesionforge.sinks.commit import ForeignShard
from lesionforge.sinks.encode import json_bytes
from lesionforge.sinks.reader import Reader, Samples
from lesionforge.sinks.store import Store, StoreError
from tests.faulty import Faulty
from tests.fuzz.command import command
from tests.fuzz.mutate import Rng

NAMED = (layout.SHARDS + "/", layout.INDEX + "/", layout.RECIPE, layout.MANIFEST, "sample ", "shard ", "dataset/")


class Drawn(Faulty):
    """Samples with one member of every encoding, and lesions."""

    def generate(self, cases: Sequence[CoronaryTree], specs: Sequence[SampleSpec]) -> Iterator[Sample]:
        for case, spec in zip(cases, specs, strict=True):
            rng = spec.rng("noise")
            image = rng.integers(0, 256, (40, 56), dtype=np.uint8)
            fields = {
                "image.png": image,
                "noise.npy": rng.random(4),
                "mask.npy.gz": image > 200,
                "mask.npy.zst": image > 200,
            }
            lesion = {"box": [3.5, 4, 17, 20.25], "severity_class": "severe", "synthetic": True, "measured_ds": 71.5}
            yield Sample(spec, fields, {"lesions": [lesion], "side": case.side}, {}, {"mean": float(image.mean())})


@cache
def sound() -> Mapping[str, bytes]:
    """The files of a dataset of two shards of three samples."""
    recipe = {
        "name": "fuzz",
        "seed": 1,
        "sources": [{"uri": "tests.faulty.Toy:here", "options": {"count": 6}, "split": {"train": 1}}],
        "generator": {"name": "tests.fuzz.kinds.datasets.Drawn", "params": {}},
        "splits": ["train"],
        "balance": {"mild": 1, "severe": 1},
        "shard": {"samples": 3},
    }
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "recipe.json", Path(folder) / "out"
        path.write_text(json.dumps(recipe))
        generate(path, str(out), None, in_process=True)
        return {f.relative_to(out).as_posix(): f.read_bytes() for f in sorted(out.rglob("*")) if f.is_file()}


def write(folder: Path, files: Mapping[str, bytes | None]) -> None:
    """The sound dataset with some files replaced, or left out where there are no bytes."""
    for name, data in {**sound(), **files}.items():
        if data is not None:
            path = folder / "dataset" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def told(message: str) -> bool:
    """An error says which file, shard or sample it is about."""
    return any(name in message for name in NAMED)


def consume(rng: Rng, folder: Path) -> list[str]:
    """Read the dataset in one to three of the ways there are; what was said about it."""
    said: list[str] = []
    ways = [_verify, _samples, _remote, _export, _preview, _rebuild, _status, _command, _continue]
    for way in [_verify, _samples, _export] if rng.sound else rng.sample(ways, rng.choice((1, 2, 3))):
        try:
            said += way(rng, folder, Store(str(folder / "dataset")))
        except (DatasetError, StoreError, ForeignShard, UsageError, FileNotFoundError, ValueError) as error:
            if not told(str(error)):  # a ValueError is an answer where it names what it is about
                raise
            said.append(str(error))
    assert all("\n" not in line for line in said), said
    return said


def _verify(rng: Rng, folder: Path, store: Store) -> list[str]:
    return verify.verify(store).problems


def _rebuild(rng: Rng, folder: Path, store: Store) -> list[str]:
    name = rng.choice([n for n in sound() if n.endswith(".parquet")])
    store.delete(name)
    return verify.verify(store, rebuild=True).problems


def _samples(rng: Rng, folder: Path, store: Store) -> list[str]:
    samples = Samples(store, where=(lambda row: row.redraws < 3) if rng.chance(0.3) else None)
    for sample in Reader(samples, batch=2, seed=1, threads=0):
        assert sample
    samples.column("target")
    samples.column("labels.lesions.0.severity_class")
    return []


def _remote(rng: Rng, folder: Path, store: Store) -> list[str]:
    """The same from a store that is not this machine's, with a cache in a folder."""
    there = Store(f"memory://fuzz-{rng.random()}")
    for entry in store.list():
        there.put(entry.name, store.get(entry.name))
    try:
        list(Samples(there, cache=folder / "cache").read(np.arange(1)))
    finally:
        for entry in there.list():
            there.delete(entry.name)
    return []


def _export(rng: Rng, folder: Path, store: Store) -> list[str]:
    export(str(folder / "dataset"), rng.pick("coco", "yolo"), folder / "export", (), "image.png")
    return []


def _preview(rng: Rng, folder: Path, store: Store) -> list[str]:
    preview.preview(store, 4, trust=True)
    return []


def _status(rng: Rng, folder: Path, store: Store) -> list[str]:
    document.read(store)
    return []


def _command(rng: Rng, folder: Path, store: Store) -> list[str]:
    place = str(folder / "dataset")
    sample = ("train-0000-00000001",)
    chosen = rng.choice(
        (("status",), ("verify",), ("verify", "--rebuild"), ("preview",), ("preview", "--trust"), ("replay", *sample))
    )
    command([chosen[0], place, *chosen[1:]])
    return []


def _continue(rng: Rng, folder: Path, store: Store) -> list[str]:
    """The driver's part: what is committed, adopting a tar that somebody else left, finishing the dataset."""
    from lesionforge.engine import finalise

    doc = document.read(store)
    for name in dataset.committed(store):
        ((_, rows),) = dataset.indexes(store, [name])
        for row in rows[:1]:
            dataset.sample(store, name, row)
    finalise.finalise(store, doc)
    return []


def canonical(data: Any) -> bytes:
    """JSON as the product writes it, or as near as can be."""
    try:
        return json_bytes(data)
    except (ValueError, TypeError):
        return json.dumps(data, default=str).encode()
