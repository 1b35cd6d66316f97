"""Kernels: what the image compiles on phantoms is all that any source's cases ask for."""

import errno
import importlib.util
import logging
import sys

import numba
import numpy as np
import pytest
from numba.core import caching
from PIL import Image

from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.sample import Maker
from lesionforge.generators import kernels
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


def own_kernel(folder, factor):
    """A kernel that calls another, of a file in a folder."""
    (folder / "own.py").write_text(
        "from lesionforge.generators.kernels import jit\n"
        f"@jit\ndef once(x):\n    return {factor} * x\n@jit\ndef twice(x):\n    return once(once(x))\n"
    )
    spec = importlib.util.spec_from_file_location("own", folder / "own.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.twice


@pytest.fixture
def told(monkeypatch, caplog):
    """Reasons as they are told: anew, and also where a run before has set up its own log."""
    log = logging.getLogger("lesionforge")
    monkeypatch.setattr(kernels, "_told", False, raising=False)
    for name, value in (("propagate", True), ("handlers", []), ("level", log.level)):
        monkeypatch.setattr(log, name, value)
    log.setLevel(logging.WARNING)
    yield lambda: [record.fields["reason"] for record in caplog.records]
    log.manager._clear_cache()


def test_kernels_run_where_nothing_can_be_kept(tmp_path, monkeypatch, told):
    """As in a pod with a read-only image and no home; root may write anywhere, but not below a file."""
    (tmp_path / "__pycache__").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "__pycache__"))
    twice = own_kernel(tmp_path, 3.0)
    assert (twice(1.0), twice(np.float32(2.0))) == (9.0, 18.0)
    assert told() == ["no folder can be written"]


def test_a_full_disk_costs_what_was_compiled_and_no_sample(tmp_path, monkeypatch, told):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", full)
    assert own_kernel(tmp_path, 5.0)(1.0) == 25.0
    assert told() == ["No space left on device"]
