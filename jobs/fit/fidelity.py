"""What an autoencoder makes of each tissue's HU."""

from __future__ import annotations

from typing import Any

import numpy as np

from lesionforge.generators.diffusion.batches import stacked
from lesionforge.generators.lesion.learned.crop import hounsfield
from lesionforge.jobs.learning.loop import Items

CUBES = 64
TISSUES = {  # by the HU that went in
    "air and lung": (-2000, -300),
    "fat": (-300, -30),
    "soft tissue": (-30, 130),
    "contrast": (130, 550),
    "calcium": (550, 4000),
}


def errors(model: Any, items: Items, device: str, count: int = CUBES) -> dict[str, dict[str, float]]:
    """By tissue, over the first ``count`` cubes: how many voxels, mean absolute error and bias (made less given), HU.

    What the model's window cuts off counts as the window's edge: its own loss comes on top of these.
    """
    import torch

    own = model.settings
    given, made = [], []
    with torch.no_grad():
        for number in range(count):
            image = stacked([items[number]], device)["image"]
            given.append(hounsfield(image.cpu().numpy(), own.window, own.bend_hu).ravel())
            again = model.decode(model.encode(image)).clamp(-1, 1).cpu().numpy()
            made.append(hounsfield(again, own.window, own.bend_hu).ravel())
    before, off = np.concatenate(given), np.concatenate(made) - np.concatenate(given)
    out = {}
    for name, (low, high) in TISSUES.items():
        if (here := (before >= low) & (before < high)).any():
            one = off[here]
            out[name] = {"voxels": int(here.sum()), "error": float(np.abs(one).mean()), "bias": float(one.mean())}
    return out


def told(found: dict[str, dict[str, float]]) -> str:
    """In one line."""
    parts = [f"{name} {one['error']:.0f} ({one['bias']:+.0f})" for name, one in found.items()]
    return "mean absolute error of what comes back, HU (bias): " + ", ".join(parts)
