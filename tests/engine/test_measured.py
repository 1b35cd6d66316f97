"""What a generator measures on a case is kept on the node as the case is, and never other bytes for it."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from lesionforge.engine.kept import KeptResults
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.sample import Maker
from lesionforge.engine.sources import cache
from lesionforge.engine.sources.pictures.masks import Masks
from lesionforge.generators.phantom.angiogram.frame import phantom_angiogram
from lesionforge.generators.stenosis import generator as stenosis
from lesionforge.generators.stenosis.generator import StenosisGenerator
from lesionforge.generators.stenosis.params import StenosisParams
from lesionforge.generators.stenosis.sites import FrameAnatomy
from lesionforge.generators.types import Lesion
from tests.engine.conftest import toy
from tests.engine.test_kept import entries, layout_of, made, own_cache  # noqa: F401


@pytest.fixture(scope="module")
def frame():
    return phantom_angiogram(bytes([1]) * 32, "left", "s", size=256)


@pytest.fixture
def measured(monkeypatch):
    """A process that remembers one frame; the frames that were measured."""
    out, real = [], FrameAnatomy.of
    monkeypatch.setattr(stenosis, "FRAMES", 1)
    monkeypatch.setattr(FrameAnatomy, "of", lambda frame, width: (out.append(frame.source_id), real(frame, width))[1])
    return out


def recipe(folder, frame, **changes):
    """Three variants of two frames on a disk."""
    folder.mkdir(exist_ok=True)
    for name, image in {"1": frame.image, "2": frame.image[:, ::-1]}.items():
        mask = frame.mask if name == "1" else frame.mask[:, ::-1]
        Image.fromarray(np.ascontiguousarray(image)).save(folder / f"{name}.png")
        Image.fromarray(mask * np.uint8(255)).save(folder / f"{name}_gt.png")
    return toy(
        **{
            "sources": [{"uri": f"masks:{folder}", "split": {"train": 1}}],
            "generator": {"name": "stenosis", "params": {}},
            "multiply": 3,
            "balance": None,
            "shard": {"samples": 3},
            "quality": {"redraws": 1, "max_quarantined": 1},
        }
        | changes
    )


def test_a_frame_is_read_and_measured_once_and_its_samples_are_the_same(tmp_path, frame, measured, monkeypatch):
    """speed.md 2a: a run of more frames than a process remembers measured them for every variant."""
    reads, real = [], Masks.read
    monkeypatch.setattr(Masks, "read", lambda self, case: (reads.append(case), real(self, case))[1])
    made_of = recipe(tmp_path / "a", frame)
    monkeypatch.setenv("LESIONFORGE_CACHE", "")
    without = made(made_of, tmp_path / "off")
    assert min(tar.stat().st_size for tar in (tmp_path / "off").glob("shards/*.tar")) > 50_000  # samples, no reasons
    assert len(measured) >= 4  # each again, when the other one has been
    assert sorted(reads) == [0, 0, 0, 1, 1, 1]
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))
    for folder in ("cold", "warm"):
        measured.clear(), reads.clear()
        assert made(made_of, tmp_path / folder) == without
        assert len(measured) == len(reads) == (2 if folder == "cold" else 0)
    measured.clear()
    Maker(Pipeline(made_of))  # replay
    made(recipe(tmp_path / "a", frame, multiply=1), tmp_path / "once")  # keeps nothing that nobody wants again
    assert len(measured) == 2


def test_what_was_measured_comes_back_as_it_was_in_memory_too(frame):
    generator = StenosisGenerator(StenosisParams())
    shelf = KeptResults(generator, generator.memory.kinds)
    there = FrameAnatomy.of(frame, 7)
    assert there.vessels
    shelf.put("key", there)
    again = shelf.get("key")
    assert repr(dataclasses.asdict(again)) == repr(dataclasses.asdict(there))
    for one, other in zip(there.vessels, again.vessels, strict=True):
        for a, b in ((one, other), (one.lumen, other.lumen)):
            held = [(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a) if f.name != "lumen"]
            assert all(np.array_equal(x, y) for x, y in held)
            assert layout_of([x for x, _ in held if isinstance(x, np.ndarray)]) == layout_of(
                [y for _, y in held if isinstance(y, np.ndarray)]
            )
    assert shelf.get("another key") is None


def test_whatever_decides_what_is_measured_is_in_its_key(frame, monkeypatch):
    keys = []

    class Shelf:
        def get(self, key):
            keys.append(key)

        def put(self, key, value):
            pass

    def ask(frame, **params):
        generator = StenosisGenerator(StenosisParams(**params))
        generator.memory.shelf = Shelf()
        generator._anatomy(frame)

    monkeypatch.setattr(FrameAnatomy, "of", lambda frame, width: "measured")
    ask(frame)
    ask(dataclasses.replace(frame, subject="another", source_id="another"))
    assert len(set(keys)) == 1
    image, mask = frame.image.copy(), frame.mask.copy()
    image[5, 5] ^= 1
    mask[5, 5] ^= True
    ask(dataclasses.replace(frame, image=image))
    ask(dataclasses.replace(frame, mask=mask))
    ask(dataclasses.replace(frame, lesions=(Lesion((1.0, 1.0, 9.0, 9.0)),)))
    ask(frame, min_width=9)
    assert len(set(keys)) == 5


def test_measuring_that_is_rotten_is_done_again(tmp_path, frame, measured):
    made_of = recipe(tmp_path / "a", frame)
    first = made(made_of, tmp_path / "b")
    for path in entries(tmp_path):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    measured.clear()
    assert made(made_of, tmp_path / "c") == first
    assert len(measured) == 2


def test_a_generator_of_somebody_else_s_may_call_anything_its_memory(tmp_path):
    pipeline = Pipeline(toy())
    pipeline.generator.memory = {"of": "its own"}
    Maker(pipeline, kept=True)
    assert pipeline.generator.memory == {"of": "its own"}
    assert cache.usable() == tmp_path / "cache"
