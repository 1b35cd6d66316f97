import json
import re

import pytest

from lesionforge.engine import recipe as recipes
from lesionforge.engine.recipe_yaml import RecipeError, load, parse

GOOD = """\
name: demo
seed: 7
sources:
  - uri: phantom:coronary
    options: {count: 4}
    split: {train: 0.5, val: 0.5}
generator:
  name: biplane
  params:
    grid: 64
shard: {samples: 10, bytes: 1 MiB}
quality:
  redraws: 3
"""


def refused(text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as error:
        parse(text, "r.yaml", overrides)
    return str(error.value)


def test_a_good_recipe_states_every_default():
    r = parse(GOOD)
    assert r.shard.bytes == 2**20
    assert r.generator.params["grid"] == 64
    assert r.generator.params["spacing_mm"] == [0.8, 1.1]
    assert r.sources[0].options["count"] == 4
    assert r.sources[0].options["sides"] == ["left", "right"]
    assert r.sources[0].options["voxel_mm"] == 0.4


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seed: 7", "sede: 7", ["r.yaml:2: sede: unknown key; did you mean seed?", "seed: is required"]),
        ("    grid: 64", "    gird: 64", ["r.yaml:10: generator.params.gird: unknown key; did you mean grid?"]),
        ("    grid: 64", "    grid: 4", ["r.yaml:10: generator.params.grid: give 8 to 512 (got 4)"]),
        ("    grid: 64", "    spacing_cm: [1, 2]", ["r.yaml:10", "did you mean spacing_mm?"]),
        ("1 MiB", "1 parsec", ["r.yaml:11: shard.bytes: not a size in bytes", "'1 parsec'"]),
        ("samples: 10", "samples: 0", ["r.yaml:11: shard.samples", "give 1 to 100000 (got 0)"]),
        ("redraws: 3", "redraw: 3", ["r.yaml:13: quality.redraw: unknown key; did you mean redraws?"]),
        ("train: 0.5", "train: 0.9", ["r.yaml:4", "split shares add to 1.4"]),
        ("train: 0.5", "trian: 0.5", ["r.yaml:6", "'train', 'val' or 'test'", "trian"]),
        ("name: biplane", "name: biplan", ["r.yaml:8: generator.name: ", "'biplan'", "did you mean biplane?"]),
        ("phantom:coronary", "phantm:coronary", ["r.yaml:4: sources.0.uri: ", "'phantm'", "did you mean phantom?"]),
        ("phantom:coronary", "coronary", ["names no scheme"]),
        ("count: 4", "cuont: 4", ["r.yaml:5: sources.0.options.cuont: unknown key; did you mean count?"]),
        ("name: demo", "name: a/b", ["r.yaml:1: name", "'a/b'"]),
        ("seed: 7", "seed: [", ["not YAML"]),
        ("seed: 7", "seed: -1", ["r.yaml:2: seed", "got -1"]),
    ],
)
def test_a_fault_is_named_with_line_value_and_fix(old, new, words):
    message = refused(GOOD.replace(old, new, 1))
    for word in words:
        assert word in message, message
    assert len(message.splitlines()) <= 2


def test_all_faults_come_at_once():
    message = refused(GOOD.replace("seed: 7", "seed: x").replace("redraws", "redrw"))
    assert "r.yaml:2: seed" in message
    assert "quality.redrw" in message


def test_overrides_reach_any_field_and_are_named_in_faults():
    r = parse(GOOD, overrides=["sources.0.uri=phantom:coronary", "multiply=3", "quality.limits.hull_recall.min=1"])
    assert r.multiply == 3
    assert r.quality.limits["hull_recall"].min == 1
    assert refused(GOOD, "multiply=0") == "--set multiply: give 1 or more (got 0)"
    assert refused(GOOD, "shard={samples: 0}").startswith("--set shard: shard.samples: give 1 to")
    assert refused(GOOD, "multiply=many") == "--set multiply: Input should be a valid integer (got 'many')"
    either = "Input should be a valid dictionary or 'balanced', 'fill' or 'natural' (got 'even')"
    assert refused(GOOD, "balance=even") == f"--set balance: {either}"
    assert refused(GOOD, "balance={still: -1}") == "--set balance: balance.still: give above 0 (got -1)"
    assert refused(GOOD, "generator.name=biplan").startswith("--set generator.name: no generator is called 'biplan'")
    assert refused(GOOD, "splits=3") == "--set splits: give a list (got 3)"
    lesion = ("generator.name=lesion", "generator.params={length_mm: -3}")
    assert "generator.params.length_mm: give a list of 2 (got -3)" in refused(GOOD, *lesion)
    assert "items 0 to 0" in refused(GOOD, "sources.1.uri=x")
    assert "write it as path=value" in refused(GOOD, "multiply")
    assert "is a value" in refused(GOOD, "name.x.y=1")
    assert "did you mean multiply?" in refused(GOOD, "multply=2")


@pytest.mark.parametrize("overrides", ["multiply=4", None, 3, [4], {"multiply": 4}])
def test_overrides_are_a_list_of_texts(overrides):
    with pytest.raises(RecipeError, match=r"^overrides is .*: give a list of texts, such as \['multiply=4'\]$"):
        parse(GOOD, "r.yaml", overrides)


@pytest.mark.parametrize("text", ["", "3", "[]", "\x00", "a: &a [*a]", "{" * 2000, "name: !!python/object:os.system x"])
def test_what_is_no_recipe_is_refused_in_a_line(text):
    assert len(refused(text).splitlines()) <= 5


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.yaml: No such file"):
        load(tmp_path / "none.yaml")


def test_identity_follows_what_decides_the_bytes():
    r = parse(GOOD)
    same = [{"multiply": 9}, {"out": "s3://x"}, {"resources": recipes.ResourcesRecipe(cpus=4)}]
    other = [{"seed": 8}, {"splits": ("train",)}, {"shard": recipes.ShardRecipe(samples=11)}]
    base = r.identity(["f"])
    assert all(r.model_copy(update=change).identity(["f"]) == base for change in same)
    assert all(r.model_copy(update=change).identity(["f"]) != base for change in other)
    assert r.identity(["g"]) != base
    moved = parse(GOOD, overrides=["sources.0.uri=phantom:coronary"])
    assert moved.identity(["f"]) == base


def test_storage_options_reach_no_dump():
    r = parse(GOOD + "storage_options: {endpoint_url: 'http://hunter2:7480'}\n")
    assert r.storage_options == {"endpoint_url": "http://hunter2:7480"}
    assert "hunter2" not in json.dumps(r.model_dump(mode="json")) + repr(r)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("storage_options: {secret: SECRET}", "storage_options.secret"),
        ("storage_options: {key: SECRET}", "storage_options.key"),
        ("storage_options: {client_kwargs: {aws_secret_access_key: SECRET}}", "client_kwargs.aws_secret_access_key"),
        ("storage_options: {account_key: SECRET}", "storage_options.account_key"),
        ("storage_options: {client_kwargs: {headers: {Authorization: SECRET}}}", "client_kwargs.headers.Authorization"),
        ("out: ftp://jane:SECRET@there/x", "out"),
    ],
)
def test_secrets_are_refused_with_their_place_and_not_their_value(text, field):
    with pytest.raises(RecipeError) as error:
        parse(GOOD + text + "\n", "r.yaml")
    lines = str(error.value).splitlines()
    assert len(lines) == 1
    assert re.match(rf"r\.yaml:\d+: .*{re.escape(field)}: holds a secret", lines[0])
    assert "AWS_SECRET_ACCESS_KEY" in lines[0]
    assert "SECRET@" not in lines[0]
    assert not re.search(r"SECRET(?!_ACCESS_KEY)", lines[0])


def test_an_override_is_no_place_for_a_secret_either():
    with pytest.raises(RecipeError, match=r"^--set storage_options.token: holds a secret") as error:
        parse(GOOD, "r.yaml", ["storage_options.token=hunter2"])
    assert "hunter2" not in str(error.value)


def test_what_is_no_secret_stays():
    harmless = {"anon": True, "token": "anon", "profile": "research", "secret": None, "use_ssl": False}
    assert parse(GOOD + f"storage_options: {json.dumps(harmless)}\n").storage_options == harmless


def test_a_doubled_key_is_refused():
    assert refused(GOOD + "seed: 8\n") == "r.yaml:14: seed stands there twice; keep one"
    assert "grid stands there twice" in refused(GOOD.replace("    grid: 64\n", "    grid: 64\n    grid: 65\n"))


def test_a_colon_without_its_space_is_one_line():
    message = refused(GOOD, "sources.0.split={train:0.5,val:0.5}")
    assert message == "--set sources.0.split: YAML wants a space after each colon: {train: 0.5,val: 0.5}"


def test_no_source_is_one_line():
    assert refused(GOOD, "sources=[]") == "--set sources: give 1 or more"


@pytest.mark.parametrize(
    ("balance", "fits"), [("3, motion: 1", True), ("0.75, motion: 0.25", True), ("0.75, motion: 0.5", False)]
)
def test_shares_add_to_one_or_are_parts(balance, fits):
    text = GOOD + f"balance: {{still: {balance}}}\n"
    if fits:
        assert parse(text).balance
    else:
        assert "balance: shares add to 1.25; give shares that add to 1, or whole numbers as parts" in refused(text)


def test_what_is_deep_or_has_no_text_ends_in_a_line_too():
    deep = "[" * 300 + "]" * 300
    assert "storage_options" in refused(GOOD + f"storage_options: {deep}\n")
    assert "unknown key" in refused(GOOD.replace("count: 4", f"count: 4, deep: {deep}"))
    assert "unknown key" in refused(GOOD + f"? 0x{'f' * 5000}\n: 1\n")
