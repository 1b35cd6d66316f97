"""What a generator of somebody else's lacks is told in one line when a recipe that names it is opened."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from lesionforge.engine import plugins
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.plugins import PluginError
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.recipe_yaml import RecipeError, parse
from lesionforge.generators.base import Generator
from lesionforge.generators.types import Sample

EXAMPLE = Path(__file__).parents[1] / "example"
HERE = "tests.generators.test_base"
RECIPE = """\
name: toy
seed: 1
sources: [{uri: "phantom:coronary", options: {count: 2}}]
generator:
  name: NAME
  params: PARAMS
"""


def refused(name: str, params: str = "{}") -> str:
    with pytest.raises(RecipeError) as error:
        parse(RECIPE.replace("NAME", name).replace("PARAMS", params), "r.yaml")
    message = str(error.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    def make(", "    def made(", "no generator: it has neither make(case, spec) nor generate(cases, specs)"),
        ("class LowDose(Generator)", "class LowDose", "it is no subclass of lesionforge.generators.base.Generator"),
        ("@dataclass(frozen=True)\nclass LowDoseParams(Parameters)", "class LowDoseParams", "Params is no dataclass"),
        ('classes = ("half", "tenth")', 'classes = "half"', "its classes is 'half', no tuple of strings"),
        ('("noise_grey",)', '("noise_grey", 3)', "its measures is ('noise_grey', 3), no tuple of strings"),
        ("    classes =", "    panels = ()\n    classes =", "its panels is no method"),
        ("import numpy as np", "import numpi as np", "cannot be imported: No module named 'numpi'"),
        ("class LowDose(Generator)", "class Other(Generator)", "has no attribute 'LowDose'"),
    ],
)
def test_a_missing_piece_is_told_when_the_recipe_is_opened(tmp_path, monkeypatch, request, old, new, said):
    source = (EXAMPLE / "low_dose.py").read_text()
    assert old in source
    module = f"broken{abs(hash(request.node.name))}"
    (tmp_path / f"{module}.py").write_text(source.replace(old, new))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)  # found beside the recipe
    message = refused(f"{module}.LowDose")
    assert message.startswith("r.yaml:5: generator.name: ")
    assert said in message


@dataclass
class Deep:
    depth: float = 1


@dataclass
class Plain:
    low: float = -100
    part: Deep = field(default_factory=Deep)
    parts: tuple[Deep, ...] = ()
    named: dict[str, Deep] = field(default_factory=dict)
    free: dict[str, float] = field(default_factory=dict)


class Lenient(BaseModel):
    low: float = -100
    part: Deep = Deep()
    parts: tuple[Deep, ...] = ()
    named: dict[str, Deep] = {}
    free: dict[str, float] = {}


class Lax(Generator):
    Params = Plain

    def make(self, case, spec):
        dots = np.full((16, 12), spec.rng("dots").integers(256), np.uint8)
        return Sample(spec, {"dots.png": dots, "cube.npy": np.arange(60.0).reshape(3, 4, 5)}, {}, {}, {})


class LaxModel(Lax):
    Params = Lenient


@pytest.mark.parametrize("name", ["Lax", "LaxModel"])
@pytest.mark.parametrize(
    ("params", "said"),
    [
        ("{lo: -100}", "generator.params.lo: unknown key; did you mean low?"),
        ("{part: {dept: 1}}", "generator.params.part.dept: unknown key; did you mean depth?"),
        ("{parts: [{}, {xyz: 1}]}", "generator.params.parts.1.xyz: unknown key; valid are depth"),
        ("{named: {a: {deep: 1}}}", "generator.params.named.a.deep: unknown key; did you mean depth?"),
        ("{low: x}", "generator.params.low: Input should be a valid number"),
    ],
)
def test_unknown_keys_are_refused_whatever_the_class_is(name, params, said):
    """Neither class forbids them itself (A2): a misspelt parameter was taken for granted."""
    assert said in refused(f"{HERE}.{name}", params)


@pytest.mark.parametrize("name", ["Lax", "LaxModel"])
def test_what_is_known_is_taken(name):
    recipe = parse(
        RECIPE.replace("NAME", f"{HERE}.{name}").replace("PARAMS", "{low: 3, free: {any: 1}, named: {a: {depth: 2}}}")
    )
    assert recipe.generator.params["low"] == 3
    assert Pipeline(recipe).generator.params.named["a"] == Deep(2)


def test_a_recipe_made_in_python_is_held_to_the_same():
    body = {"name": "toy", "seed": 1, "sources": [{"uri": "phantom:coronary", "options": {"count": 2}}]}
    with pytest.raises(PluginError, match=r"^generator\.params\.lo: unknown key; did you mean low\?$"):
        Pipeline(Recipe(**body, generator={"name": f"{HERE}.Lax", "params": {"lo": 1}}))
    body["sources"][0]["options"] = {"cuont": 2}
    with pytest.raises(PluginError, match=r"^sources\.0\.options\.cuont: unknown key; did you mean count\?$"):
        Pipeline(Recipe(**body, generator={"name": f"{HERE}.Lax"}))


def test_one_method_is_enough():
    """Its size is not known, so shards are cut by number; its pictures are shown as they come."""
    job = Pipeline(parse(RECIPE.replace("NAME", f"{HERE}.Lax").replace("PARAMS", "{}")))
    assert job.plan.bytes is None
    assert job.plan.shard_samples == 100
    (sample,) = job.generator.generate([None], [job.plan[0]])
    panels = job.generator.panels(sample.fields | {"json": {}}, {})
    assert [panel.title for panel in panels] == ["dots", "cube, axial", "cube, coronal", "cube, sagittal"]
    assert np.array_equal(panels[0].layers["dots"], sample.fields["dots.png"])
    assert [panel.layers["cube"].shape for panel in panels[1:]] == [(4, 3), (5, 3), (5, 4)]
    assert panels[2].layers["cube"][0, 0] > panels[2].layers["cube"][-1, 0]  # the head is up


def test_a_package_registers_its_own_by_an_entry_point(tmp_path, monkeypatch):
    """As ``[project.entry-points."lesionforge.generators"]`` with ``low_dose = "low_dose:LowDose"`` installs it."""
    info = tmp_path / "low_dose-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: low_dose\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lesionforge.generators]\nlow_dose = low_dose:LowDose\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "low_dose" in plugins.names("generators")
    recipe = RECIPE.replace("coronary", "angiogram").replace("PARAMS", "{photons: 9}")
    assert parse(recipe.replace("NAME", "low_dose")).generator.params["photons"] == 9
    assert "did you mean low_dose?" in refused("low_dos")
