"""Sampling: from noise, or from the background on its way to noise, back to an image with a lesion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lesionforge.generators.diffusion.sampling import denoise, guided
from lesionforge.generators.lesion.learned.crop import bent
from lesionforge.generators.lesion.learned.model import LesionModel


@dataclass(frozen=True)
class LesionSampler:
    """How to sample; the fields are those of ``LesionSettings``.

    ``promptlesion`` puts the background back outside the hole at every step, at that step's noise level. DiffTumor and
    Med-DDPM, as published, let their network make all of it.
    """

    steps: int
    strength: float = 1.0
    guidance: float = 1.0

    def __call__(self, model: LesionModel, batch: Mapping[str, Any], draw: Callable[[], Any]) -> Any:
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
            source = model.diffused(batch)
            condition = model.condition(batch)
            schedule.set_timesteps(self.steps, device=source.device)
            # Any strength above 0 is one step at least; none leaves the background as the autoencoder has it.
            turns = max(1, round(self.steps * self.strength)) if self.strength else 0
            times = schedule.timesteps[self.steps - turns :]
            noise = draw()
            inside = noise if self.strength == 1 else self._noised(model, source, noise, times[0]) if turns else source

            def predict(noisy: Any, levels: Any) -> Any:
                out = self._predict(model, noisy, levels, condition, batch)
                return consistent(model, out, batch) if "asked" in batch else out

            inside = denoise(
                schedule,
                times,
                inside,
                predict,
                source,
                noise,
                free if model.settings.prompted else None,
                draw if ancestral else None,
                clipped=True,
            )
            return model.volumes(inside, batch)

    @staticmethod
    def _noised(model: LesionModel, source: Any, noise: Any, time: Any) -> Any:
        return model.schedule.add_noise(source, noise, time.expand(len(noise)))

    def _predict(self, model: LesionModel, noisy: Any, time: Any, condition: Any, batch: Mapping[str, Any]) -> Any:
        import torch

        prompted = model.predict(noisy, time, condition, batch)
        if self.guidance == 1 or model.prompt is None:
            return prompted
        unprompted = model.predict(noisy, time, condition, batch, drop=torch.ones_like(batch["drop"]))
        return guided(prompted, unprompted, self.guidance)


def consistent(model: LesionModel, clean: Any, batch: Mapping[str, Any]) -> Any:
    """What is predicted, with the mean HU that is asked for, after the null-space method (DDNM, Wang et al. 2023).

    What the mean does not say stays as the network has it; what it says is put right at every step, so that the
    network goes on from there. ``batch``: of ``crop.views`` with ``crop.wish``.
    """
    import torch

    own = model.settings
    low, high = bent(own.window, own.bend_hu)
    hu = torch.sinh((model.volumes(clean, batch).clamp(-1, 1) + 1) * ((high - low) / 2) + low) * own.bend_hu
    core, soft = batch["core"], batch["soft"]
    axes = (1, 2, 3, 4)
    seen = core.sum(axes)
    missing = batch["asked"] - (hu * core).sum(axes) / seen.clamp(min=1)
    share = (soft * core).sum(axes) / seen.clamp(min=1)
    moved = hu + (torch.where(seen > 0, missing / share.clamp(min=0.1), 0.0))[:, None, None, None, None] * soft
    image = (torch.asinh(moved / own.bend_hu) - low) * (2 / (high - low)) - 1
    return model.diffused({**batch, "image": image})
