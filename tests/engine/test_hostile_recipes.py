"""What the fuzz campaign found in recipes and in what a dataset says of itself."""

import json

import pytest

from lesionforge.engine import dataset, recipe_yaml
from lesionforge.engine.dataset import DatasetError
from lesionforge.engine.recipe_yaml import RecipeError, load, parse
from lesionforge.jobs.commands import replay, verify
from lesionforge.sinks.store import Store
from tests.fuzz.kinds import datasets
from tests.fuzz.kinds.recipes import LAUGHS

SOUND = "name: a\nseed: 1\nsources: [{uri: 'phantom:coronary'}]\ngenerator: {name: biplane}\n"


def refusal(text, *sets):
    with pytest.raises(RecipeError) as error:
        parse(text, "recipe.yaml", sets)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "unfold to more than 100000 values"),
        ("a: &a [*a]\n", "or to themselves"),
        ("[" * 3000, "not YAML"),
        ("seed: " + ":".join(["59"] * 3000) + "\nname: a\nsources: []\ngenerator: {name: biplane}", "seed"),
        ("seed: " + "9" * 10_000, "not YAML"),
        ("name: !!python/object/apply:os.system ['true']", "not YAML"),
        (SOUND + "shard: {bytes: 9e999 GB}", "not a size in bytes"),
        (SOUND + f"shard: {{bytes: {'9' * 400} GB}}", "more bytes than there are"),
        (SOUND.replace("biplane", "os.system"), "is no generator"),
        (SOUND + 'balance: {"a\\nb": -1}', "a\\nb"),
        (SOUND.replace("phantom:coronary", "os.path:x"), "is no source"),
    ],
)
def test_bombs_and_tricks_are_one_line(text, said):
    message = refusal(text)
    assert said in message
    assert all(line.startswith("recipe.yaml") for line in message.splitlines())


def test_twenty_faults_are_listed_and_the_rest_counted():
    lines = refusal("name: a\nseed: 1\ngenerator: {name: biplane}\nsources: [" + "{a: 1}, " * 20_000 + "]").splitlines()
    assert len(lines) <= 21
    assert lines[-1] == "recipe.yaml: 39981 more faults"


@pytest.mark.parametrize("override", ["sources.²=1", "seed=" + "9" * 5000, "seed=2001-99-99", "out=" + "[" * 3000])
def test_overrides_that_no_parser_likes_are_one_line(override):
    message = refusal(SOUND, override)
    assert message.startswith("--set ")
    assert "\n" not in message


def test_a_recipe_without_end_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe_yaml, "MAX_BYTES", 100)
    (tmp_path / "recipe.yaml").write_text("#" * 101)
    with pytest.raises(RecipeError, match="larger than 100 bytes"):
        load(tmp_path / "recipe.yaml")


def test_more_samples_than_can_be_counted_are_refused(tmp_path):
    from lesionforge.engine.pipeline import Pipeline
    from lesionforge.engine.plan import PlanError

    with pytest.raises(PlanError, match="times"):
        Pipeline(parse(SOUND + f"multiply: {10**30}"))


@pytest.fixture
def store(tmp_path):
    datasets.write(tmp_path, {})
    return Store(str(tmp_path / "dataset"))


def edited(store, **changes):
    body = json.loads(store.get("recipe.json"))
    for path, value in changes.items():
        at, keys = body, path.split("__")
        for key in keys[:-1]:
            at = at[int(key)] if isinstance(at, list) else at[key]
        at[keys[-1]] = value
    store.put("recipe.json", json.dumps(body).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"sources__0__subjects": "six"},
        {"sources__0__subjects": 10**30},
        {"sources": []},
        {"sample_bytes": -1},
        {"versions": {}},
        {"identity": 3},
        {"recipe": None},
        {"sources__0__cases_per_subject": 0},
    ],
)
def test_a_document_that_cannot_be_true_is_named(store, change):
    edited(store, **change)
    with pytest.raises(DatasetError, match=r"recipe\.json cannot be read: "):
        dataset.read(store)


def test_a_document_of_brackets_is_named(store):
    store.put("recipe.json", b"[" * 100_000)
    with pytest.raises(DatasetError, match=r"recipe\.json cannot be read: "):
        dataset.read(store)


@pytest.mark.timeout(60)
def test_verify_walks_what_is_there_and_not_what_is_planned(store):
    edited(store, sources__0__subjects=10**15)
    problems = verify.verify(store).problems
    assert sum("stands where the plan has" in problem for problem in problems) == 2


@pytest.mark.parametrize("data", [b"[]", b"3", b"[" * 100_000, b"{}", b'{"samples": 1, "quarantined": 0, "shards": 3}'])
def test_a_manifest_that_is_none_is_a_problem(store, data):
    store.put("manifest.json", data)
    (problem,) = [problem for problem in verify.verify(store).problems if problem.startswith("manifest.json: ")]
    assert problem.endswith("verify --repair writes it anew")
    assert len(problem) < 300


def test_replay_names_a_document_whose_generator_takes_other_options(store):
    edited(store, recipe__generator__params={"nothing": 1})
    with pytest.raises(DatasetError, match=r"recipe\.json: generator\.params\.nothing: unknown key"):
        replay.replay(store, "train-0000-00000001", trust=True)
