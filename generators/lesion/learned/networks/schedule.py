"""The noise schedule: one object, from which training and sampling take every noise level (seeds' defect G2)."""

from __future__ import annotations

import math
from typing import Any

from diffusers import DDIMScheduler

OFFSET = 0.008
LARGEST = 0.9999


def cosine(levels: int) -> Any:
    """Cosine schedule (Nichol & Dhariwal 2021) as a diffusers ``DDIMScheduler`` that predicts noise.

    Its betas are cut at ``LARGEST``; predicted images are cut to -1 ... 1. With ``eta`` 1, all levels and
    ``use_clipped_model_output`` its step is DDPM's ancestral one.

    Args:
        levels: number of noise levels, T.
    """

    def signal(t: float) -> float:
        return math.cos((t / levels + OFFSET) / (1 + OFFSET) * math.pi / 2) ** 2

    betas = [min(1 - signal(t + 1) / signal(t), LARGEST) for t in range(levels)]
    return DDIMScheduler(
        num_train_timesteps=levels, trained_betas=betas, clip_sample=True, set_alpha_to_one=True,
        prediction_type="epsilon", timestep_spacing="trailing",
    )  # fmt: skip
