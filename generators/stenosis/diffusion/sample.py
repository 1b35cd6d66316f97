"""DDIM sampling of the hidden box: every step, what lies outside it is put back at that step's noise level.

Outside and inside share one noise image: there DDIM follows exactly the path that ends in the source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.diffusion.sampling import denoise, guided
from lesionforge.generators.stenosis.diffusion.model import StenosisModel
from lesionforge.generators.stenosis.diffusion.prompt import EMPTY


@dataclass(frozen=True)
class StenosisSampler:
    """How to sample.

    Attributes:
        steps: denoising steps.
        guidance: of the prompt against the empty prompt; 1 takes the prompt as it is.
        strength: factors of the two controls (image with a hole, vessel mask).
    """

    steps: int
    guidance: float = 1.0
    strength: tuple[float, float] = (1.0, 1.0)

    def __call__(self, model: StenosisModel, batch: Mapping[str, Any]) -> Any:
        """Crops with their holes filled, -1 ... 1, (n, 1, rows, cols). The outside is only as exact as the latents.

        Args:
            model: the networks.
            batch: ``image``, ``shown``, ``mask`` and ``hole`` as ``crop.views`` makes them, stacked (n, 1, rows, cols);
                ``noise`` (n, c, h, w), one standard normal image per sample; ``prompt``, n texts.
        """
        import torch
        import torch.nn.functional as functional

        with torch.no_grad():
            # A cell with any pixel in the box is made: folded pixels that are hidden are never looked at.
            free = functional.max_pool2d(batch["hole"], model.cell)
            source = model.encode(batch["image"])
            prompts, noise = batch["prompt"], batch["noise"]
            text = model.embed(model.tokens(prompts))
            if self.guidance != 1:
                text = torch.cat([text, model.embed(model.tokens([EMPTY] * len(prompts)))])
            schedule = model.schedule
            schedule.set_timesteps(self.steps, device=noise.device)
            start = noise * schedule.init_noise_sigma
            hints = (batch["shown"], batch["mask"])

            def predict(latents: Any, levels: Any) -> Any:
                return self._predict(model, latents, levels, text, hints)

            latents = denoise(schedule, schedule.timesteps, start, predict, source, noise, free > 0)
            return model.decode(latents)

    def _predict(self, model: StenosisModel, latents: Any, times: Any, text: Any, hints: Sequence[Any]) -> Any:
        import torch

        if self.guidance == 1:
            return model.predict(latents, times, text, hints, self.strength)
        both = [torch.cat([a, a]) for a in (latents, times, *hints)]
        out = model.predict(both[0], both[1], text, both[2:], self.strength)
        prompted, unprompted = out.chunk(2)
        return guided(prompted, unprompted, self.guidance)


def uint8(images: Any) -> NDArray[np.uint8]:
    """Images (n, 1, rows, cols), -1 ... 1, as grey levels (n, rows, cols)."""
    out: NDArray[np.uint8] = ((images[:, 0] + 1) * 127.5).round().clamp(0, 255).cpu().numpy().astype(np.uint8)
    return out
