"""Everything that describes a dataset is held against its shards, and what is known of a shard is never outvoted."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lesionforge.jobs.commands.generate import generate
from lesionforge.jobs.commands.repair import repair
from lesionforge.jobs.commands.verify import verify
from lesionforge.jobs.commands.verify_shard import contents
from lesionforge.sinks import index, layout
from lesionforge.sinks.encode import encode
from tests.engine.conftest import everything, toy
from tests.sinks.samples import RECIPE, meta, name_of, packed, whole

SHARD = "train-000001"


@pytest.fixture(scope="module")
def twin(tmp_path_factory) -> Path:
    """An undisturbed dataset."""
    place = tmp_path_factory.mktemp("twin")
    assert generate(toy(), place, in_process=True).short == ""
    return place


@pytest.fixture
def place(twin, tmp_path) -> Path:
    """A copy to spoil."""
    shutil.copytree(twin, tmp_path / "out")
    return tmp_path / "out"


def edit(path: str, change) -> object:
    """What changes a JSON file."""

    def spoil(place):
        body = json.loads((place / path).read_text())
        change(body)
        (place / path).write_text(json.dumps(body))

    return spoil


def flip(path: str, at: int = 700) -> object:
    """What flips a bit of a file."""

    def spoil(place):
        data = bytearray((place / path).read_bytes())
        data[at] ^= 1
        (place / path).write_bytes(data)

    return spoil


def unlink(*paths: str) -> object:
    return lambda place: [(place / path).unlink() for path in paths]


def both(*spoils) -> object:
    return lambda place: [spoil(place) for spoil in spoils]


def zeroed(body):
    for shard in body["shards"]:
        shard["sha256"] = "0" * 64


DERIVED = {
    "zeroed hashes": (edit(layout.part(0), zeroed), "manifest/00000.json: shards.0.sha256 is '000"),
    "sizes": (edit(layout.part(0), lambda body: body["shards"][1].update(bytes=1)), "shards.1.bytes is 1, by the"),
    "urls": (edit(layout.MANIFEST, lambda body: body["splits"]["val"].update(urls="x")), "splits.val.urls is 'x'"),
    "counts": (edit(layout.MANIFEST, lambda body: body.update(samples=41)), "manifest.json: samples is 41, by the"),
    "classes": (edit(layout.MANIFEST, lambda body: body["splits"]["train"]["classes"].pop("mild")), "mild is missing"),
    "no manifest": (unlink(layout.MANIFEST), "manifest.json is missing"),
    "no JSON": (lambda place: (place / layout.MANIFEST).write_text("{"), "manifest.json: it is no JSON"),
    "no part": (unlink(layout.part(0)), "manifest/00000.json: missing"),
    "an old part": (lambda place: (place / layout.part(7)).write_text("{}"), "manifest/00007.json': describes nothing"),
    "empty wids": (edit(layout.WIDS, lambda body: body.update(shardlist=[])), "wids.json: shardlist.0 is missing"),
    "no wids": (unlink(layout.WIDS), "wids.json: missing"),
    "wrong DALI": (lambda place: (place / layout.dali(SHARD)).write_text("v1.2 0\n"), f"dali/{SHARD}.idx: is not that"),
    "no DALI": (unlink(layout.dali(SHARD)), f"dali/{SHARD}.idx: missing"),
    "DALI of none": (
        lambda place: (place / layout.dali("test-000000")).write_text("v1.2 0\n"),
        "test-000000.idx': desc",
    ),
    "card": (
        lambda place: (place / layout.CARD).write_text((place / layout.CARD).read_text().replace("40 syn", "400 syn")),
        "README.md: lacks the line '40 synthetic samples in 6 shards",
    ),
    "no sheet": (unlink(layout.sheet("val")), "pictures/val.png: missing"),
    "a sheet of none": (
        lambda place: (place / layout.sheet("test")).write_bytes(b"x"),
        "pictures/test.png': describes",
    ),
    "no picture": (lambda place: (place / layout.sheet("val")).write_bytes(b"x"), "val.png: it is no picture"),
    "success of another": (lambda place: (place / layout.SUCCESS).write_text("0"), "_SUCCESS: vouches for another"),
    "no success": (unlink(layout.SUCCESS), "_SUCCESS: missing"),
}


@pytest.mark.parametrize(("spoil", "words"), DERIVED.values(), ids=DERIVED.keys())
def test_a_derived_file_that_is_missing_extra_or_false_is_named_with_the_fix(place, spoil, words):
    spoil(place)
    problems = verify(place).problems
    assert any(words in problem and "verify --repair" in problem for problem in problems), problems


def test_derived_files_are_made_anew_byte_by_byte(twin, place):
    names = ("zeroed hashes", "urls", "an old part", "empty wids", "wrong DALI", "DALI of none", "card", "no sheet")
    for name in (*names, "a sheet of none", "no success"):
        DERIVED[name][0](place)
    verdict = repair(place, in_process=True, trust=True)
    assert verdict.problems == []
    assert any("manifest/00000.json" in line for line in verdict.repaired)
    assert everything(place) == everything(twin)


def test_what_a_person_writes_into_the_card_is_no_fault(place):
    with (place / layout.CARD).open("a") as card:
        card.write("\nOurs, for the talk of May.\n")
    assert verify(place).problems == []


BAD = {
    "flipped bit": flip(layout.tar(SHARD)),
    "tar gone": unlink(layout.tar(SHARD)),
    "tar and index gone": unlink(layout.tar(SHARD), layout.index(SHARD)),
    "flipped bit and lost index": both(flip(layout.tar(SHARD)), unlink(layout.index(SHARD))),
    "flipped bit and broken index": both(flip(layout.tar(SHARD)), flip(layout.index(SHARD), 10)),
    "lost index and no known hash": both(unlink(layout.index(SHARD)), edit(layout.part(0), zeroed)),
    "flipped bit and no manifest": both(flip(layout.tar(SHARD)), unlink(layout.MANIFEST)),
    "tar of another shard": lambda place: shutil.copy(place / layout.tar("train-000000"), place / layout.tar(SHARD)),
}


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD.keys())
def test_bytes_that_are_not_those_known_are_never_believed(place, spoil):
    spoil(place)
    verdict = verify(place, rebuild=True)
    assert any(layout.tar(SHARD) in problem and "makes it again" in problem for problem in verdict.problems)
    assert verdict.rebuilt == []


def test_shards_that_are_missing_or_bad_are_made_again_byte_by_byte(twin, place):
    flip(layout.tar("val-000000"))(place)
    unlink(layout.tar(SHARD), layout.index("train-000000"), layout.WIDS)(place)
    both(flip(layout.tar("train-000002")), flip(layout.index("train-000002"), 10))(place)
    verdict = repair(place, in_process=True, trust=True)
    assert verdict.problems == []
    again = {line.split(":")[0] for line in verdict.repaired if line.endswith(": made again")}
    assert again == {"val-000000", SHARD, "train-000002"}
    assert everything(place) == everything(twin)


@pytest.mark.parametrize("spoil", [unlink(layout.index(SHARD)), flip(layout.index(SHARD), 10)], ids=["gone", "broken"])
def test_a_lost_index_is_rebuilt_from_a_tar_of_the_known_hash(twin, place, spoil):
    spoil(place)
    assert any("makes it anew from the tar" in problem for problem in verify(place).problems)
    assert verify(place, rebuild=True).rebuilt == [SHARD]
    assert everything(place) == everything(twin)


def reindexed(change) -> object:
    """What changes the rows and the totals of an index."""

    def spoil(place):
        path = place / layout.index(SHARD)
        record, rows = index.read(path.read_bytes())
        path.write_bytes(index.write(*change(rows, record)))

    return spoil


def undecodable(place):
    """A picture that cannot be read, in a tar of the hash that its index states."""
    path = place / layout.tar(SHARD)
    flip(layout.tar(SHARD), path.read_bytes().index(b"IDAT") + 10)(place)
    sha = index.sha256(path.read_bytes())
    reindexed(lambda rows, record: (rows, replace(record, tar_sha256=sha)))(place)
    (place / layout.MANIFEST).unlink()


UNTRUE = {
    "recipe": (reindexed(lambda rows, told: (rows, replace(told, recipe="b" * 64))), "belongs to recipe bbbbbbbbbbbb"),
    "plan": (reindexed(lambda rows, told: ([replace(rows[0], target="x"), *rows[1:]], told)), "stands where the plan"),
    "totals": (reindexed(lambda rows, told: (rows[1:], replace(told, samples=7))), "7 rows, 7 of them samples; the pl"),
    "values": (
        reindexed(lambda rows, told: ([replace(rows[0], measured={}), *rows[1:]], told)),
        "not those of its ind",
    ),
    "pixels": (undecodable, "image.png"),
}


@pytest.mark.parametrize(("spoil", "words"), UNTRUE.values(), ids=UNTRUE.keys())
def test_an_index_is_held_against_the_plan_and_the_tar(place, spoil, words):
    spoil(place)
    problems = verify(place).problems
    assert any(SHARD in problem and words in problem for problem in problems), problems


def test_samples_stand_in_a_shard_once_and_have_the_same_members():
    body, _ = packed(2)
    for name in (name_of(2), name_of(1)):
        body.add(name, {"json": encode("json", {**meta(int(name[-1])), "sample_id": name})})
    problems = contents(whole(body), "a.tar", RECIPE)
    assert f"a.tar: sample {name_of(1)} stands in it twice" in problems
    assert any(f"a.tar: {name_of(2)} has members [('json'" in problem for problem in problems)


def doubted(place):
    """A manifest whose parts are its own and hold no true hash, for which no ``_SUCCESS`` vouches."""
    edit(layout.part(0), zeroed)(place)
    sha = hashlib.sha256((place / layout.part(0)).read_bytes()).hexdigest()
    edit(layout.MANIFEST, lambda body: body["parts"][0].update(sha256=sha))(place)
    (place / layout.SUCCESS).unlink()


def test_a_manifest_that_nothing_vouches_for_outvotes_no_index(twin, place):
    doubted(place)
    assert repair(place, in_process=True, trust=True).problems == []
    assert everything(place) == everything(twin)


def test_an_index_does_not_outvote_a_manifest_that_the_tar_confirms(place):
    reindexed(lambda rows, told: (rows, replace(told, tar_sha256="0" * 64)))(place)
    (place / layout.SUCCESS).unlink()
    assert any("two known hashes disagree" in problem for problem in verify(place).problems)


def laundered(place):
    """A flipped bit whose index was made of the flipped tar, as older versions did."""
    flip(layout.tar(SHARD))(place)
    path, tar = place / layout.index(SHARD), (place / layout.tar(SHARD)).read_bytes()
    record, rows = index.read(path.read_bytes())
    path.write_bytes(index.write(rows, replace(record, tar_sha256=index.sha256(tar))))


def test_where_two_known_hashes_disagree_nothing_is_changed(place):
    laundered(place)
    before = everything(place)
    verdict = repair(place, in_process=True, trust=True)
    assert any("two known hashes disagree" in problem and "redo --shard" in problem for problem in verdict.problems)
    assert everything(place) == before
