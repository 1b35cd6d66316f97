"""A dataset that is only looked at: nothing that it names is imported or opened, unless it is trusted."""

import json
import sys

import pytest

from lesionforge.engine import dataset
from lesionforge.engine.dataset import DatasetError
from lesionforge.jobs.commands import preview, replay
from lesionforge.jobs.commands.generate import generate
from lesionforge.sinks.store import Store

SAMPLE = "train-0000-00000000"
OWN = {
    "name": "demo",
    "seed": 1,
    "sources": [{"uri": "phantom:coronary", "options": {"count": 1}, "split": {"train": 1}}],
    "generator": {"name": "biplane", "params": {"grid": 32, "detector": 64, "spacing_mm": [3.4, 4.4]}},
    "splits": ["train"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset of one sample, made in the ordinary way."""
    out = tmp_path_factory.mktemp("strangers") / "made"
    generate(OWN, out, in_process=True)
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in out.rglob("*") if file.is_file()}


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of it, in a folder beside which lies a module that tells when it is imported."""
    for name, data in made.items():
        path = tmp_path / "dataset" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "payload.py").write_text("import pathlib\npathlib.Path('ran').touch()\nclass X: pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.delitem(sys.modules, "payload", raising=False)
    return Store(str(tmp_path / "dataset"))


def renamed(store, path, value, at="recipe"):
    body = json.loads(store.get("recipe.json"))
    node, keys = body[at], path.split(".")
    for key in keys[:-1]:
        node = node[int(key)] if isinstance(node, list) else node[key]
    node[keys[-1]] = value
    store.put("recipe.json", json.dumps(body).encode())


@pytest.mark.parametrize("look", [preview.preview, lambda store: replay.replay(store, SAMPLE)])
def test_what_a_dataset_names_is_not_imported(place, tmp_path, look):
    renamed(place, "generator.name", "payload.X")
    with pytest.raises(DatasetError, match=r"recipe.generator.name is 'payload.X', which no .* add --trust"):
        look(place)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(DatasetError, match="is no generator"):  # trusted, it is imported
        preview.preview(place, trust=True)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("sources.0.uri", "payload.X:here", "is 'payload.X', which no installed package registers"),
        ("sources.0.uri", "masks:http://127.0.0.1:9/", "sources.0 is no phantom"),
        ("sources.0.uri", "dicom:/data", "give --source 0=dicom:PLACE, or add --trust"),
        ("sources.0.options", {"masks": "../../home"}, "sources.0.options.masks names a place outside"),
        ("sources.0.options", {"masks": "s3://bucket"}, "sources.0.options.masks names a place outside"),
        ("sources.0.options", {"masks": {"a": ["/etc"]}}, "sources.0.options.masks.a names a place outside"),
        ("generator", {"name": "stenosis", "params": {"weights": "models/a"}}, "params.weights names a place"),
        ("generator", {"name": "stenosis", "params": {"other": ["/etc"]}}, "params.other names a place"),
        ("generator", {"name": "lesion", "params": {"weights": "~/a"}}, "--set generator.params.weights=PLACE"),
    ],
)
def test_replay_opens_nothing_that_only_the_dataset_names(place, tmp_path, path, value, said, monkeypatch):
    renamed(place, path, value)
    monkeypatch.setattr("lesionforge.jobs.commands.again.Pipeline", None)  # nobody comes so far
    with pytest.raises(DatasetError) as error:
        replay.replay(place, SAMPLE)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_phantoms_and_what_is_given_again_are_replayed(place):
    assert replay.replay(place, SAMPLE).identical
    assert replay.replay(place, SAMPLE, {0: "phantom:coronary"}).identical


def test_no_recipe_of_a_dataset_says_where_a_store_lies(place):
    renamed(place, "storage_options", {"endpoint_url": "http://127.0.0.1:9"})
    renamed(place, "out", "s3://elsewhere")
    recipe = dataset.read(place).recipe
    assert (recipe.storage_options, recipe.out) == ({}, None)


def test_a_foreign_recipe_that_bears_our_identity_is_refused(place, tmp_path):
    renamed(place, "generator.name", "payload.X")
    with pytest.raises(DatasetError, match=r"recipe\.json was edited: .*choose another --out"):
        generate(OWN, str(place.local_path()), in_process=True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("path", ["../../outside.json", "/etc/passwd", "http://127.0.0.1:9/x", "manifest/../../x"])
def test_a_part_of_the_manifest_lies_in_the_dataset(place, path):
    from lesionforge.sinks import manifest
    from lesionforge.sinks.store import StoreError

    body = json.loads(place.get("manifest.json"))
    body["parts"][0]["path"] = path
    place.put("manifest.json", json.dumps(body).encode())
    with pytest.raises(StoreError, match=r"manifest\.json cannot be read"):
        list(manifest.shards(place))
