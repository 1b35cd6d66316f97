"""Learned lesion backends at the published size, random weights: seconds a cube, and memory of a clinical volume.

``python -m tests.benchmarks.lesion_networks [--device cuda] [--threads 2]``. Beside ours stand the seconds that
DiffTumor's own code took on a CPU (measured once on another machine: orders of magnitude alone can be compared) and,
in turns on this machine, its way of looking codes up: all distances at once, then a one-hot product.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from lesionforge.generators.diffusion.batches import stacked
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.lesion.learned.crop import views
from lesionforge.generators.lesion.learned.model import LesionModel, networks
from lesionforge.generators.lesion.learned.settings import BACKENDS, PRESETS, LesionSettings
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.types import Rejected, SampleSpec, Volume
from tests.benchmarks.common import Row, alternate, goal, goals, median, table

CLASSES = ("healthy", "liver_early", "liver_late", "kidney_early", "kidney_late", "pancreas_early", "pancreas_late")
REFERENCE = {"encode": 1.4, "decode": 24.6, "U-Net": 5.0}  # DiffTumor's, 96^3, on a CPU
SHAPE, SPACING = (512, 512, 300), (0.8, 0.8, 1.0)
BOUND = {"texture": 512, "promptlesion": 1024}  # MiB of host memory beside the volume itself


def model(backend: str, preset: str, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> LesionModel:
    """Random weights."""
    sizes = PRESETS[preset]
    own = LesionSettings(
        backend, sizes.side, (-175.0, 250.0), spacing, networks(backend, sizes, len(CLASSES)), CLASSES,
        preset=preset, levels=4, steps=2, strength=0.5 if backend.startswith("prompt") else 1.0,
    )  # fmt: skip
    made = LesionModel.new(own, 0)
    for _, network in made.networks():
        network.eval().requires_grad_(False)
    return made


def seconds(backend: str, preset: str, device: str, rounds: int) -> Row:
    """Medians of each stage of one cube."""
    import torch

    made = model(backend, preset).to(device)
    side = made.settings.side
    hu = np.random.default_rng(0).normal(60, 20, (side,) * 3)
    hole = np.zeros(hu.shape, bool)
    hole[side // 4 : side // 2, side // 4 : side // 2, side // 4 : side // 2] = True
    region = np.zeros((len(CLASSES), *hu.shape), np.uint8)
    batch = stacked([views(hu, hole, region, 1, made.settings.window)], device)
    latent = torch.zeros((1, *made.shape()), device=device)
    condition, now = made.condition(batch), torch.zeros(1, dtype=torch.long, device=device)
    stages: dict[str, Callable[[], Any]] = {"U-Net": lambda: made.predict(latent, now, condition, batch)}
    if made.vqgan is not None:
        stages |= {"encode": lambda: made.encode(batch["image"]), "decode": lambda: made.decode(latent)}
        rows = torch.randn(latent[0, 0].numel(), latent.shape[1], device=device)
        codes = torch.randn(made.settings.networks["vqgan"]["n_codes"], latent.shape[1], device=device)
        from lesionforge.generators.lesion.learned.networks.codebook import nearest

        def onehot() -> Any:
            far = (rows**2).sum(1, keepdim=True) - 2 * rows @ codes.T + (codes**2).sum(1)
            return torch.nn.functional.one_hot(far.argmin(1), len(codes)).float() @ codes

        stages |= {"lookup": lambda: codes[nearest(rows, codes)], "lookup, one-hot": onehot}

    def timed(call: Callable[[], Any]) -> float:
        begun = time.perf_counter()
        call()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    with torch.no_grad():
        if device.startswith("cuda"):
            for call in stages.values():
                call()
        found = alternate({name: lambda call=call: timed(call) for name, call in stages.items()}, rounds)
    return {"backend": f"{backend}, {side}^3", **{name: median(values) for name, values in found.items()}}


def clinical(shape: tuple[int, int, int]) -> Volume:
    """A liver in fat, with noise, of a clinical scan's size."""
    rng = np.random.default_rng(0)
    labels, hu = np.zeros(shape, np.uint8), np.empty(shape, np.int16)
    x, y = (np.linspace(-1, 1, n)[:, None] if a == 0 else np.linspace(-1, 1, n) for a, n in enumerate(shape[:2]))
    for k, z in enumerate(np.linspace(-1, 1, shape[2])):
        liver = (x / 0.5) ** 2 + (y / 0.5) ** 2 + (z / 0.7) ** 2 <= 1
        labels[:, :, k] = liver
        hu[:, :, k] = np.where(liver, 105, -95) + rng.normal(0, 10, shape[:2])
    return Volume("subject", "clinical", "none", hu, SPACING, (0.0,) * 3, labels, {1: "liver"})


def peak(backend: str, preset: str, shape: tuple[int, int, int], device: str) -> tuple[float, float]:
    """MiB that a sample takes beyond its volume at most, and seconds; in a process of its own."""
    params = LesionParams(size=128)
    with tempfile.TemporaryDirectory() as folder:
        if backend != "texture":
            model(backend, preset, SPACING).save(Path(folder))
            params = LesionParams(backend, folder, size=128, check_hu=False)  # type: ignore[arg-type]
        generator = LesionGenerator(params)
        generator.prepare(device)
        volume = clinical(shape)
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the making of all that
        before, begun = _status("VmRSS"), time.perf_counter()
        for attempt in range(30):
            spec = SampleSpec("s", "train", 0, 0, 0, "liver_late", hashlib.sha256(b"peak").digest(), attempt)
            try:
                next(iter(generator.generate([volume], [spec])))
            except Rejected:
                continue
            return (_status("VmHWM") - before) / 1024, time.perf_counter() - begun
    raise RuntimeError("no lesion could be placed")


def _status(name: str) -> int:
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if name in line)


def measure(quick: bool = False, device: str = "cpu", threads: int = 1) -> dict[str, Any]:
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(threads)
    preset, shape = ("tiny", (128, 128, 96)) if quick else ("paper", SHAPE)
    rows = [seconds(backend, preset, device, 1 if backend == "medddpm" else 3) for backend in BACKENDS]
    memory = []
    for backend in BOUND:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            took, spent = pool.submit(peak, backend, preset, shape, device).result()
        memory.append({"backend": backend, "mib": took, "bound": BOUND[backend], "s": spent})
    edge = " x ".join(map(str, shape))
    told = {m["backend"]: f"{m['backend']}: {m['mib']:.0f} of {m['bound']} MiB beyond {edge}" for m in memory}
    met = [goal(told[m["backend"]], m["mib"] <= m["bound"]) for m in memory]
    return {"preset": preset, "device": device, "threads": threads, "rows": rows, "memory": memory, "goals": met}


def text(result: dict[str, Any]) -> str:
    stages = ("encode", "decode", "U-Net", "lookup", "lookup, one-hot")
    rows = [*result["rows"], {"backend": "DiffTumor's own, 96^3, a CPU", **REFERENCE}]
    how = f"preset {result['preset']}, {result['device']}, {result['threads']} threads"
    out = table(f"Seconds a cube, {how}", {"backend": "", **{s: s for s in stages}}, rows)
    columns = {"backend": "", "mib": "MiB at most", "bound": "bound", "s": "s a sample"}
    return out + table("A clinical volume, size: 128", columns, result["memory"]) + goals(result["goals"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lesion_networks", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    sys.stdout.write(text(measure(asked.quick, asked.device, asked.threads)))


if __name__ == "__main__":
    main()
