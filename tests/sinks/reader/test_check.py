"""A reader that checks: a bit that flipped since the commit is one line, not a sample."""

import pickle

import pytest

from lesionforge.sinks import layout
from lesionforge.sinks.reader import Reader, Samples
from lesionforge.sinks.store import Store, StoreError
from tests.sinks import stenoses

FLIPPED = "train-000001"


@pytest.fixture(params=["disk", "memory"])
def store(request, tmp_path):
    """A dataset, a bit of whose second shard has flipped."""
    out = Store(str(tmp_path / "made") if request.param == "disk" else f"memory://{tmp_path.name}")
    stenoses.write(out, 9)
    data = bytearray(out.get(layout.tar(FLIPPED)))
    data[len(data) // 2] ^= 1
    out.put(layout.tar(FLIPPED), data)
    return out


def test_a_flipped_bit_is_one_line_that_names_the_shard_and_the_fix(store):
    samples = Samples(store, decoded=False, check=True)
    there = samples.column("split")  # the index alone
    for reader in (samples, pickle.loads(pickle.dumps(samples))):
        read = [s["__key__"] for s in reader.read(range(5))]
        assert read == samples.keys[:5]
        with pytest.raises(
            StoreError, match=rf"{FLIPPED}\.tar is not what was committed .* verify .* --repair"
        ) as told:
            list(reader.read(range(len(there))))
        assert "\n" not in str(told.value)
    with pytest.raises(StoreError, match=FLIPPED):
        list(Reader(samples, batch=2, threads=2))


def test_without_it_nothing_is_read_but_what_is_asked_for(store):
    assert len(list(Samples(store, decoded=False).read(range(9)))) == 9


def test_each_shard_is_read_as_a_whole_once(store, monkeypatch):
    samples, whole, get = Samples(store, decoded=False, check=True), [], Store.get

    def counted(self, path):
        whole.append(path)
        return get(self, path)

    monkeypatch.setattr(Store, "get", counted)
    first = [dict(sample) for sample in samples.read([0, 1])]
    assert [dict(sample) for sample in samples.read([0, 1])] == first
    assert whole == ([] if store.is_local else [layout.tar("train-000000")])
