"""Denoising by a diffusers ``DDIMScheduler``: its steps, what is put back at each of them, the prompt's guidance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

OFFSET = 0.008
LARGEST = 0.9999


def cosine(levels: int, prediction: str = "epsilon", ends: float = 1.0) -> Any:
    """Cosine schedule (Nichol & Dhariwal 2021) as a diffusers ``DDIMScheduler``.

    Its betas are cut at ``LARGEST``; predicted images are cut to -1 ... 1. With ``eta`` 1, all levels and
    ``use_clipped_model_output`` its step is DDPM's ancestral one.

    Args:
        levels: number of noise levels, T.
        prediction: what the network says: ``epsilon``, the noise, or ``sample``, the clean image.
        ends: what predicted images are cut to in place of 1.
    """
    from diffusers import DDIMScheduler

    def signal(t: float) -> float:
        return math.cos((t / levels + OFFSET) / (1 + OFFSET) * math.pi / 2) ** 2

    betas = [min(1 - signal(t + 1) / signal(t), LARGEST) for t in range(levels)]
    return DDIMScheduler(
        num_train_timesteps=levels, trained_betas=betas, set_alpha_to_one=True,
        clip_sample=True, clip_sample_range=ends, prediction_type=prediction, timestep_spacing="trailing",
    )  # fmt: skip


def denoise(
    schedule: Any,
    times: Iterable[Any],
    start: Any,
    predict: Callable[[Any, Any], Any],
    source: Any = None,
    noise: Any = None,
    free: Any = None,
    draw: Callable[[], Any] | None = None,
    clipped: bool = False,
) -> Any:
    """From noisy latents to clean ones, (n, c, ...).

    Args:
        schedule: a ``DDIMScheduler`` whose ``set_timesteps`` was called.
        times: the noise levels to go through, of ``schedule.timesteps``.
        start: latents at the first level.
        predict: gives the schedule's prediction type for latents and their levels (n,).
        source, noise: where ``free`` is given: clean latents of the source and one noise image per sample.
        free: bool of the latents; outside it the source is put back before each step at that step's noise level, and
            clean at the end (RePaint, Lugmayr et al. 2022). None: all is made.
        draw: gives fresh noise for each step but the last (ancestral, DDPM). None: DDIM without fresh noise (Song et
            al. 2021), a deterministic function of ``start``.
        clipped: work out the noise again from a prediction that was cut to -1 ... 1.
    """
    import torch

    latents = start
    for time in times:
        levels = time.expand(len(latents))
        if free is not None:
            latents = torch.where(free, latents, schedule.add_noise(source, noise, levels))
        out = predict(latents, levels)
        fresh = draw() if draw is not None and time > 0 else None
        latents = schedule.step(
            out, time, latents, eta=float(fresh is not None), use_clipped_model_output=clipped, variance_noise=fresh
        ).prev_sample
    return latents if free is None else torch.where(free, latents, source)


def guided(prompted: Any, unprompted: Any, weight: float) -> Any:
    """Classifier-free guidance (Ho & Salimans 2022): 0 forgets the prompt, 1 takes it as it is, more exaggerates it."""
    return unprompted + weight * (prompted - unprompted)
