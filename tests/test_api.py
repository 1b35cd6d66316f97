"""``import lesionforge as lf``: light, lazy, and what a notebook likes."""

import io
import json
import subprocess
import sys
import types

import pytest
from rich.console import Console

import lesionforge as lf
from lesionforge.generators.types import UserError
from lesionforge.jobs import console, progress

TINY = {
    "name": "tiny",
    "seed": 1,
    "sources": [{"uri": "phantom:coronary", "options": {"count": 2}, "split": {"train": 1}}],
    "generator": {"name": "biplane", "params": {"grid": 32, "detector": 64, "spacing_mm": [3.4, 4.4]}},
    "splits": ["train"],
}


def test_importing_it_loads_nothing_heavy():
    code = "import sys, lesionforge; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    heavy = {"torch", "ray", "numpy", "pydantic", "pyarrow", "fsspec", "rich", "typer", "yaml", "numba", "odl", "scipy"}
    assert "lesionforge" in done.stdout.split()
    assert not heavy & set(done.stdout.split())


def test_every_name_that_it_lists_is_there():
    assert set(lf.__all__) <= set(dir(lf))
    for name in lf.__all__:
        assert getattr(lf, name) is not None
    with pytest.raises(AttributeError, match="it has Reader, Recipe"):
        _ = lf.genrate


def test_a_recipe_is_a_file_a_name_a_mapping_or_an_object(tmp_path):
    file = tmp_path / "tiny.json"
    file.write_text(json.dumps(TINY))
    plans = [lf.plan(recipe) for recipe in (file, str(file), TINY, lf.Recipe(**TINY))]
    assert len({plan.identity for plan in plans}) == 1
    assert lf.plan("demo").samples == 80
    assert lf.plan("biplane-imagecas", ["sources.0.uri=phantom:coronary", "~sources.0.options"])
    assert lf.plan(TINY, ["multiply=3"]).samples == 3 * plans[0].samples
    assert "multiply" not in TINY


def test_a_file_goes_before_a_shipped_recipe_of_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").write_text(json.dumps(TINY))
    monkeypatch.setattr(console, "err", Console(file=sys.stderr))
    assert lf.plan("demo").name == "tiny"
    assert "the file is taken" in capsys.readouterr().err


def test_a_dataset_is_made_verified_read_and_shown(tmp_path):
    result = lf.generate({**TINY, "balance": {"still": 3, "motion": 1}}, tmp_path, in_process=True)
    assert (result.body()["samples"], result.short) == (4, "")
    assert result.body()["classes"] == {"train": {"motion": 1, "still": 3}}
    rows = [line.split() for line in repr(result).splitlines()]
    assert ["split", "shards", "samples", "motion", "still", "size"] in rows
    assert ["train", "1", "4", "1", "3"] in [row[:5] for row in rows]
    assert "4 samples made at " in repr(result)
    assert repr(lf.verify(tmp_path)).endswith("all is well")
    samples = lf.Samples(tmp_path, split="train")
    assert len(list(lf.Reader(samples, batch=2, seed=0))) == 2
    page = lf.preview(tmp_path, 2)
    assert page._repr_html_().startswith("<iframe")
    assert repr(page) == f"open {tmp_path}/preview/index.html"
    assert repr(lf.preview(tmp_path, 1, tmp_path / "copy")) == f"open {tmp_path}/copy/index.html"
    assert [file.name for file in (tmp_path / "copy").iterdir()] == ["index.html"]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file: cannot be written: .*; give a folder here"):
        lf.preview(tmp_path, 1, tmp_path / "file")


def test_a_notebook_gets_a_bar_without_widgets(monkeypatch):
    """A kernel has IPython and need not have ipywidgets."""
    drawn = []
    kernel = types.ModuleType("IPython.display")
    kernel.HTML = str
    kernel.display = lambda text, display_id: types.SimpleNamespace(update=drawn.append)
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", kernel)
    monkeypatch.setattr(console, "err", Console(file=io.StringIO(), force_jupyter=True))
    with progress.samples(10, 4) as advance:
        advance(5, 1, 0.0)
    assert '<progress value="10" max="10"' in drawn[-1]
    assert "samples 10/10" in drawn[-1]
    assert "1 quarantined" in drawn[-1]


def test_a_gallery_of_a_dataset_that_grew_is_said_to_be_old(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(console, "err", Console(file=sys.stderr))
    lf.generate(TINY, tmp_path, in_process=True)
    lf.preview(tmp_path)
    lf.generate(TINY, tmp_path, in_process=True)
    assert "as it was" not in capsys.readouterr().err
    lf.generate(TINY, tmp_path, in_process=True, overrides=["multiply=2"])
    assert "lesionforge preview makes it anew" in " ".join(capsys.readouterr().err.split())  # however it is wrapped
