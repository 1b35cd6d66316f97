"""The stream: nothing lost, nothing twice, the same order whoever reads, exact resume."""

import itertools
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lesionforge.generators.types import UserError
from lesionforge.sinks.reader import Reader, Samples, loader
from lesionforge.sinks.reader.prefetch import ahead
from lesionforge.sinks.store import Store
from tests.sinks import stenoses

LOST = {1, 8}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    out = Store(str(tmp_path_factory.mktemp("reader")))
    stenoses.write(out, 50, lost=LOST)
    stenoses.write(out, 5, "val", first=100)
    return out


@pytest.fixture(scope="module")
def train(place):
    return Samples(place, split="train", members=["json"])


@pytest.fixture(scope="module")
def made():
    store = Store(f"memory://{uuid.uuid4().hex}")
    stenoses.write(store, 120, first=1000)
    return Samples(store, members=["json"])


def keys(batches):
    return [sample["__key__"] for batch in batches for sample in (batch if isinstance(batch, list) else [batch])]


def test_an_epoch_is_every_sample_once_and_the_next_another_order(train):
    reader = Reader(train, seed=3)
    first, second = keys(reader), keys(reader)
    assert sorted(first) == sorted(second) == sorted(train.keys)
    assert first != second
    assert reader.state()["epoch"] == 2
    assert keys(Reader(train, seed=3)) == first != keys(Reader(train, seed=4))
    assert keys(Reader(train, shuffle=False)) == train.keys


def test_order_does_not_depend_on_threads_or_batches(train):
    expected = keys(Reader(train))
    for threads, batch, budget in ((0, None, 1), (3, 7, 1), (8, 50, 1 << 30)):
        assert keys(Reader(train, threads=threads, batch=batch, ahead=budget)) == expected


@pytest.mark.parametrize("drop_last", [False, True])
def test_ranks_share_an_epoch(train, drop_last):
    readers = [Reader(train, batch=5, rank=rank, ranks=3, drop_last=drop_last) for rank in range(3)]
    batches = [list(reader) for reader in readers]
    taken = [key for rank in batches for key in keys(rank)]
    assert len(set(taken)) == len(taken) == (45 if drop_last else 48)
    assert [len(rank) for rank in batches] == [len(reader) for reader in readers] == [3 if drop_last else 4] * 3
    together = keys(itertools.chain.from_iterable(itertools.zip_longest(*batches, fillvalue=[])))
    assert together[:45] == keys(Reader(train))[:45]  # whatever the number of ranks


@pytest.mark.parametrize("threads", [0, 3])
def test_resume_goes_on_at_the_very_sample(train, threads):
    whole = Reader(train, batch=4, seed=9, threads=threads)
    expected = keys(whole) + keys(whole)
    for stop in (0, 1, 5, 12, 13):
        reader = Reader(train, batch=4, seed=9, threads=threads)
        seen = keys(itertools.islice(reader, stop))
        state = reader.state()
        assert all(type(value) is int for value in state.values())
        other = Reader(train, batch=3)  # another batch, another seed: the state tells
        other.resume(state)
        while other.epoch < 2:
            seen += keys(other)
        assert seen == expected


def test_resume_with_another_number_of_ranks_loses_nothing(train):
    readers = [Reader(train, batch=4, rank=rank, ranks=4) for rank in range(4)]
    seen = [key for reader in readers for key in keys(itertools.islice(reader, 2))]
    (state,) = {tuple(reader.state().items()) for reader in readers}
    for rank in range(3):
        reader = Reader(train, batch=4, rank=rank, ranks=3)
        reader.resume(dict(state))
        seen += keys(reader)
    assert sorted(seen) == sorted(train.keys)


def test_resume_refuses_another_dataset(train, made):
    state = Reader(train).state()
    for other in (Reader(made), Reader([train, made]), Reader(train, stratify="target"), Reader(train, length=10)):
        with pytest.raises(ValueError, match="belongs to other samples"):
            other.resume(state)


def test_datasets_mix_at_a_ratio_in_every_stretch(train, made):
    reader = Reader([train, made], shares=[1, 1], batch=10)
    batches = list(reader)
    seen = [Counter(sample["__dataset__"] for sample in batch) for batch in batches]
    assert all(4 <= counts[0] <= 6 for counts in seen)
    assert sum(seen, Counter()) == {0: 120, 1: 120}
    per_key = Counter(keys(batches)[: reader.length])
    repeats = Counter(key for batch in batches for key in keys([batch]) if key in set(train.keys))
    assert set(repeats.values()) == {2, 3}  # 48 real samples for 120 places
    assert all(per_key[key] == 1 for key in made.keys)
    for batch in batches:
        for sample in batch:
            assert (sample["json"]["case"] >= 1000) == (sample["__dataset__"] == 1)


def test_strata_are_balanced_in_every_batch(train):
    batches = list(Reader(train, stratify="target", balance={"mild": 1, "moderate": 1, "severe": 2}, batch=8))
    for batch in batches[:-1]:
        counts = Counter(sample["json"]["target"] for sample in batch)
        assert abs(counts["severe"] - 4) <= 1
        assert abs(counts["mild"] - 2) <= 1
    natural = Reader(train, stratify="labels.side", batch=12)
    assert sorted(keys(natural)) == sorted(train.keys)
    assert {len(batch) for batch in itertools.islice(natural, 4)} == {12}
    with pytest.raises(ValueError, match="no weight for target moderate, severe; 0 leaves it out"):
        Reader(train, stratify="target", balance={"mild": 1})
    mild = Reader(train, stratify="target", balance={"mild": 1, "moderate": 0, "severe": 0})
    assert {sample["json"]["target"] for sample in mild} == {"mild"}


def test_transforms_draw_the_same_numbers_whoever_reads(train):
    def draw(sample, rng):
        return sample["__key__"], int(rng.integers(1 << 60))

    drawn = list(Reader(train, transform=draw, threads=2))
    assert len({number for _, number in drawn}) == len(drawn)
    ranks = [list(Reader(train, transform=draw, rank=rank, ranks=2, threads=0)) for rank in range(2)]
    assert sorted(drawn) == sorted(ranks[0] + ranks[1])
    late = Reader(train, transform=draw)
    list(itertools.islice(late, 30))
    other = Reader(train, transform=draw)
    other.resume(late.state())
    assert list(other) == drawn[30:]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rank": 2, "ranks": 2}, "rank is 2: give an integer of 0 to 1"),
        ({"batch": 0}, "batch is 0"),
        ({"batch": 2.5}, "batch is 2.5"),
        ({"seed": -1}, "seed is -1"),
        ({"threads": "2"}, "threads is '2'"),
        ({"shares": [1, 1]}, "one weight for each of 1"),
        ({"shares": 1}, "shares is 1: give a list"),
        ({"shares": "1"}, "shares is '1': give a list"),
        ({"shares": [-1]}, "at least 0"),
        ({"shares": ["much"]}, r"shares\[0\] is 'much'"),
        ({"shares": [0]}, "leave nothing"),
        ({"balance": {"mild": 1}}, "needs stratify"),
        ({"balance": "mild", "stratify": "target"}, "balance is 'mild'"),
        ({"stratify": "labels.lesions"}, "values are lists"),
        ({"stratify": 3}, "no column 3"),
        ({"shuffle": False, "length": 3}, "need shuffle=True"),
        ({"batch": 40, "ranks": 2, "drop_last": True}, "drop_last leaves nothing of 48"),
        ({"transform": "flip"}, "transform is 'flip'"),
    ],
)
def test_options_that_make_no_sense_are_refused(train, options, says):
    with pytest.raises(UserError, match=says):
        Reader(train, **options)


@pytest.mark.parametrize("datasets", ["drawn", None, [], ["drawn"], Path("drawn")])
def test_what_is_no_dataset_is_refused(datasets):
    with pytest.raises(UserError, match=r"^datasets is .*Samples\(PLACE\)"):
        Reader(datasets)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"position": 48}, r"state\['position'\] is 48: give an integer of 0 to 47"),
        ({"position": -1}, "position"),
        ({"position": 1.5}, "position"),
        ({"epoch": None}, r"state\['epoch'\] is None"),
        ({"seed": 2**64}, "seed"),
        ({"lesions": 3}, r"give what Reader.state\(\) returned, seed, epoch, position, data"),
    ],
)
def test_a_state_that_is_none_is_refused_and_changes_nothing(train, change, says):
    reader = Reader(train)
    before = reader.state()
    with pytest.raises(UserError, match=says):
        reader.resume({**before, **change})
    for junk in ({}, [1], None, "state"):
        with pytest.raises(UserError, match="state is"):
            reader.resume(junk)
    assert reader.state() == before


def test_an_error_comes_out_at_its_place_and_threads_end(train):
    def fail(sample, rng):
        if sample["__key__"] == bad:
            raise RuntimeError("no such contrast")
        return sample["__key__"]

    bad = keys(Reader(train))[20]
    before = threading.active_count()
    seen = list[str]()
    with pytest.raises(RuntimeError, match="no such contrast"):
        seen.extend(Reader(train, transform=fail, threads=4))
    reader = Reader(train, threads=4)
    next(iter(reader))
    _wait(lambda: threading.active_count() <= before)
    assert bad not in seen


def test_a_slow_store_is_asked_many_things_at_once():
    class Slow(Store):
        under_way, most = 0, 0
        lock = threading.Lock()

        def get_range(self, path, offset, size):
            with self.lock:
                Slow.under_way += 1
                Slow.most = max(Slow.most, Slow.under_way)
            time.sleep(0.01)
            with self.lock:
                Slow.under_way -= 1
            return super().get_range(path, offset, size)

    store = Slow(f"memory://{uuid.uuid4().hex}")
    stenoses.write(store, 200, shard=40)
    samples = Samples(store, members=["image.png", "mask.png"])
    Slow.most = 0
    assert len(keys(Reader(samples, batch=50))) == 200
    assert 8 <= Slow.most <= 16
    Slow.most = 0
    keys(Reader(samples, ahead=int(samples.sizes(np.arange(200)).mean() * 32)))  # budget of two pieces
    assert 1 <= Slow.most <= 3


def _wait(true):
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_work_ahead_is_bounded_and_in_order():
    running, most, costs = [0], [0], [30, 70, 10, 90, 100, 250, 5, 5, 5]
    lock = threading.Lock()

    def work(cost):
        with lock:
            running[0] += cost
            most[0] = max(most[0], running[0])
        time.sleep(0.002)
        return cost

    out = []
    for cost in ahead(work, ((cost, cost) for cost in costs * 5), threads=6, budget=100):
        with lock:
            running[0] -= cost
        out.append(cost)
    assert out == costs * 5
    assert 100 <= most[0] <= 250 + 100  # what was just handed over no longer counts for the pool


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_torch_workers_read_the_same_batches(train, workers):
    pytest.importorskip("torch")
    expected = [keys([batch]) for batch in Reader(train, batch=5, rank=1, ranks=2)]
    reader = Reader(train, batch=5, rank=1, ranks=2)
    stream = loader(reader, workers=workers)
    assert len(stream) == len(expected)
    assert [keys([batch]) for batch in stream] == expected
    assert reader.state()["epoch"] == 1
    batch = list(itertools.islice(loader(reader, workers=workers), 3))[-1]
    other = Reader(train, batch=5, rank=1, ranks=2)
    other.resume(reader.state())
    again = Reader(train, batch=5, rank=1, ranks=2)
    again.epoch = 1
    assert keys([batch]) + keys(other) == keys(itertools.islice(again, 2, None))


def test_the_loader_refuses_what_is_the_reader_s(train):
    pytest.importorskip("torch")
    with pytest.raises(UserError, match=r"^reader is <Samples of .*: give a Reader"):
        loader(train)
    with pytest.raises(UserError, match="batch_size=8: that is the Reader's"):
        loader(Reader(train), batch_size=8)
    with pytest.raises(UserError, match="does not take colate_fn"):
        loader(Reader(train), colate_fn=list)
    with pytest.raises(UserError, match="workers is -1"):
        loader(Reader(train), workers=-1)


def test_torch_takes_it_for_an_iterable_dataset(train):
    data = pytest.importorskip("torch.utils.data")
    list(loader(Reader(train), workers=0))
    stream = data.DataLoader(Reader(train, batch=6), batch_size=None, num_workers=2, collate_fn=list)
    assert keys(stream) == keys(Reader(train, batch=6))


def test_torch_workers_read_a_bucket(moto_env, monkeypatch):
    """Forked after this process has its own connection."""
    pytest.importorskip("torch")
    for name, value in moto_env.items():
        monkeypatch.setenv(name, value)
    store = Store(f"s3://lesionforge/{uuid.uuid4().hex}")
    stenoses.write(store, 20)
    samples = Samples(store, members=["image.png"])
    assert sorted(keys(Reader(samples, batch=4))) == samples.keys
    assert keys(loader(Reader(samples, batch=4), workers=2)) == keys(Reader(samples, batch=4))


def test_images_come_through_as_they_were(place):
    for batch in Reader(Samples(place, split="train", members=["image.png", "json"]), batch=6, threads=2):
        for sample in batch:
            assert np.array_equal(sample["image.png"], stenoses.fields(sample["json"]["case"])["image.png"])


def test_importing_the_reader_imports_no_torch():
    import subprocess
    import sys

    code = "import sys; import lesionforge.sinks.reader; assert 'torch' not in sys.modules and 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
