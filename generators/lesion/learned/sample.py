"""Sampling: from noise, or from the background on its way to noise, back to an image with a lesion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lesionforge.generators.lesion.learned.model import Model


@dataclass(frozen=True)
class Sampler:
    """How to sample; the fields are those of ``Settings``.

    ``promptlesion`` puts the background back outside the hole at every step, at that step's noise level (RePaint,
    Lugmayr et al. 2022). DiffTumor and Med-DDPM, as published, let their network make all of it.
    """

    steps: int
    strength: float = 1.0
    guidance: float = 1.0

    def __call__(self, model: Model, batch: Mapping[str, Any], draw: Callable[[], Any]) -> Any:
        """Volumes (n, 1, f, h, w), -1 ... 1, of a batch of ``crop.views``.

        Args:
            model: the networks.
            batch: the cubes.
            draw: gives the next standard normal noise (n, c, f, h, w) of what is diffused.
        """
        import torch

        schedule, levels = model.schedule, model.settings.levels
        if schedule is None:
            raise ValueError(f"{model.settings.backend} is no diffusion model")
        ancestral = self.steps == levels
        with torch.no_grad():
            free = model.free(batch["hole"]) > 0
            source = model.encode(batch["image"])
            condition = model.condition(batch)
            schedule.set_timesteps(self.steps, device=source.device)
            # Any strength above 0 is one step at least; none leaves the background as the autoencoder has it.
            turns = max(1, round(self.steps * self.strength)) if self.strength else 0
            times = schedule.timesteps[self.steps - turns :]
            noise = draw()
            inside = noise if self.strength == 1 else self._noised(model, source, noise, times[0]) if turns else source
            for time in times:
                if model.settings.prompted:
                    inside = torch.where(free, inside, self._noised(model, source, noise, time))
                out = self._predict(model, inside, time.expand(len(noise)), condition, batch)
                fresh = draw() if ancestral and time > 0 else None
                inside = schedule.step(
                    out, time, inside, eta=float(fresh is not None), use_clipped_model_output=True, variance_noise=fresh
                ).prev_sample
            if model.settings.prompted:
                inside = torch.where(free, inside, source)
            return model.decode(inside)

    @staticmethod
    def _noised(model: Model, source: Any, noise: Any, time: Any) -> Any:
        return model.schedule.add_noise(source, noise, time.expand(len(noise)))

    def _predict(self, model: Model, noisy: Any, time: Any, condition: Any, batch: Mapping[str, Any]) -> Any:
        import torch

        asked = model.predict(noisy, time, condition, batch)
        if self.guidance == 1 or model.prompt is None:
            return asked
        nothing = model.predict(noisy, time, condition, batch, drop=torch.ones_like(batch["drop"]))
        return nothing + self.guidance * (asked - nothing)


def stacked(rows: Any, device: str) -> dict[str, Any]:
    """Cubes of ``crop.views`` as one batch of tensors."""
    import numpy as np
    import torch

    return {name: torch.from_numpy(np.stack([row[name] for row in rows])).to(device) for name in rows[0]}
