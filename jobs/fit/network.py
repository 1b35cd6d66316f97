"""What is fitted: from a batch of crops to the diffusion loss in their boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from lesionforge.generators.stenosis.diffusion.model import StenosisModel
from lesionforge.jobs.learning.loop import Plain


class Loss(Plain):
    """Mean squared error of the predicted noise (or velocity), E|eps - eps_theta(z_t, t, prompt, mask, image)|^2.

    It is taken over the latent cells of the box only: whatever is predicted outside is replaced by the source at
    every step of the sampler, so that it need not be learned.

    Args:
        model: with ``train_base`` everything is fitted, else the controls alone; the autoencoder never.
        strength: of the two controls; a 0 fits a model that does not see that condition.
        checkpointing: compute activations twice instead of keeping them.
    """

    def __init__(
        self, model: StenosisModel, strength: tuple[float, float] = (1.0, 1.0), checkpointing: bool = False
    ) -> None:
        super().__init__()
        self._model, self._strength = model, strength
        self.unet, self.controls, self.text_encoder = model.unet, model.controls, model.text_encoder
        self.requires_grad_(model.settings.train_base)
        self.controls.requires_grad_(True)
        if model.vae is not None:
            model.vae.requires_grad_(False)
        if checkpointing:
            for network in (self.unet, *self.controls.nets):
                network.enable_gradient_checkpointing()

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The loss of each crop, (n,)."""
        model, time, noise = self._model, batch["time"], batch["noise"]
        with torch.no_grad():
            latents = model.encode(batch["image"])
            free = functional.max_pool2d(batch["hole"], model.cell)
            noisy = model.schedule.add_noise(latents, noise, time)
            target = model.target(latents, noise, time)
        hints = (batch["shown"], batch["mask"])
        out = model.predict(noisy, time, model.embed(batch["tokens"]), hints, self._strength)
        error = ((out - target) ** 2).mean(1, keepdim=True) * free
        return error.sum((1, 2, 3)) / free.sum((1, 2, 3))
