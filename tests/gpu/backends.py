"""Every network of the package on the device: two steps of what learns, one draw of what makes, as the CPU has them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.gpu.part import Asked, MissingError, Report, missing, need

NEEDS = ("torch", "safetensors")
SHARE = 0.1

Make = Callable[[str, Path], Mapping[str, Any]]  # device, a folder of its own -> arrays to compare by name

CLOSE = 2e-3  # relative norm of a difference, in float32
HALF = 5e-2  # the same where a GPU works in bfloat16
STEPS = 2


def run(asked: Asked, report: Report) -> None:
    for name, (needs, tolerance, fixed, make) in backends().items():
        try:
            need(*needs)
            _compare(asked.device, report, name, tolerance, fixed, make)
        except MissingError as error:
            report.skip(name, str(error))
        except Exception as error:
            if lacks := missing(error):
                report.skip(name, lacks)
                continue
            report.check(name, False, error=f"{type(error).__name__}: {str(error)[:300]}")


def backends() -> dict[str, tuple[tuple[str, ...], float, bool, Make]]:
    """By name: modules it needs, how near it must be to the CPU, and whether it makes the same bytes each time.

    What makes pixels does (promise P1); a training adds gradients in any order.
    """
    from lesionforge.generators.lesion.learned.settings import BACKENDS
    from lesionforge.jobs.tasks.reconstruction.settings import LEARNERS

    diffusers, learning = ("diffusers", "scipy"), ("accelerate", "rich", "scipy", "skimage")
    out: dict[str, tuple[tuple[str, ...], float, bool, Make]] = {
        "makes: stenosis": ((*diffusers, "transformers", "tokenizers"), HALF, True, _stenosis),
        **{f"makes: {name}": (diffusers, CLOSE, True, _lesion(name)) for name in BACKENDS},
        "fits: stenosis": ((*diffusers, *learning, "transformers", "pydantic"), CLOSE, False, _fit_stenosis),
        "fits: vqgan": ((*diffusers, *learning, "monai", "pydantic"), CLOSE, False, _fit_vqgan),
        "learns: detection, centre": ((*learning, "torchvision"), HALF, False, _centre),
        "learns: detection, YOLO": ((*learning, "ultralytics"), HALF, False, _yolo),
        "learns: segmentation": ((*learning, "monai"), HALF, False, _segmentation),
    }
    classes = {where: name for name, (where, own) in reversed(LEARNERS.items()) if hasattr(own(), "steps")}
    for name in reversed(classes.values()):
        out[f"learns: reconstruction, {name}"] = (*learning, "annotated_types"), HALF, False, _reconstruction(name)
    return out


def _compare(device: str, report: Report, name: str, tolerance: float, fixed: bool, make: Make) -> None:
    """Against the CPU, and against itself once more; on a CPU, that it runs."""
    places = ("cpu",) if device == "cpu" else ("cpu", device, device)
    with _exact(), tempfile.TemporaryDirectory() as scratch:
        cpu, *there = (make(where, Path(scratch) / str(n)) for n, where in enumerate(places))
    finite = all(np.isfinite(np.asarray(part, np.float64)).all() for part in cpu.values())
    if not there:
        report.check(name, finite)
        return
    first, again = there
    apart = max(_apart(first[key], cpu[key]) for key in cpu)
    twice = max(_apart(first[key], again[key]) for key in cpu)
    met = finite and apart <= tolerance and (twice == 0 if fixed else twice <= tolerance)
    report.check(name, met, from_cpu=apart, from_itself=twice)


def _apart(a: Any, b: Any) -> float:
    a, b = (np.asarray(part, np.float64) for part in (a, b))
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-12)) if np.isfinite(a).all() else np.inf


@contextmanager
def _exact() -> Iterator[None]:
    """float32 is float32: a GPU would take ten bits of its products, and then another code of a codebook."""
    import torch

    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


# -- what makes


def _stenosis(device: str, folder: Path) -> Mapping[str, Any]:
    from lesionforge.generators.stenosis.diffusion import DiffusionEditor
    from lesionforge.generators.stenosis.diffusion.model import StenosisModel
    from lesionforge.generators.stenosis.diffusion.preset import PRESETS
    from lesionforge.generators.types import stream
    from tests.benchmarks.diffusion import narrowing

    StenosisModel.new(PRESETS["tiny"], seed=0).save(folder)
    editor = DiffusionEditor(folder, batch=2)
    editor.prepare(device)
    image = np.random.default_rng(0).integers(90, 170, (96, 96), dtype=np.uint8)
    made = editor.edit([image] * 3, [narrowing(96)] * 3, [stream(b"gpu", str(n)) for n in range(3)])
    return {"pixels": np.stack(made)}


def _lesion(backend: str) -> Make:
    def make(device: str, folder: Path) -> Mapping[str, Any]:
        from lesionforge.generators.lesion.learned import LearnedFiller
        from lesionforge.generators.types import stream
        from tests.generators.lesion.learned.conftest import new
        from tests.jobs.fit.balls import patch

        new(backend).save(folder)
        filler = LearnedFiller(folder, backend, batch=2)
        filler.prepare(device)
        patches = [patch("calcified", stream(b"tissue", str(n))) for n in range(3)]
        made = filler.fill(patches, [stream(b"gpu", str(n)) for n in range(3)])
        return {"HU": np.stack(made)}

    return make


# -- what learns


def _fit_stenosis(device: str, folder: Path) -> Mapping[str, Any]:
    from lesionforge.generators.stenosis.diffusion.model import StenosisModel
    from lesionforge.generators.stenosis.diffusion.preset import PRESETS
    from lesionforge.jobs.fit.stenosis import StenosisFit, fit_stenosis
    from tests.jobs.fit.toy import SIDE, Toy

    model = StenosisModel.new(PRESETS["tiny"], seed=0)
    toy, losses = Toy(model.shape(SIDE)), list[float]()
    asked = StenosisFit(data=(), out=str(folder), preset="tiny", device=device, **_SHORT)
    fit_stenosis(asked, model, (toy, toy), lambda *told: losses.append(told[2]))
    return {"losses": losses}


def _fit_vqgan(device: str, folder: Path) -> Mapping[str, Any]:
    from lesionforge.generators.lesion.learned.settings import PRESETS
    from lesionforge.jobs.fit.lesion import LesionFit, fit_lesion, new_model
    from tests.jobs.fit.balls import SPACING, Balls

    asked = LesionFit(kind="vqgan", data=(), out=str(folder), preset="tiny", device=device, adversarial=1, **_SHORT)
    balls, losses = Balls(PRESETS["tiny"].side), list[float]()
    fit_lesion(asked, new_model(asked, set(), SPACING), (balls, balls), lambda *told: losses.append(told[2]))
    return {"losses": losses}


_SHORT: dict[str, Any] = {"steps": STEPS, "every": STEPS, "batch": 2, "precision": "float32", "loaders": 0}


def _centre(device: str, folder: Path) -> Mapping[str, Any]:
    from lesionforge.jobs.tasks.detection.centre import CentreDetector, CentreSettings

    return _learnt(CentreDetector(CentreSettings(steps=STEPS, batch=2), device), _frames())


def _yolo(device: str, folder: Path) -> Mapping[str, Any]:
    from lesionforge.jobs.tasks.detection.yolo import YoloDetector, YoloSettings

    settings = YoloSettings(epochs=STEPS, epoch_frames=4, batch=4, size=64, mosaic=0.0)
    return _learnt(YoloDetector(settings, device), _frames())


def _frames() -> Any:
    from lesionforge.jobs.tasks.detection.frames import Frame

    rng = np.random.default_rng(0)
    labels = np.array([[40, 40, 70, 70]], np.float32), np.array([1]), np.array([False])
    return [Frame(rng.integers(60, 180, (128, 128), dtype=np.uint8), *labels, str(n), str(n)) for n in range(4)]


def _segmentation(device: str, folder: Path) -> Mapping[str, Any]:
    from lesionforge.jobs.tasks.segmentation.scans import Scan
    from lesionforge.jobs.tasks.segmentation.segmenter import Segmenter
    from lesionforge.jobs.tasks.segmentation.settings import Settings

    settings = Settings("dynunet", (4, 8, 8), patch=16, batch=2, steps=STEPS, rate=1e-3, warmup=1)
    rng, target = np.random.default_rng(0), np.zeros((24,) * 3, np.uint8)
    target[8:16, 8:16, 8:16] = 1
    hu = (rng.normal(40, 20, target.shape) + 200 * target).astype(np.int16)
    scan = Scan(hu, target, (1.0, 1.0, 1.0), "a", "a")
    return _learnt(Segmenter(settings, "ccta", device), [scan], scan)


def _reconstruction(name: str) -> Make:
    def make(device: str, folder: Path) -> Mapping[str, Any]:
        """What the CPU's network says there; that it learns there is all that can be said of noise drawn there."""
        from tests.gpu.reconstruction import of_size

        task, pairs = _trees()
        settings = replace(of_size(task, name, toy=True), steps=STEPS, warmup=1, batch=2)
        told = {place: task.learner(settings, place) for place in dict.fromkeys(("cpu", device))}
        for learner in told.values():
            learner.fit(pairs, [], 1.0, 0)
        folder.mkdir(parents=True)
        told["cpu"].save(folder / "model")
        own = told[device].predict(pairs[0])
        assert np.isfinite(own).all(), f"trained on {device}, it says what is no number"
        return {"predicted": task.load(folder / "model", device)[1].predict(pairs[0])}

    return make


@cache
def _trees() -> tuple[Any, Any]:
    from lesionforge.jobs.tasks.reconstruction.task import Reconstruction
    from tests.gpu.reconstruction import TOY
    from tests.gpu.trees import Made

    size, *sizes = TOY
    task = Reconstruction(size=size)
    trees = Made(6, "train", task, *sizes)
    return task, [trees[n] for n in (0, 2, 5)]


def _learnt(learner: Any, items: Any, shown: Any = None) -> Mapping[str, Any]:
    losses = list[float]()
    learner.fit(items, [], 1.0, 0, progress=lambda *told: losses.append(told[2]))
    return {"losses": losses} if shown is None else {"losses": losses, "predicted": learner.predict(shown)}
