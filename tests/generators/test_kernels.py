"""Kernels: what the image compiles on phantoms is all that any source's cases ask for."""

import sys

import numpy as np
from PIL import Image

from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.sample import Maker
from lesionforge.generators.kernels import _Kernel
from lesionforge.generators.phantom.angiogram.frame import phantom_angiogram
from lesionforge.generators.types import Sample
from tests.engine.conftest import toy
from tests.engine.sources.test_trees import two_trees, write


def compiled():
    """Every kernel that was called, with the types that it was compiled for."""
    modules = [module for name, module in sorted(sys.modules.items()) if name.startswith("lesionforge.generators")]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, _Kernel)]
    return {f"{k.__module__}.{k.__name__}{types}" for k in found if k._compiled for types in k._compiled.signatures}


def make(generator, uri, params, **options):
    """Samples of a recipe's first cases, read and kept as a worker does."""
    source = {"uri": uri, "options": options, "split": {"train": 1}}
    recipe = toy(sources=[source], generator={"name": generator, "params": params}, balance=None)
    maker = Maker(Pipeline(recipe), kept=True)
    made = list[bool]()
    for _ in range(2):  # the second time as it is kept
        for n in range(min(2, len(maker.pipeline.plan))):
            spec = maker.pipeline.plan[n]
            made += [isinstance(one, Sample) for one in maker.make([maker.read(spec)], [spec])]
    assert any(made)


def test_cases_of_files_compile_nothing_that_phantoms_have_not(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))
    make("biplane", "phantom:coronary", {"grid": 100}, count=1)
    make("stenosis", "phantom:angiogram", {}, count=2, size=384)
    before = compiled()
    assert any("carm" in name for name in before)
    assert any("vessel" in name for name in before)
    make("biplane", f"nifti:{write(tmp_path / 'trees', two_trees())}", {"grid": 100})
    frame = phantom_angiogram(bytes([1]) * 32, "left", "s", size=256)
    (tmp_path / "frames").mkdir()
    Image.fromarray(frame.image).save(tmp_path / "frames" / "1.png")
    Image.fromarray(frame.mask * np.uint8(255)).save(tmp_path / "frames" / "1_gt.png")
    make("stenosis", f"masks:{tmp_path / 'frames'}", {})
    assert compiled() == before
