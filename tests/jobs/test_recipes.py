"""Every shipped recipe through the whole job, in short form, on small made inputs; and what its header promises."""

import re
from pathlib import Path

import pytest
import yaml

from lesionforge.engine.plugins import names
from lesionforge.jobs.commands.generate import generate
from tests.engine.sources import makers

RECIPES = Path(__file__).resolve().parents[2] / "jobs" / "recipes"
ALL = {"sources.0.split={train: 1}", "splits=[train]", "multiply=1"}
SMALL_CT = ("generator.params.size=48", "sources.0.options.spacing_mm=null", "generator.params.early=[1, 1]")
SHORT = {  # of each recipe: what makes its input, and what makes it short
    "angio_ct_imagecas": (
        makers.ct_imagecas,
        ("generator.params.size=48", "generator.params.length_mm=[4, 8]", "generator.params.calcified_mm=[3, 5]"),
    ),
    "biplane_imagecas": (makers.imagecas, ()),
    "biplane_imagecasx": (makers.imagecasx, ()),
    "biplane_nifti": (makers.nifti, ()),
    "lesion_ct": (makers.ct, (*SMALL_CT, "sources.0.options.region=[liver]")),
    "lesion_ctdicom": (makers.ctdicom, SMALL_CT),
    "stenosis_arcade": (
        makers.arcade,
        ("quality.max_quarantined=0.5", "quality.redraws=3"),
    ),  # an outline fills what vessels enclose
    "stenosis_dicom": (makers.dicom, ()),
    "stenosis_masks": (makers.masks, ()),
    "stenosis_voc": (makers.voc, ()),
    "stenosis_yolo": (makers.yolo, ()),
    "cine_backgrounds": (
        makers.arcade,
        (
            "sources.0.options.count=1",
            "generator.params.size=256",
            "generator.params.frames=3",
            "backgrounds.split={train: 1}",
        ),
    ),
    "cine_phantom": (None, ("sources.0.options.count=1", "generator.params.size=256", "generator.params.frames=4")),
    "demo": (None, ("sources.0.options.count=1",)),
    "lesion_phantom": (None, ("sources.0.options.count=1", "generator.params.size=48", "multiply=2")),
    "plaque_phantom": (
        None,
        ("sources.0.options.count=2", "generator.params.size=64", "generator.params.plaques=[1, 1]"),
    ),
    "stenosis_phantom": (None, ("sources.0.options.count=2", "sources.0.options.sides=[left]")),
}


def recipes():
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))


def test_every_source_has_a_recipe_and_every_recipe_is_run():
    used = {source["uri"].split(":")[0] for name in recipes() for source in read(name)["sources"]}
    assert used == set(names("sources"))
    elsewhere = {"angio_ct_phantom"}  # tests/generators/angio_ct/test_job.py: its volumes take minutes
    assert set(SHORT) | elsewhere == set(recipes())


def read(name):
    return yaml.safe_load((RECIPES / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", recipes())
def test_the_header_says_what_it_needs_and_one_command_that_works_from_anywhere(name):
    head = [line for line in (RECIPES / f"{name}.yaml").read_text().splitlines() if line.startswith("#")]
    (command,) = [line for line in head if "lesionforge generate" in line]
    assert re.fullmatch(
        rf"#   lesionforge generate {name}( --set (sources\.0|backgrounds)\.uri=\w+:/data/\S+)? --out \S+", command
    )
    text = " ".join(head)
    assert "Needs " in text if "--set" in command else "No download, no account, no GPU." in text
    assert read(name)["name"] == name.replace("_", "-")


@pytest.mark.parametrize("name", sorted(SHORT))
def test_the_recipe_runs(name, tmp_path):
    make, short = SHORT[name]
    overrides = [*ALL, *short]
    if make:
        make(tmp_path / "data")
        recipe = read(name)
        where, given = (
            ("backgrounds", recipe["backgrounds"]) if "backgrounds" in recipe else ("sources.0", recipe["sources"][0])
        )
        overrides.append(f"{where}.uri={given['uri'].split(':')[0]}:{tmp_path / 'data'}")
    result = generate(RECIPES / f"{name}.yaml", str(tmp_path / "out"), None, True, overrides)
    body = result.body()
    assert body["quota_met"], body["reasons"]
    assert body["samples"] >= 1
