"""DDIM sampling of the hidden box: every step, what lies outside it is put back at that step's noise level.

The compositing is RePaint's (Lugmayr et al. 2022). DDIM without fresh noise (Song et al. 2021) is a deterministic
function of one noise image, which the outside shares: there it follows exactly the path that ends in the source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.stenosis.diffusion.model import Model
from lesionforge.generators.stenosis.diffusion.prompt import EMPTY


@dataclass(frozen=True)
class Sampler:
    """How to sample.

    Attributes:
        steps: denoising steps.
        guidance: of the prompt against the empty prompt (Ho & Salimans 2022); 1 takes the prompt as it is.
        strength: factors of the two controls (image with a hole, vessel mask).
    """

    steps: int
    guidance: float = 1.0
    strength: tuple[float, float] = (1.0, 1.0)

    def __call__(self, model: Model, batch: Mapping[str, Any]) -> Any:
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
            latents = noise * schedule.init_noise_sigma
            for time in schedule.timesteps:
                times = time.expand(len(noise))
                latents = torch.where(free > 0, latents, schedule.add_noise(source, noise, times))
                out = self._predict(model, latents, times, text, (batch["shown"], batch["mask"]))
                latents = schedule.step(out, time, latents, eta=0.0).prev_sample
            return model.decode(torch.where(free > 0, latents, source))

    def _predict(self, model: Model, latents: Any, times: Any, text: Any, hints: Sequence[Any]) -> Any:
        import torch

        if self.guidance == 1:
            return model.predict(latents, times, text, hints, self.strength)
        both = [torch.cat([a, a]) for a in (latents, times, *hints)]
        out = model.predict(both[0], both[1], text, both[2:], self.strength)
        asked, empty = out.chunk(2)
        return empty + self.guidance * (asked - empty)


def stacked(rows: Sequence[Mapping[str, Any]], device: str) -> dict[str, Any]:
    """A batch of crops: arrays as tensors on a device, prompts as a list."""
    import torch

    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0] if name != "prompt"}
    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    return {**tensors, "prompt": [row["prompt"] for row in rows]}


def uint8(images: Any) -> NDArray[np.uint8]:
    """Images (n, 1, rows, cols), -1 ... 1, as grey levels (n, rows, cols)."""
    out: NDArray[np.uint8] = ((images[:, 0] + 1) * 127.5).round().clamp(0, 255).cpu().numpy().astype(np.uint8)
    return out
