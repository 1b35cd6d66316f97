"""XRA-Diff's diffusion model as a learner: guided, and every level of noise from one schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lesionforge.generators.diffusion.sampling import denoise, guided
from lesionforge.generators.types import stream
from lesionforge.jobs.learning import loop
from lesionforge.jobs.tasks.reconstruction.models.learner import Annealed, NetLearner
from lesionforge.jobs.tasks.reconstruction.models.xradiff import PRESETS, XraDiff
from lesionforge.jobs.tasks.reconstruction.pairs import Pair
from lesionforge.jobs.tasks.reconstruction.settings import XraDiffSettings

LEVELS = 1000  # of noise


def schedule(prediction: str) -> DDIMScheduler:
    """The paper's for training, cosine, from which samples are taken as well (its code samples by a linear one).

    Clean trees are -1 and 1, and predictions are cut there. Sampling begins at the last level, which is noise alone
    (the code begins at the 900th, whose trees it was taught are no noise yet).

    Args:
        prediction: of diffusers' types, see ``XraDiffSettings``.
    """
    return DDIMScheduler(
        num_train_timesteps=LEVELS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=prediction,
        clip_sample=True,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )


class XraDiffLearner(NetLearner[XraDiffSettings]):
    """See ``NetLearner``."""

    Settings = XraDiffSettings

    def network(self) -> nn.Module:
        """See ``NetLearner``."""
        return XraDiff(PRESETS[self.settings.preset], self.views, self.settings.told)

    def task(self, net: nn.Module) -> loop.Task:
        """See ``NetLearner``."""
        return _Task(self.settings, net, Learning(net, self.settings))

    def prepared(self, pair: Pair) -> tuple[Tensor, Tensor, Tensor]:
        """Hull, silhouettes and tree, uint8 of 0 and 1."""
        hull, shadows = _told(pair)
        return hull, shadows, torch.from_numpy(pair.target.astype(np.uint8))

    def volume(self, net: nn.Module, pair: Pair) -> NDArray[np.float32]:
        """See ``NetLearner``; the noise is the pair's own."""
        s = self.settings
        rng = stream(f"reconstruction/{pair.sample}".encode(), "noise")
        given = net.condition(*(part[None].to(self.device) for part in _told(pair)))
        total = torch.zeros(pair.grid.shape, device=self.device)
        for _ in range(s.samples):
            noise = torch.from_numpy(rng.standard_normal(pair.grid.shape, np.float32)).to(self.device)
            total += sampled(net, s, noise[None, None], *given)[0, 0]
        found: NDArray[np.float32] = ((total / s.samples + 1) / 2).cpu().numpy()
        return found


def sampled(net: nn.Module, settings: XraDiffSettings, noise: Tensor, volume: Tensor, vector: Tensor) -> Tensor:
    """Trees (b, 1, n, n, n), -1 to 1, by DDIM from noise of that shape; what is told as by ``XraDiff.condition``."""
    steps, weight = schedule(settings.prediction), settings.guidance
    steps.set_timesteps(int(settings.levels), device=noise.device)
    told, untold = (volume, vector), (torch.zeros_like(volume), torch.zeros_like(vector))

    def predict(noisy: Tensor, levels: Tensor) -> Tensor:
        if weight in (0, 1):  # it would be worked out for nothing
            return net(noisy, levels, *(told if weight else untold))
        with_it, without = (net(noisy, levels, *given) for given in (told, untold))
        return guided(with_it, without, weight)

    known = {"source": -torch.ones_like(noise), "noise": noise, "free": volume > 0} if settings.within else {}
    return denoise(steps, steps.timesteps, noise, predict, **known)


class Learning(nn.Module):  # type: ignore[misc]
    """Mean square error of the prediction at random levels; what is told is dropped tree by tree, for the guidance."""

    def __init__(self, net: nn.Module, settings: XraDiffSettings) -> None:
        super().__init__()
        self.net, self.settings, self.schedule = net, settings, schedule(settings.prediction)

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch."""
        volume, vector = self.net.condition(batch["hull"], batch["shadows"])
        clean = 2 * batch["tree"][:, None].to(volume.dtype) - 1
        noise = torch.randn_like(clean)
        levels = torch.randint(LEVELS, (len(clean),), device=clean.device)
        noisy = self.schedule.add_noise(clean, noise, levels)
        kept = kept_of(len(clean), self.settings.drop).to(volume)
        found = self.net(noisy, levels, volume * kept.view(-1, 1, 1, 1, 1), vector * kept.view(-1, 1, 1))
        velocity = self.schedule.get_velocity(clean, noise, levels)
        wanted = {"epsilon": noise, "sample": clean, "v_prediction": velocity}[self.settings.prediction]
        if self.settings.within:
            found, wanted = found[volume > 0], wanted[volume > 0]
        return functional.mse_loss(found, wanted, reduction="sum") / max(1, wanted.numel())


def kept_of(trees: int, drop: float) -> Tensor:
    """Of which trees it is told, (trees,) of 0 and 1: each for itself (the paper's code drops whole batches)."""
    return (torch.rand(trees) >= drop).float()


class _Task(Annealed):
    def on(self, batch: Sequence[Tensor], device: str) -> dict[str, Any]:
        return dict(zip(("hull", "shadows", "tree"), (part.to(device) for part in batch), strict=True))


def _told(pair: Pair) -> tuple[Tensor, Tensor]:
    shadows = np.stack(pair.shadows)
    return torch.from_numpy(pair.hull.astype(np.uint8)), torch.from_numpy(shadows)
