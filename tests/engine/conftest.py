"""Recipes on the toy source and generator of tests/faulty.py."""

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from lesionforge.engine.recipe import Recipe
from lesionforge.engine.recipe_yaml import parse

ROOT = Path(__file__).resolve().parents[2]
# Ray workers and subprocesses import tests.faulty from here.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
sys.path.insert(0, str(ROOT))


def toy(**changes) -> Recipe:
    """A recipe of 40 toy samples in 6 shards; ``a__b=c`` changes recipe.a.b."""
    raw = {
        "name": "toy",
        "seed": 1,
        "sources": [{"uri": "tests.faulty.Toy:here", "options": {"count": 20}, "split": {"train": 0.8, "val": 0.2}}],
        "generator": {"name": "tests.faulty.Faulty", "params": {}},
        "multiply": 2,
        "balance": {"mild": 1, "severe": 1},
        "shard": {"samples": 8},
        "resources": {"cpus": 0.5},
    }
    for path, value in changes.items():
        at = raw
        *keys, last = path.split("__")
        for key in keys:
            at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
        at[last] = value
    return parse(json.dumps(raw))


def shas(folder: Path) -> dict[str, str]:
    """SHA-256 of every shard and index in a dataset's folder."""
    files = sorted([*folder.glob("shards/*"), *folder.glob("index/*"), *folder.glob("dali/*")])
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def everything(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a dataset."""
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and ".tmp" not in f.parts]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.fixture
def recipe_path(tmp_path):
    """Writes a recipe as a file for the command line."""

    def write(recipe: Recipe) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(json.dumps(recipe.model_dump(mode="json")))
        return path

    return write
