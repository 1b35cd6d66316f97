"""The end believes no name and no count: what is not whole is made again, what is another's is refused."""

import json
from dataclasses import replace

import pytest
from braceexpand import braceexpand

from lesionforge.engine import dataset as document
from lesionforge.engine import driver, finalise
from lesionforge.engine.dataset import DatasetError
from lesionforge.engine.messages import Event, Task
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.pool import InProcess
from lesionforge.engine.worker import Worker
from lesionforge.jobs.commands import status
from lesionforge.jobs.commands.generate import generate
from lesionforge.jobs.commands.verify import verify
from lesionforge.sinks import dataset, index, layout, manifest
from lesionforge.sinks import gc as leftovers
from lesionforge.sinks.commit import ForeignShard, commit
from lesionforge.sinks.listing import Listing
from lesionforge.sinks.store import Store
from tests.engine.conftest import shas, toy

SHARD = "train-000001"


def made(place, **changes):
    return generate(toy(**changes), place, in_process=True)


def state(place) -> str:
    return str(status.Progress(str(place)).look()["state"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Hashes of an undisturbed dataset's shards, indexes and DALI indexes."""
    place = tmp_path_factory.mktemp("whole")
    assert made(place).short == ""
    return shas(place)


def other_size(folder):
    path = folder / layout.tar(SHARD)
    path.write_bytes(path.read_bytes()[:-1024])


def other_counts(folder):
    """A record that claims to be of fewer samples than are planned."""
    path = folder / layout.index(SHARD)
    record, rows = index.read(path.read_bytes())
    path.write_bytes(index.write(rows[:-1], replace(record, samples=record.samples - 1)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / layout.tar(SHARD)).unlink(),
        lambda folder: (folder / layout.index(SHARD)).unlink(),
        lambda folder: (folder / layout.dali(SHARD)).unlink(),
        other_size,
        other_counts,
    ],
    ids=["tar gone", "index gone", "DALI's index gone", "tar of another size", "record of fewer samples"],
)
def test_what_was_lost_after_the_commit_is_made_again(tmp_path, whole, spoil):
    made(tmp_path)
    spoil(tmp_path)
    result = made(tmp_path)
    assert result.short == ""
    assert shas(tmp_path) == whole
    assert state(tmp_path) == "complete"
    assert verify(str(tmp_path)).problems == []


@pytest.mark.parametrize("spoil", [lambda folder: (folder / layout.tar(SHARD)).unlink(), other_size])
def test_a_finished_dataset_that_lost_a_tar_is_not_called_complete(tmp_path, spoil):
    made(tmp_path)
    assert state(tmp_path) == "complete"
    spoil(tmp_path)
    assert (tmp_path / layout.SUCCESS).exists()
    assert state(tmp_path) == "incomplete"


def test_success_vouches_for_the_manifest_that_is_there(tmp_path):
    made(tmp_path)
    path = tmp_path / layout.MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"samples": 40', b'"samples": 41'))
    assert state(tmp_path) == "incomplete"
    made(tmp_path)
    assert state(tmp_path) == "complete"


def test_what_is_lost_while_the_end_is_written_is_no_success(tmp_path, monkeypatch):
    """Also the case of a run that slept between tar and index while gc ran: the look at the end finds it."""
    store, put = Store(str(tmp_path)), Store.put

    def lose(self, path, data):
        put(self, path, data)
        if path == layout.MANIFEST and not lost:
            lost.append(path)
            self.delete(layout.tar(SHARD))

    lost: list[str] = []
    monkeypatch.setattr(Store, "put", lose)
    assert made(tmp_path).short == ""  # made again in the next round
    assert lost
    assert store.exists(layout.tar(SHARD))
    assert verify(store).problems == []


def test_shards_of_another_seed_are_refused_in_one_line(tmp_path):
    made(tmp_path)
    (tmp_path / layout.SUCCESS).unlink()
    other = document.describe(Pipeline(toy(seed=2)))
    (tmp_path / layout.RECIPE).write_bytes(other.to_bytes())
    with pytest.raises(ForeignShard, match=r"train-000000\.parquet belongs to recipe .*choose another output place"):
        made(tmp_path, seed=2)
    assert not (tmp_path / layout.SUCCESS).exists()
    with pytest.raises(ForeignShard):
        finalise.finalise(Store(str(tmp_path)), other)
    assert state(tmp_path) == "incomplete"


def test_one_shard_of_another_identity_is_never_a_success(tmp_path):
    made(tmp_path)
    made(tmp_path.parent / "other", seed=2)
    for path in (layout.tar("val-000001"), layout.index("val-000001")):
        (tmp_path / path).write_bytes((tmp_path.parent / "other" / path).read_bytes())
    with pytest.raises(ForeignShard, match=r"val-000001\.parquet belongs to recipe"):
        made(tmp_path)
    assert state(tmp_path) == "incomplete"


@pytest.mark.parametrize("name", ["shards/train-000099.tar", "shards/mine.tar", "index/train-000099.parquet"])
def test_a_name_that_the_plan_has_not_is_never_a_success(tmp_path, name):
    made(tmp_path)
    (tmp_path / name).write_bytes(b"foreign")
    result = made(tmp_path)
    assert f"does not plan: '{name}'" in result.short
    assert not (tmp_path / layout.SUCCESS).exists()
    assert state(tmp_path) == "incomplete"
    (tmp_path / name).unlink()
    assert made(tmp_path).short == ""


class Failing(InProcess):
    """One shard cannot be made."""

    def submit(self, task):
        self.name = self.plan.shard(task.shard).name
        super().submit(task)

    def wait(self, timeout):
        if self.name == SHARD:
            return [Event(self._tasks.popleft(), error=ValueError("not made"))]
        return super().wait(timeout)


def test_with_a_failed_shard_the_pattern_names_the_others(tmp_path):
    recipe, store = toy(), Store(str(tmp_path))
    job = Pipeline(recipe)
    document.claim(store, document.describe(job))
    pool = Failing(recipe, store)
    pool.plan = job.plan
    driver.run(job, store, pool)
    store.put(layout.tar(SHARD), b"of an attempt that died")
    ending = finalise.finalise(store, document.read(store))
    assert ending.problem == "1 of 6 shards not made yet"
    urls = {url for split in ending.manifest["splits"].values() for url in braceexpand(split["urls"])}
    assert urls == {layout.tar(name) for name in dataset.committed(store)}
    assert layout.tar(SHARD) not in urls
    assert len(urls) == 5


def test_a_run_that_ends_while_a_larger_one_is_at_work_calls_nothing_complete(tmp_path):
    """x3 begins while x1 ends, and is killed after its first shard."""
    store = Store(str(tmp_path))
    small = document.describe(Pipeline(toy(multiply=1)))
    document.claim(store, small)
    driver.run(Pipeline(toy(multiply=1)), store, InProcess(toy(multiply=1), store))
    document.claim(store, document.describe(Pipeline(toy(multiply=3))))
    Worker(toy(multiply=3), store).make(Task(5))
    ending = finalise.finalise(store, small)
    assert ending.problem == "5 of 9 shards not made yet"
    assert not store.exists(layout.SUCCESS)
    assert state(tmp_path) == "incomplete"
    assert made(tmp_path, multiply=3).short == ""
    assert verify(store).problems == []


def test_a_larger_run_that_begins_while_the_success_is_written_takes_it_away(tmp_path, monkeypatch):
    store, put = Store(str(tmp_path)), Store.put
    large = document.describe(Pipeline(toy(multiply=3)))

    def grow(self, path, data):
        if path == layout.SUCCESS and self.get(layout.RECIPE) != large.to_bytes():
            document.claim(store, large)
        put(self, path, data)

    monkeypatch.setattr(Store, "put", grow)
    assert made(tmp_path, multiply=1).short == "6 of 9 shards not made yet"
    assert not store.exists(layout.SUCCESS)
    assert json.loads(store.get(layout.MANIFEST))["planned"]["shards"] == 9


def test_of_two_runs_that_grow_a_dataset_at_once_the_larger_stands(tmp_path):
    """x2 overwrites what x3 has just written; x3 finds it at its end, x2 that there is more than it planned."""
    made(tmp_path, multiply=1)
    store = Store(str(tmp_path))
    small, large = (document.describe(Pipeline(toy(multiply=n))) for n in (2, 3))
    for n in (3, 2):
        driver.run(Pipeline(toy(multiply=n)), store, InProcess(toy(multiply=n), store))
    document.claim(store, small)
    assert "(x2) does not plan" in finalise.finalise(store, small).problem
    assert state(tmp_path) == "incomplete"
    assert finalise.finalise(store, large).problem == ""
    assert state(tmp_path) == "complete"
    assert document.read(store).recipe.multiply == 3
    with pytest.raises(DatasetError, match="holds x3; x2 is less: a dataset only grows"):
        made(tmp_path, multiply=2)
    assert state(tmp_path) == "complete"


def test_a_place_taken_by_another_recipe_meanwhile_is_not_finished(tmp_path):
    made(tmp_path)
    own = document.read(Store(str(tmp_path)))
    (tmp_path / layout.RECIPE).write_bytes(document.describe(Pipeline(toy(seed=2))).to_bytes())
    with pytest.raises(DatasetError, match="something else was put into this place while a run was at work"):
        finalise.finalise(Store(str(tmp_path)), own)


def test_a_worker_that_slept_while_gc_took_its_tar_commits_it_all_the_same(tmp_path, whole, monkeypatch):
    """Suspended between tar and index, gc, woken: what is committed has a tar."""
    store, put_new = Store(str(tmp_path)), Store.put_new
    document.claim(store, document.describe(Pipeline(toy())))

    def sleep(self, path, data):
        if path == layout.index(SHARD) and not slept:
            slept.append(path)
            removed = leftovers.collect(Store(str(tmp_path)), young=0).removed
            assert layout.tar(SHARD) in {entry.name for entry in removed}
        return put_new(self, path, data)

    slept: list[str] = []
    monkeypatch.setattr(Store, "put_new", sleep)
    Worker(toy(), store).make(Task(1))
    assert slept
    assert store.exists(layout.tar(SHARD))
    monkeypatch.undo()
    assert made(tmp_path).short == ""
    assert shas(tmp_path) == whole


def test_the_end_reads_the_footers_and_the_rows_of_the_samples_shown_alone(tmp_path, monkeypatch):
    result = made(tmp_path)
    read: list[str] = []
    told, ranged = index.read, Store.get_range
    monkeypatch.setattr(dataset.index, "read", lambda data: read.append("rows") or told(data))
    spans: list[int] = []
    monkeypatch.setattr(Store, "get_range", lambda self, path, at, n: spans.append(n) or ranged(self, path, at, n))
    monkeypatch.setattr(finalise, "SHOWN", 1)
    assert finalise.finalise(Store(str(tmp_path)), document.read(Store(str(tmp_path)))).manifest == result.manifest
    assert len(read) == 2  # a sample of either split
    assert max(spans) <= dataset.TAIL


def test_the_manifest_in_parts_is_that_of_one_part(tmp_path, monkeypatch):
    made(tmp_path)
    before = list(manifest.shards(Store(str(tmp_path))))
    monkeypatch.setattr(manifest, "PART", 4)
    made(tmp_path)
    assert [part["shards"] for part in json.loads((tmp_path / layout.MANIFEST).read_bytes())["parts"]] == [4, 2]
    assert list(manifest.shards(Store(str(tmp_path)))) == before
    assert state(tmp_path) == "complete"
    monkeypatch.undo()
    made(tmp_path)
    assert len(Store(str(tmp_path)).list(layout.PARTS)) == 1


def test_a_commit_whose_index_came_from_a_writer_with_another_tar_is_made_anew(tmp_path):
    """The other's tar was collected before its index was there; this one's tar and record must agree."""
    from tests.sinks.samples import RECIPE, VERSION, packed, record_of

    store = Store(str(tmp_path))
    theirs, their_rows = packed(pixels=1)
    store.put_new(layout.index(SHARD), index.write(their_rows, replace(record_of(theirs, their_rows), shard=SHARD)))
    body, rows = packed()
    record = commit(store, SHARD, RECIPE, VERSION, rows, body)
    assert index.sha256(store.get(layout.tar(SHARD))) == record.tar_sha256
    assert index.read(store.get(layout.index(SHARD))) == (record, rows)


def test_success_is_written_last_and_not_where_the_place_never_rests(tmp_path, monkeypatch):
    made(tmp_path)
    store, put, listed, paths = Store(str(tmp_path)), Store.put, finalise.look, list[str]()
    monkeypatch.setattr(Store, "put", lambda self, path, data: paths.append(path) or put(self, path, data))
    assert finalise.finalise(store, document.read(store)).problem == ""
    assert paths[-2:] == [layout.MANIFEST, layout.SUCCESS]

    class Restless(Listing):
        """Something else each time."""

        def __eq__(self, other):
            return False

    monkeypatch.setattr(finalise, "look", lambda *args: Restless(**vars(listed(*args))))
    assert "other runs or gc are at work in this place" in finalise.finalise(store, document.read(store)).problem
    assert not store.exists(layout.SUCCESS)
