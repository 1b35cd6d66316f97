"""From a batch to what is fitted: the noise of diffusion models, and an autoencoder against its discriminators."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from lesionforge.generators.lesion.learned.model import LesionModel
from lesionforge.generators.lesion.learned.networks.features import Features
from lesionforge.generators.lesion.learned.networks.vqgan import Discriminators
from lesionforge.generators.stenosis.diffusion.model import StenosisModel

# Weights of DiffTumor's autoencoder losses; the adversarial ones and the commitment have 1.
L1, PERCEPTUAL, MATCHING = 4.0, 4.0, 4.0


class InpaintingLoss(nn.Module):  # type: ignore[misc]
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


class DiffusionLoss(nn.Module):  # type: ignore[misc]
    """E|eps - eps_theta(z_t, t, condition, prompt)|: absolute in DiffTumor and Med-DDPM, squared in PromptLesion.

    A model of voxels predicts what is clean in place of the noise, so that none of it is left in what is drawn.

    PromptLesion's is taken over the hole's cells alone (all of them where nothing is hidden): its sampler puts the
    background back everywhere else, so that it need not be learned. The autoencoder stays as it is.
    """

    def __init__(self, model: LesionModel) -> None:
        super().__init__()
        self._model = model
        self.unet, self.prompt = model.unet, model.prompt
        if model.vqgan is not None:
            model.vqgan.requires_grad_(False)

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The loss of each cube, (n,)."""
        model, time, noise = self._model, batch["time"], batch["noise"]
        with torch.no_grad():
            clean = model.diffused(batch).float()
            noisy = model.schedule.add_noise(clean, noise, time)
            condition = model.condition(batch)
            free = model.free(batch["hole"])
        out = model.predict(noisy, time, condition, batch).float()
        target = clean if model.settings.whole else noise
        if not model.settings.prompted:
            return (out - target).abs().flatten(1).mean(1)
        free = torch.where(free.flatten(1).any(1)[:, None, None, None, None], free, torch.ones_like(free))
        error = ((out - target) ** 2).mean(1, keepdim=True) * free
        return error.flatten(1).sum(1) / free.flatten(1).sum(1)


class AutoencoderLoss(nn.Module):  # type: ignore[misc]
    """L1, perceptual loss on a slice across each axis, commitment, and from some step on two discriminators.

    Of a companded model, which is to keep calcium, a lesion and its halo count as much as all other voxels together:
    among them it is rare, and bent it is near to contrast. Published ones know no such weight.

    Args:
        model: of an autoencoder.
        discriminators: new ones, of slices and of volumes.
        features: file of the perceptual network; None: random features.
        adversarial: step from which the discriminators take part.
    """

    def __init__(
        self, model: LesionModel, discriminators: Discriminators, features: Path | None, adversarial: int
    ) -> None:
        super().__init__()
        self.vqgan, self.discriminators, self.adversarial = model.vqgan, discriminators, adversarial
        self.features = Features(features)
        self._lesions_too = bool(model.settings.bend_hu)
        self._made: tuple[Tensor, Tensor] | None = None

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The loss of each cube, (n,), for the optimizer whose turn it is."""
        image = batch["image"]
        real = slices(image, batch["slices"])
        if batch["turn"] == 1:
            assert self._made is not None  # by the turn before
            return self._verdicts(image, real, *self._made).expand(len(image))
        made, commitment, _ = self.vqgan(image, int(batch["seed"][0]))
        made = made.float()
        drawn = slices(made, batch["slices"])
        off, hole = (made - image).abs().flatten(1), batch["hole"].flatten(1)
        error = off.mean(1)
        if self._lesions_too:
            error = error + (off * hole).sum(1) / hole.sum(1).clamp(min=1)
        looks = PERCEPTUAL * self.features(drawn, real).view(-1, len(image)).mean(0)
        total = L1 * error + looks + commitment
        if batch["step"] >= self.adversarial:
            self._made = made.detach(), drawn.detach()
            total = total + self._deceit(image, real, made, drawn)
        return total

    def _deceit(self, image: Tensor, real: Tensor, made: Tensor, drawn: Tensor) -> Tensor:
        """Hinge loss of the autoencoder, and how far the features of made and real are apart."""
        of_made = self.discriminators(made, drawn)
        with torch.no_grad():
            of_real = self.discriminators(image, real)
        loss = -sum(layers[-1].mean() for layers in of_made)
        for mine, theirs in zip(of_made, of_real, strict=True):
            gaps = [functional.l1_loss(a, b) for a, b in zip(mine[:-1], theirs[:-1], strict=True)]
            loss = loss + MATCHING * torch.stack(gaps).mean()
        return loss

    def _verdicts(self, image: Tensor, real: Tensor, made: Tensor, drawn: Tensor) -> Tensor:
        """Hinge loss of the discriminators."""
        of_real, of_made = self.discriminators(image, real), self.discriminators(made, drawn)
        pairs = list(zip(of_real, of_made, strict=True))
        losses = [(functional.relu(1 - r[-1]).mean() + functional.relu(1 + m[-1]).mean()) / 2 for r, m in pairs]
        return torch.stack(losses).sum()


def slices(volumes: Tensor, at: Tensor) -> Tensor:
    """A slice across each axis of volumes (n, 1, s, s, s), at voxels (n, 3): (3 n, 1, s, s), axis by axis."""
    rows = torch.arange(len(volumes), device=volumes.device)
    cut = [volumes.movedim(2 + axis, 1)[rows, at[:, axis]] for axis in range(3)]
    return torch.cat(cut)
