"""Cases kept on the node: read or painted once a machine, and never other bytes for it."""

import contextlib
import dataclasses
import errno
import logging
import multiprocessing
import os
import time

import numpy as np
import pytest

from lesionforge.engine import kept
from lesionforge.engine.faults import Fault
from lesionforge.engine.kept import KeptCases, decoded, encoded
from lesionforge.engine.messages import Task
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.sources import cache, entry
from lesionforge.engine.sources.phantom import Phantom, PhantomOptions
from lesionforge.engine.sources.testing import _difference
from lesionforge.engine.worker import Worker
from lesionforge.generators.types import UserError, Volume
from lesionforge.sinks.store import Store
from tests.engine.conftest import shas, toy
from tests.engine.sources.test_trees import two_trees, write

NAME = "DOE_JANE_19561103"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(cache.SIZE, raising=False)
    cache._room.cache_clear()
    cache._tell.cache_clear()


@pytest.fixture
def reads(monkeypatch):
    """The cases that phantoms are asked for."""
    out, real = [], Phantom.read
    monkeypatch.setattr(Phantom, "read", lambda self, case: (out.append(case), real(self, case))[1])
    return out


def recipe(**changes):
    """Three variants of two trees."""
    source = {"uri": "phantom:coronary", "options": {"count": 1}, "split": {"train": 1}}
    params = {"grid": 32, "detector": 64, "spacing_mm": [4, 8]}
    return toy(
        **{"sources": [source], "generator": {"name": "biplane", "params": params}, "multiply": 3, "balance": None}
        | changes
    )


def of_files(folder, right=0):
    """Three variants of a label's two trees, moved to the right by some voxels."""
    write(folder, np.roll(two_trees(), right, 0), name=f"{NAME}.nii.gz")
    return recipe(sources=[{"uri": f"nifti:{folder}", "split": {"train": 1}}])


def made(recipe, folder):
    """Every shard of a recipe, each by a worker of its own; their hashes."""
    store = Store(str(folder))
    for k in range(Pipeline(recipe).plan.shards):
        assert Worker(recipe, store).make(Task(k)).quarantined == 0
    return shas(folder)


def entries(tmp_path):
    return sorted((tmp_path / "cache").glob("*.kept"))


def specs(pipeline):
    return [pipeline.plan[n] for n in range(len(pipeline.plan))]


def layout_of(value):
    """What a sum over the arrays of a case depends on beside their numbers."""
    if isinstance(value, np.ndarray):
        return [(value.strides, value.dtype, value.flags.writeable)] if value.size else []
    if dataclasses.is_dataclass(value):
        return [one for held in vars(value).values() for one in layout_of(held)]
    return [one for held in value for one in layout_of(held)] if isinstance(value, tuple) else []


def test_a_case_is_painted_once_and_its_samples_are_the_same(tmp_path, reads, monkeypatch):
    """speed.md 2a: every variant painted the phantom again."""
    monkeypatch.setenv("LESIONFORGE_CACHE", "")
    without = made(recipe(), tmp_path / "off")
    assert sorted(reads) == [0, 0, 0, 1, 1, 1]
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))
    reads.clear()
    assert made(recipe(), tmp_path / "cold") == without
    assert sorted(reads) == [0, 1]
    assert made(recipe(), tmp_path / "warm") == without
    assert sorted(reads) == [0, 1]
    assert made(recipe(multiply=1), tmp_path / "once").keys() <= without.keys()  # keeps nothing that nobody wants again
    assert sorted(reads) == [0, 0, 1, 1]


@pytest.mark.parametrize("kind", ["coronary", "angiogram", "abdomen"])
def test_a_case_comes_back_as_it_was_in_memory_too(kind):
    options = {"shape": (16, 20, 24), "spacing_mm": (10, 10, 10)} if kind == "abdomen" else {"stenoses": 1}
    case = Phantom(kind, PhantomOptions(count=1, **options)).read(0)
    cache.keep("mark", encoded(case))
    again = decoded(cache.recall("mark"))
    assert _difference(case, again) == ""
    assert layout_of(case) == layout_of(again)


def test_axes_in_any_order_and_odd_notes_come_back_or_are_not_kept():
    numbers = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    notes = {"a": (1, 2.5, [None, "\udc80"]), "b": {1: {"array": "x"}}, "c": -0.0, "d": True}
    for order in ((0, 1, 2), (2, 0, 1), (2, 1, 0), (1, 0, 2)):
        hu = numbers.transpose(order)
        hu.setflags(write=False)
        case = Volume("s", "i", "l", hu, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), legend={3: "liver"}, notes=notes)
        cache.keep(str(order), encoded(case))
        again = decoded(cache.recall(str(order)))
        assert _difference(case, again) == ""
        assert layout_of(case) == layout_of(again)
    for name, odd in {"gaps": numbers[:, ::2], "backwards": numbers[::-1]}.items():
        cache.keep(name, {"x": odd})
        assert cache.recall(name) is None
    for odd in (np.float64(1), float("nan"), {1, 2}, object()):
        with pytest.raises(TypeError):
            encoded(dataclasses.replace(case, notes={"odd": odd}))


def test_a_rotten_entry_is_made_again(tmp_path):
    cache.keep("mark", {"x": np.arange(40, dtype=np.float32)})
    (path,) = entries(tmp_path)
    good = path.read_bytes()
    for at in range(0, len(good), 7):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        assert cache.recall("mark") is None, at
        path.write_bytes(good[:at])
        assert cache.recall("mark") is None, at
    path.write_bytes(good + b"\0")
    assert cache.recall("mark") is None
    assert cache.remembered("mark", ("x",), lambda: {"x": np.zeros(2)})["x"].tolist() == [0, 0]
    assert cache.recall("mark")["x"].tolist() == [0, 0]


def test_rot_costs_a_reading_and_no_byte(tmp_path, reads):
    first = made(recipe(), tmp_path / "a")
    for path in entries(tmp_path):
        data = bytearray(path.read_bytes())
        data[-min(70, len(data))] ^= 1
        path.write_bytes(data)
    reads.clear()
    assert made(recipe(), tmp_path / "b") == first
    assert sorted(reads) == [0, 1]


def test_whatever_decides_a_case_is_in_its_name(tmp_path, monkeypatch):
    def marks(recipe):
        pipeline = Pipeline(recipe)
        reader = KeptCases(pipeline)
        return {reader._mark(spec.source, spec.case) for spec in specs(pipeline)}

    def phantom(uri="phantom:coronary", **options):
        return [{"uri": uri, "options": {"count": 1, **options}, "split": {"train": 1}}]

    seen = marks(recipe())
    assert len(seen) == 2  # of two trees, whatever the variant
    others = [recipe(seed=9), recipe(sources=phantom(voxel_mm=0.5)), recipe(sources=phantom("phantom:angiogram"))]
    others = [marks(other) for other in others]
    assert marks(recipe(shard={"samples": 3})) == seen  # what is made of it, it does not ask
    others += [marks(of_files(tmp_path / "a")), marks(of_files(tmp_path / "a", right=1))]
    monkeypatch.setattr(kept, "versions", lambda: {"numpy": "0"})
    others.append(marks(recipe()))
    monkeypatch.undo()
    monkeypatch.setattr(kept, "code", lambda kind: "edited")
    others.append(marks(recipe()))
    for other in others:
        assert not seen & other
        seen |= other


def test_a_file_replaced_during_a_run_is_noticed_though_its_case_is_kept(tmp_path):
    pipeline = Pipeline(of_files(tmp_path / "a"))
    spec = specs(pipeline)[0]
    reader = KeptCases(pipeline)
    first = reader.read(spec)
    assert _difference(reader.read(spec), first) == ""
    of_files(tmp_path / "a", right=1)
    with pytest.raises(Fault, match="is not what it was when the run began"):
        reader.read(spec)


def test_no_name_is_kept(tmp_path):
    pipeline = Pipeline(of_files(tmp_path / "a"))
    KeptCases(pipeline).read(specs(pipeline)[0])
    assert len(entries(tmp_path)) >= 2
    for path in (tmp_path / "cache").iterdir():
        assert NAME.encode() not in path.read_bytes() + path.name.encode()


@pytest.mark.parametrize("where", ["write", "pieces", "read"])
def test_a_cache_that_fails_costs_no_sample_and_is_told_once(tmp_path, monkeypatch, caplog, where):
    good = made(recipe(), tmp_path / "a")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if where == "read":  # as a folder that is not ours
        (tmp_path / "cache").chmod(0o777)
    else:
        monkeypatch.setattr(entry, where, full)
        for path in entries(tmp_path):
            path.unlink()
    with caplog.at_level(logging.WARNING, "lesionforge"):
        assert made(recipe(), tmp_path / "b") == good
    assert [r.getMessage() for r in caplog.records] == ["cache not used"]


def fill(n, size=10_000):
    """Entries of one kind each, as a worker of its own writes it."""
    cache._room.cache_clear()
    for k in n:
        cache.keep(str(k), {"x": np.full(size, k, np.uint8)})


def held(tmp_path):
    return sum(path.stat().st_size for path in (tmp_path / "cache").iterdir())


def test_room_is_bounded_and_what_was_used_last_stays(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.SIZE, "105 kB")
    for k in range(15):
        fill([k])
    assert held(tmp_path) <= 105_000
    assert [k for k in range(15) if cache.recall(str(k))] == list(range(10))  # a circle keeps what is there
    old = time.time() - cache.IDLE - 100
    for k in range(10):
        os.utime(tmp_path / "cache" / cache._name(str(k)), (old + k, old + k))
    cache.recall("0")
    fill([20])
    there = [k for k in range(21) if cache.recall(str(k))]
    assert {0, 9, 20} <= set(there)  # the longest unused are gone, some more than one needs
    assert 1 not in there
    assert held(tmp_path) <= 105_000
    fill([30], size=200_000)  # larger than all room: nothing goes for it
    assert [k for k in range(31) if cache.recall(str(k))] == there


def test_several_writers_stay_within_the_room(tmp_path, monkeypatch):
    """Each looks for itself, and now and then; together they go beyond by an entry each at most."""
    monkeypatch.setenv(cache.SIZE, "1 MB")
    (tmp_path / "cache").mkdir(mode=0o700)
    rooms = [cache._Room(tmp_path / "cache") for _ in range(8)]
    for k in range(400):
        monkeypatch.setattr(cache, "_room", lambda _, room=rooms[k % 8]: room)
        cache.keep(str(k), {"x": np.zeros(5000, np.uint8)})
    assert 0.9e6 < held(tmp_path) <= 1e6 + 8 * 5200


def test_other_files_in_the_folder_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.SIZE, "30 kB")
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "cache" / "thesis.npz").write_bytes(bytes(10**5))
    (tmp_path / "cache" / f"{'0' * 64}.npz").write_bytes(bytes(10**5))  # a version's before
    for path in (tmp_path / "cache").iterdir():
        os.utime(path, (1, 1))
    fill([1])
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".kept", ".npz"]
    assert (tmp_path / "cache" / "thesis.npz").exists()


def test_a_size_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv(cache.SIZE, "lots")
    with pytest.raises(UserError, match="LESIONFORGE_CACHE_SIZE=lots: not a size in bytes"):
        KeptCases(Pipeline(recipe()))


def _crowd(seed):
    """A process that fills the room and reads what others keep there; an exit code of 0 if all was well."""
    rng = np.random.default_rng(seed)
    cache._room.cache_clear()
    cache._tell = lambda why: os._exit(3)  # nothing may go wrong
    for k in map(int, rng.integers(0, 60, 150)):
        cache.keep(str(k), {"x": np.full(3000, k, np.uint8)})
        with contextlib.suppress(FileNotFoundError):  # the other's eviction
            os.utime(cache.usable() / cache._name(str(k)), (1, 1))
        other = int(rng.integers(0, 60))
        found = cache.recall(str(other))
        if found is not None and not (len(found["x"]) == 3000 and (found["x"] == other).all()):
            os._exit(2)
        if found is not None:
            with contextlib.suppress(FileNotFoundError):
                os.utime(cache.usable() / cache._name(str(other)), (1, 1))
    os._exit(0)


def test_two_processes_that_fill_one_room_lose_nothing(tmp_path, monkeypatch):
    """Each evicts what the other keeps and reads."""
    monkeypatch.setenv(cache.SIZE, "60 kB")  # of 60 entries it holds 19
    crowd = [multiprocessing.get_context("fork").Process(target=_crowd, args=(seed,)) for seed in (1, 2)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join(60)
    assert [process.exitcode for process in crowd] == [0, 0]
    assert 30_000 < held(tmp_path) <= 60_000 + 2 * 3200
    there = [k for k in range(60) if (found := cache.recall(str(k))) and (found["x"] == k).all()]
    assert len(there) == len(list((tmp_path / "cache").iterdir())) > 9  # whole entries alone, none half written
