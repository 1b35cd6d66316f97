import io
import resource
import tarfile
from collections import Counter

import pytest

from lesionforge.engine import dataset as document
from lesionforge.engine import driver
from lesionforge.engine.finalise import finalise, shortfall
from lesionforge.engine.messages import Event, Task
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.pool import InProcess
from lesionforge.engine.worker import Worker
from lesionforge.jobs.commands.again import moved
from lesionforge.jobs.commands.replay import replay
from lesionforge.jobs.commands.verify import verify
from lesionforge.sinks import dataset, layout
from lesionforge.sinks.store import Store
from tests.engine.conftest import shas, toy


def run(recipe, place):
    """The whole job in this process; returns the store and the outcome."""
    store = Store(str(place))
    job = Pipeline(recipe)
    doc = document.describe(job)
    document.claim(store, doc)
    outcome = driver.run(job, store, InProcess(recipe, store))
    finalise(store, doc)
    return store, outcome


def test_the_same_bytes_twice_and_for_any_batch(tmp_path):
    run(toy(), tmp_path / "a")
    run(toy(), tmp_path / "b")
    run(toy(resources__batch=5), tmp_path / "c")
    assert len(shas(tmp_path / "a")) == 3 * 6
    assert shas(tmp_path / "a") == shas(tmp_path / "b") == shas(tmp_path / "c")


def test_every_planned_sample_is_there_once(tmp_path):
    store, outcome = run(toy(), tmp_path)
    plan = Pipeline(toy()).plan
    rows = [row for _, rows in dataset.indexes(store, dataset.committed(store)) for row in rows]
    assert Counter(r.sample_id for r in rows) == Counter(plan[i].sample_id for i in range(len(plan)))
    assert outcome.samples == len(plan) == 40
    assert store.exists(layout.SUCCESS)
    assert verify(store).problems == []


def test_faults_are_quarantined_and_the_rest_is_made(tmp_path):
    bad = toy(
        sources__0__options={"count": 20, "unreadable": [4]},
        generator__params={"raise_at": ["train-0000-00000003"], "nan_at": ["train-0001-00000002"]},
    )
    store, outcome = run(bad, tmp_path)
    assert outcome.quarantined == 4  # the unreadable case stands in both variants
    totals = verify(store).totals
    assert totals.samples == 36
    kinds = Counter(reason.split(":")[0] for reason, count in totals.reasons for _ in range(count))
    assert kinds == {"source": 2, "error": 1, "output": 1}
    assert not store.exists(layout.SUCCESS)
    assert "quota not met: 36 of 40 samples, 4 quarantined" in verify(store).problems[0]
    # The good samples are those of a run without faults.
    run(toy(), tmp_path / "clean")
    good, clean = (members(tmp_path / p) for p in ("", "clean"))
    same = [name for name in good if "json" not in name]
    assert len(same) == 72
    assert all(good[name] == clean[name] for name in same)


def members(folder):
    out = {}
    for path in (folder / "shards").glob("*.tar"):
        with tarfile.open(path) as tar:
            out |= {m.name: tar.extractfile(m).read() for m in tar}
    return out


def test_a_tolerated_loss_is_a_success(tmp_path):
    recipe = toy(generator__params={"raise_at": ["train-0000-00000003"]}, quality__max_quarantined=0.05)
    store, _ = run(recipe, tmp_path)
    assert store.exists(layout.SUCCESS)
    assert verify(store).problems == []
    assert "1 of 40 planned are missing" in store.get(layout.CARD).decode()


def test_growing_appends_shards_and_touches_none(tmp_path):
    store, _ = run(toy(multiply=1), tmp_path)
    before = shas(tmp_path)
    run(toy(multiply=3), tmp_path)
    after = shas(tmp_path)
    assert {name: after[name] for name in before} == before
    assert len(after) == 3 * len(before)
    assert verify(store).problems == []
    with pytest.raises(document.DatasetError, match="holds x3; x2 is less"):
        run(toy(multiply=2), tmp_path)


def test_more_losses_may_be_accepted_and_sources_may_move(tmp_path):
    bad = {"generator__params": {"raise_at": ["train-0000-00000003"]}}
    store, _ = run(toy(**bad), tmp_path)
    assert not store.exists(layout.SUCCESS)
    before = shas(tmp_path)
    run(toy(**bad, quality__max_quarantined=0.1, sources__0__uri="tests.faulty.Toy:there"), tmp_path)
    assert store.exists(layout.SUCCESS)
    assert shas(tmp_path) == before
    assert verify(store).problems == []


def test_another_recipe_is_refused(tmp_path):
    run(toy(), tmp_path)
    with pytest.raises(document.DatasetError, match=r"holds dataset 'toy'.*differ in seed.*choose another --out"):
        run(toy(seed=2), tmp_path)


def test_a_committed_shard_is_left_alone(tmp_path):
    store, _ = run(toy(), tmp_path)
    before = shas(tmp_path)
    report = Worker(toy(), store).make(Task(0))
    assert (report.samples, report.quarantined) == (8, 0)
    assert shas(tmp_path) == before


def test_memory_that_runs_out_costs_the_greedy_sample_alone(tmp_path):
    """The bound holds in this very process, which goes on."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    greedy = toy(generator__params={"eat_at": ["train-0001-00000005"]}, resources__memory="300 MiB")
    store, outcome = run(greedy, tmp_path)
    assert (outcome.samples, outcome.quarantined) == (39, 1)
    (reason,) = [reason for reason, _ in verify(store).totals.reasons]
    assert reason == "memory: none left (resources.memory is 300 MiB)"
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    run(toy(), tmp_path / "clean")
    good, clean = (members(tmp_path / p) for p in ("", "clean"))
    assert all(good[name] == clean[name] for name in good if "json" not in name)


def test_replay_makes_the_same_bytes_and_notices_others(tmp_path):
    store, _ = run(toy(generator__params={"raise_at": ["train-0000-00000003"]}), tmp_path)
    assert replay(store, "train-0001-00000005", trust=True).identical
    lost = replay(store, "train-0000-00000003", trust=True)
    assert lost.identical
    assert lost.reason == lost.stored_reason
    path = tmp_path / "shards" / "train-000000.tar"
    data = bytearray(path.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(bytes(data))) as tar:
        member = tar.getmember("train-0000-00000000.noise.npy")
    data[member.offset_data + member.size - 1] ^= 1
    path.write_bytes(data)
    assert replay(store, "train-0000-00000000", trust=True).differing == ["noise.npy"]


def test_replay_refuses_other_sources(tmp_path):
    store, _ = run(toy(), tmp_path)
    raw = store.get(layout.RECIPE).replace(b'"fingerprint": "toy"', b'"fingerprint": "other"')
    store.put(layout.RECIPE, raw.replace(document.read(store).identity.encode(), b"0" * 64))
    with pytest.raises(document.DatasetError, match="the sources are not those"):
        replay(store, "train-0000-00000000", trust=True)


def test_replay_says_what_is_wrong_with_a_place_and_not_the_place(tmp_path):
    store, _ = run(toy(sources__0__options={"count": 1}, sources__0__split={"train": 1}, multiply=1), tmp_path)
    for places, says in (
        ({0: "/data/jane"}, r"^--source 0: source 0 is of kind tests.faulty.Toy: write .*0=tests.faulty.Toy:PLACE$"),
        ({1: "tests.faulty.Toy:jane"}, r"^--source 1: the dataset has source 0 alone$"),
    ):
        with pytest.raises(document.DatasetError, match=says):
            replay(store, "train-0000-00000000", places, trust=True)
    for typed in ("/data/jane", "a=/data/jane", "²=jane"):
        with pytest.raises(document.DatasetError, match=r"^--source: write it as N=URI") as error:
            moved([typed])
        assert "jane" not in str(error.value)


def flip(path, at=1000):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x55
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: flip(d / "shards/train-000001.tar"), "are not the"),
        (lambda d: (d / "shards/train-000001.tar").unlink(), "missing, though committed"),
        (lambda d: (d / "shards/train-000001.tar").write_bytes(b"x" * 9999), "its 9999 bytes are not the"),
        (lambda d: (d / "index/train-000001.parquet").unlink(), "not committed (its index is missing)"),
        (lambda d: (d / "index/train-000001.parquet").write_bytes(b"PAR1"), "no commit record"),
        (lambda d: (d / "index/train-000001.parquet").write_bytes((d / "index/train-000000.parquet").read_bytes()),
         "is about shard train-000000"),
        (lambda d: (d / "shards/train-000099.tar").write_bytes(b""), "a shard that the recipe does not plan"),
        (lambda d: (d / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda d: (d / "manifest.json").write_text(
            (d / "manifest.json").read_text().replace('"samples": 40', '"samples": 41')), "is 41, by the shards 40"),
        (lambda d: (d / "recipe.json").write_text(
            (d / "recipe.json").read_text().replace('"seed": 1', '"seed": 2')), "the recipe was edited"),
    ],
)  # fmt: skip
def test_verify_finds_it(tmp_path, spoil, words):
    store, _ = run(toy(), tmp_path)
    assert verify(store).problems == []
    spoil(tmp_path)
    assert any(words in problem for problem in verify(store).problems)


def test_indexes_are_rebuilt_from_the_tars(tmp_path):
    recipe = toy(generator__params={"raise_at": ["train-0000-00000003"]}, quality__max_quarantined=0.1)
    store, _ = run(recipe, tmp_path)
    before = {entry.name: store.get(entry.name) for entry in store.list("index") if entry.name.endswith("parquet")}
    for name in before:
        store.delete(name)
    verdict = verify(store, rebuild=True)
    assert all("unknown: the index was rebuilt" in line for line in verdict.problems)  # by manifest and card
    assert len(verdict.rebuilt) == 6
    after = {name: store.get(name) for name in before}
    differing = [name for name in before if after[name] != before[name]]
    assert differing == ["index/train-000000.parquet"]  # only the reason of the quarantined sample is lost
    assert dict(verdict.totals.reasons) == {"unknown: the index was rebuilt from the tar": 1}


def test_shortfall_says_what_is_missing(tmp_path):
    store, _ = run(toy(), tmp_path)
    assert shortfall(document.read(store), dataset.Totals(shards=4)) == "2 of 6 shards not made yet"


def test_a_place_without_a_dataset_is_named(tmp_path):
    with pytest.raises(document.DatasetError, match=r"holds no dataset: recipe\.json is missing"):
        verify(Store(str(tmp_path)))


def test_what_is_left_is_known_from_one_listing(tmp_path, monkeypatch):
    store, _ = run(toy(), tmp_path)
    store.delete(layout.index("train-000001"))
    job, asked = Pipeline(toy()), []
    monkeypatch.setattr(Store, "get", lambda _, path: pytest.fail(f"{path} is read"))
    there = list(driver.committed(job, store))
    assert len(there) == job.plan.shards - 1
    monkeypatch.setattr(Store, "list", lambda *_: pytest.fail("listed again"))

    class Asked(InProcess):
        def wait(self, timeout):
            asked.append(self._tasks.popleft())
            return [Event(asked[-1], error=ValueError("not made"))]

    outcome = driver.run(job, store, Asked(toy(), store), existing=there)
    assert [job.plan.shard(task.shard).name for task in asked] == ["train-000001"]
    assert outcome.failed == {"train-000001": "ValueError: not made"}
