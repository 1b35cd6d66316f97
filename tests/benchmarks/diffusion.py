"""Images a second of the diffusion backend and of diffusers' stock pipeline with two controls.

``python -m tests.benchmarks.diffusion [--device cuda] [--base FOLDER]``. Both load the same Stable Diffusion folder
(random weights of its size without ``--base``: speed does not depend on them) and the same fresh controls, and make the
same number of denoising steps with the same guidance. Stock works on whole frames, one at a time, as its documentation
shows it; ours on crops around the box, batched, in bfloat16 and compiled on a GPU. On a CPU the networks are shrunk to
nothing: that shows that all runs, and what cropping alone gives.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lesionforge.generators.stenosis.diffusion import DiffusionEditor
from lesionforge.generators.stenosis.diffusion.model import StenosisModel
from lesionforge.generators.stenosis.diffusion.preset import PRESETS
from lesionforge.generators.stenosis.editor import FrameNarrowing
from lesionforge.generators.stenosis.texture import Texture
from lesionforge.generators.types import stream
from tests.benchmarks.common import Row, goal, goals, table
from tests.jobs.fit.stable_diffusion import write

GUIDANCE = 3.0
GOAL = 4.0


def narrowing(frame: int) -> FrameNarrowing:
    """A lesion of usual size in the middle of an upright vessel, for frames of this side."""
    middle, n = frame // 2, 41
    rows = np.arange(n) - n // 2
    mask = np.zeros((frame, frame), bool)
    mask[:, middle - 5 : middle + 6] = True
    return FrameNarrowing(
        points=np.stack([np.full(n, float(middle)), middle + rows], axis=1),
        normals=np.tile([1.0, 0.0], (n, 1)),
        diameter=np.full(n, 11.0),
        keep=np.where(abs(rows) < 16, 0.65 - 0.35 * np.cos(np.pi * rows / 16), 1.0),
        shift=np.zeros(n),
        at=n // 2,
        depth=0.0,
        percent_ds=70.0,
        severity="severe",
        psf_sigma=0.8,
        texture=Texture(np.eye(16), None),
        edit_box=(middle - 18, middle - 22, middle + 18, middle + 22),
        mask=mask,
    )


def stock(
    model: StenosisModel, device: str, dtype: Any, image: Any, lesion: FrameNarrowing, steps: int, batch: int = 1
) -> Any:
    """The pipeline as a function without arguments that makes a batch of images and returns one, uint8 (rows, cols)."""
    from diffusers import StableDiffusionControlNetInpaintPipeline
    from PIL import Image

    model.to(device, dtype)
    pipe = StableDiffusionControlNetInpaintPipeline(
        vae=model.vae,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        unet=model.unet,
        controlnet=model.controls,
        scheduler=model.schedule,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(device)
    pipe.set_progress_bar_config(disable=True)
    hole = np.zeros(image.shape, np.uint8)
    x0, y0, x1, y1 = lesion.edit_box
    hole[y0:y1, x0:x1] = 255
    colour = Image.fromarray(image).convert("RGB")
    shown = np.where(hole > 0, np.float32(-1), image / np.float32(255))
    hints = [
        torch.from_numpy(np.tile(a[None, None], (batch, 3, 1, 1))) for a in (shown, lesion.narrowed.astype(np.float32))
    ]

    def make() -> Any:
        made = pipe(
            ["coronary angiogram, severe stenosis"] * batch,
            image=[colour] * batch,
            mask_image=[Image.fromarray(hole)] * batch,
            control_image=hints,
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            strength=1.0,
        )
        return np.asarray(made.images[0].convert("L"))

    return make


def measure(quick: bool, device: str = "cpu", base: Path | None = None) -> dict[str, Any]:
    """Images a second, and the share of pixels outside the box that changed."""
    cuda = device.startswith("cuda")
    frame, steps, rounds = 512, (50 if cuda else 3), (1 if quick else 3)
    image = np.random.default_rng(0).integers(90, 170, (frame, frame), dtype=np.uint8)
    lesion = narrowing(frame)
    with tempfile.TemporaryDirectory() as scratch:
        folder = base or write(Path(scratch) / "base", full=cuda)
        model = StenosisModel.on_stable_diffusion(PRESETS["sd15"], folder, seed=0)
        fitted = Path(scratch) / "fitted"
        model.save(fitted)
        rows: list[Row] = []
        kinds = {"stock": torch.float32, "stock, bf16": torch.bfloat16} if cuda else {"stock": torch.float32}
        for name, dtype in kinds.items():
            make = stock(model, device, dtype, image, lesion, steps)
            out = np.where(hidden(lesion), image, make())  # warm
            rows.append(_row(name, frame, 1, _seconds(make, rounds, cuda), (out != image).mean()))
        del model, make
        choices: list[tuple[str, int, bool]] = [("ours", 1, False)]
        choices += [("ours, batched", 16, False), ("ours, batched, compiled", 16, True)] if cuda else []
        for name, batch, compiled in choices:
            editor = DiffusionEditor(fitted, steps=steps, guidance=GUIDANCE, batch=batch, compile=compiled)
            editor.prepare(device)
            count = max(batch, 2)

            def run(editor: DiffusionEditor = editor, count: int = count) -> Any:
                return editor.edit([image] * count, [lesion] * count, [stream(b"bench", str(n)) for n in range(count)])

            patch = run()[0]
            out = image.copy()
            x0, y0, x1, y1 = lesion.edit_box
            out[y0:y1, x0:x1] = patch
            changed = (np.where(hidden(lesion), image, out) != image).mean()
            rows.append(_row(name, editor.crop, batch, _seconds(run, rounds, cuda) / count, changed))
    ratio = max(r["rate"] for r in rows if r["name"].startswith("ours")) / rows[0]["rate"]
    best = (
        f"fastest of ours over stock: {ratio:.1f} x (goal {GOAL:g} x on a GPU, at {steps} steps, frames of {frame} px)"
    )
    kept = max(r["changed"] for r in rows if r["name"].startswith("ours"))
    return {
        "device": torch.cuda.get_device_name() if cuda else "cpu, toy networks",
        "steps": steps,
        "frame": frame,
        "rows": rows,
        "ratio": ratio,
        "goals": [
            *([goal(best, ratio >= GOAL)] if cuda else []),
            goal("ours changes no pixel outside the box", kept == 0),
        ],
    }


def hidden(lesion: FrameNarrowing) -> Any:
    """True in the edit box."""
    inside = np.zeros(lesion.mask.shape, bool)
    x0, y0, x1, y1 = lesion.edit_box
    inside[y0:y1, x0:x1] = True
    return inside


def _seconds(make: Any, rounds: int, cuda: bool) -> float:
    """Median time of a call: wall clock on a GPU, else CPU seconds, which other people's jobs do not stretch."""
    clock = time.perf_counter if cuda else time.process_time
    times = []
    for _ in range(rounds):
        begun = clock()
        make()
        if cuda:
            torch.cuda.synchronize()
        times.append(clock() - begun)
    return float(np.median(times))


def _row(name: str, size: int, batch: int, seconds: float, changed: Any) -> Row:
    return {"name": name, "size": size, "batch": batch, "rate": 1 / seconds, "changed": float(changed)}


def text(result: dict[str, Any]) -> str:
    """The table for people."""
    title = f"{result['device']}: frames of {result['frame']} px, {result['steps']} steps, guidance {GUIDANCE:g}"
    columns = {"name": "", "size": "px made", "batch": "batch", "rate": "images/s", "changed": "changed outside"}
    return (
        table(title, columns, result["rows"]) + f"ours over stock: {result['ratio']:.1f} x\n" + goals(result["goals"])
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.diffusion", description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--base", type=Path, help="a local Stable Diffusion folder")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    from tests.benchmarks.__main__ import say

    say(text(measure(asked.quick, asked.device, asked.base)))


if __name__ == "__main__":
    main()
