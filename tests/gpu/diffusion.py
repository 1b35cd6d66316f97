"""The diffusion stenosis backend against diffusers' stock pipeline: the same pixels of the same noise, and how fast."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from tests.gpu.part import Asked, Report

NEEDS = ("torch", "diffusers", "transformers", "tokenizers", "safetensors", "accelerate", "PIL", "scipy")
SHARE = 0.17
STEPS, FRAME, BATCH = 20, 512, 16
CLOSE = 2e-3  # of pixels -1 to 1
FASTER = 4.0  # than the stock pipeline on whole frames in float32, as its documentation shows it


def run(asked: Asked, report: Report) -> None:
    import torch

    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False  # else equality would be of its ten bits
    _equal(asked.device, report)
    torch.backends.cudnn.allow_tf32 = before
    _speed(asked, report)


def base(device: str, full: bool) -> Any:
    """Stable Diffusion 1.5 with two fresh controls, random weights, made where it is used: never written or read."""
    import torch
    from diffusers import DDIMScheduler
    from transformers import AutoTokenizer

    from lesionforge.generators.diffusion.model import fresh_weights
    from lesionforge.generators.stenosis.diffusion.model import StenosisModel, _controls
    from lesionforge.generators.stenosis.diffusion.preset import PRESETS
    from tests.jobs.fit.stable_diffusion import networks, write

    preset = PRESETS["sd15"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = write(Path(scratch))
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        schedule = DDIMScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
    with torch.device(device), fresh_weights(0):
        unet, vae, text = networks(full)
        controls = _controls(unet, preset.hint, channels=3)
    model = StenosisModel(preset.settings, unet, controls, text, tokenizer, vae, schedule)
    for _, network in model.networks():
        network.eval().requires_grad_(False)
    return model


def _equal(device: str, report: Report) -> None:
    """A whole frame made by both from one noise, the controls awake: stock composites other first steps outside."""
    import torch
    from diffusers import StableDiffusionControlNetInpaintPipeline as Stock
    from PIL import Image

    from lesionforge.generators.stenosis.diffusion.sample import StenosisSampler

    model, side, guidance, words = base(device, full=False), 64, 3.0, "coronary angiogram, severe stenosis"
    generator = torch.Generator().manual_seed(0)
    for p in model.controls.parameters():
        p += 0.05 * torch.randn(p.shape, generator=generator).to(device)
    model.to(device)
    image = np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)
    mask, hole = torch.zeros(1, 1, side, side), torch.ones(1, 1, side, side)
    mask[..., side // 2 - 5 : side // 2 + 5] = 1
    noise = torch.randn(1, *model.shape(side), generator=generator)
    grey = torch.from_numpy(image)[None, None].float() / 127.5 - 1
    batch = {"image": grey, "shown": -hole, "mask": mask, "hole": hole, "noise": noise}
    batch = {name: part.to(device) for name, part in batch.items()}
    ours = StenosisSampler(5, guidance)(model, {**batch, "prompt": [words]})
    stock = Stock(
        vae=model.vae, text_encoder=model.text_encoder, tokenizer=model.tokenizer, unet=model.unet,
        controlnet=model.controls, scheduler=model.schedule, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    stock.set_progress_bar_config(disable=True)
    theirs = stock(
        words, image=Image.fromarray(image).convert("RGB"), mask_image=Image.fromarray(np.full_like(image, 255)),
        control_image=[batch[name].expand(-1, 3, -1, -1) for name in ("shown", "mask")], latents=batch["noise"],
        num_inference_steps=5, guidance_scale=guidance, strength=1.0, output_type="latent",
        controlnet_conditioning_scale=1.0,  # its own default is a half
    ).images  # fmt: skip
    apart = float((ours - model.decode(theirs)).abs().max())
    again = StenosisSampler(5, guidance)(model, {**batch, "prompt": [words]})
    report.check(
        "the same noise gives the stock pipeline's pixels", apart < CLOSE, apart=apart, spread=float(ours.std())
    )
    report.check("the same noise gives the same pixels twice", torch.equal(ours, again))


def _speed(asked: Asked, report: Report) -> None:
    import torch

    from lesionforge.generators.stenosis.diffusion import DiffusionEditor
    from lesionforge.generators.stenosis.diffusion.model import StenosisModel
    from lesionforge.generators.types import stream
    from tests.benchmarks.common import table
    from tests.benchmarks.diffusion import GUIDANCE, hidden, narrowing, stock
    from tests.gpu.part import say

    frame, steps, batch = (128, 2, 2) if asked.toy else (FRAME, STEPS, BATCH)
    model = base(asked.device, full=not asked.toy)
    crop = frame // 2 if asked.toy else model.settings.crop
    half = torch.bfloat16 if asked.cuda else torch.float32
    rng = np.random.default_rng(0)
    images = {side: rng.integers(90, 170, (side, side), dtype=np.uint8) for side in (frame, crop)}
    report.body["speed"] = []
    kinds = {"stock": (frame, 1, torch.float32), "stock, bf16": (frame, 1, half), "stock, crops": (crop, 1, half)}
    kinds["stock, crops, batched"] = (crop, batch, half)
    for name, (side, count, dtype) in kinds.items():
        make = stock(model, asked.device, dtype, images[side], narrowing(side), steps, count)
        _row(report, name, side, count, _seconds(make, asked), asked)
    del make
    image, lesion = images[frame], narrowing(frame)
    with mock.patch.object(StenosisModel, "load", return_value=model):
        editor = DiffusionEditor("none", steps=steps, guidance=GUIDANCE, batch=batch)
        editor.prepare(asked.device)
    editor.crop = crop

    def edit() -> Any:
        return editor.edit([image] * batch, [lesion] * batch, [stream(b"gpu", str(n)) for n in range(batch)])

    _row(report, "ours", crop, batch, _seconds(edit, asked), asked)
    first, again = edit(), edit()
    same = all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    report.check("ours makes the same bytes twice", same)
    out = image.copy()
    x0, y0, x1, y1 = lesion.edit_box
    out[y0:y1, x0:x1] = first[0]
    report.check("ours changes no pixel outside the box", not (out != image)[~hidden(lesion)].any())
    columns = {"name": "", "side": "px made", "batch": "batch", "rate": "images/s", "gib": "GiB"}
    say(table(f"  {steps} steps, guidance {GUIDANCE:g}, frames of {frame} px", columns, report.body["speed"]).rstrip())
    rates = {row["name"]: row["rate"] for row in report.body["speed"]}
    report.body["ours over"] = {name: rates["ours"] / rates[name] for name in kinds}
    if asked.cuda:
        ratio = rates["ours"] / rates["stock"]
        report.check(f"ours makes {FASTER:g} times the stock pipeline's images", ratio >= FASTER, ratio=ratio)


def _row(report: Report, name: str, side: int, batch: int, seconds: float, asked: Asked) -> None:
    import torch

    gib = torch.cuda.max_memory_allocated() / 2**30 if asked.cuda else None
    report.row("speed", name=name, side=side, batch=batch, rate=batch / seconds, gib=gib)
    if asked.cuda:
        torch.cuda.reset_peak_memory_stats()


def _seconds(make: Callable[[], Any], asked: Asked) -> float:
    """The fastest of two calls after a first one that nobody times."""
    import torch

    times = []
    for _ in range(1 if asked.toy else 3):
        begun = time.perf_counter()
        make()
        if asked.cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return min(times[1:] or times)
