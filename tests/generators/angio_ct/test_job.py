"""The recipe, and a whole job on toys: plan, shards, verification, replay."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.recipe_yaml import parse
from lesionforge.jobs.commands import verify
from lesionforge.jobs.commands.generate import generate
from lesionforge.jobs.commands.replay import replay
from lesionforge.sinks.store import Store

RECIPES = Path(__file__).resolve().parents[3] / "jobs" / "recipes"
GENERATOR = "lesionforge.generators.angio_ct.generator.AngioCt"  # as `angio_ct` where the package is installed


def recipe(name="angio_ct_phantom.yaml"):
    raw = yaml.safe_load((RECIPES / name).read_text())
    assert raw["generator"]["name"] == "angio_ct"
    raw["generator"]["name"] = GENERATOR
    return raw


def test_the_recipe_plans_every_class_of_plaque():
    plan = Pipeline(parse(json.dumps(recipe()))).plan
    assert {plan[i].target for i in range(len(plan))} == {"calcified", "non_calcified", "low_attenuation", "mixed"}


def test_the_recipe_for_imagecas_needs_only_its_folder(tmp_path):
    for name in ("1.img.nii.gz", "1.label.nii.gz"):
        (tmp_path / name).touch()
    raw = recipe("angio_ct_imagecas.yaml")
    raw["sources"][0] |= {"uri": f"lesionforge.engine.sources.ct.folder.CtVolumes:{tmp_path}", "split": {"train": 1}}
    made = Pipeline(parse(json.dumps(raw)))
    assert len(made.plan) == 4
    assert made.sources[0].legend == {1: "coronary"}


def test_a_whole_job_on_toys(tmp_path):
    raw = recipe()
    raw["generator"]["params"] |= {"size": 48, "length_mm": [4, 8], "calcified_mm": [3, 5]}
    raw["sources"][0] = {"uri": "tests.generators.angio_ct.toys.Toy:here", "split": {"train": 1}}
    raw |= {"multiply": 2, "splits": ["train"], "balance": {"calcified": 0.5, "non_calcified": 0.5}}
    path, out = tmp_path / "recipe.json", tmp_path / "out"
    path.write_text(json.dumps(raw))
    body = generate(path, str(out), None, in_process=True).body()
    assert (body["samples"], body["quarantined"]) == (4, 0)
    store = Store(str(out))
    assert verify.verify(store, rebuild=True).problems == []
    assert replay(store, "train-0001-00000001", trust=True).identical
    assert (out / "pictures" / "train.png").stat().st_size > 10_000
    with tarfile.open(next((out / "shards").glob("*.tar"))) as tar:
        members = {m.name.split(".", 1)[1]: tar.extractfile(m).read() for m in tar if m.name.startswith("train-0000")}
    assert members.keys() == {"ct.delta.npy.zst", "label.npy.zst", "changed.npy.zst", "view0.png", "view1.png", "json"}
    meta = json.loads(members["json"])
    assert all(len(lesion["projections"]) in (0, 2) for lesion in meta["lesions"])
    for number in range(2):
        image = np.asarray(Image.open(io.BytesIO(members[f"view{number}.png"])))
        assert image.shape == (meta["views"][number]["rows"], meta["views"][number]["cols"])
