"""The networks of one backend as one thing: autoencoder, U-Net, prompt and schedule; its folder is safetensors only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lesionforge.generators.lesion.learned.preset import Preset
from lesionforge.generators.lesion.learned.settings import Settings


class Model:
    """A fitted or new model. Tensors are float32 (batch, channels, f, h, w).

    Attributes:
        settings: in words and numbers.
        vqgan: ``networks.vqgan.VQGAN``; None where the voxels themselves are diffused.
        unet, prompt: networks; None where the backend has none.
        schedule: a diffusers ``DDIMScheduler``, from which training and sampling take every noise level.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.vqgan: Any = None
        self.unet: Any = None
        self.prompt: Any = None
        self.schedule: Any = None
        given = settings.networks
        if "vqgan" in given:
            from lesionforge.generators.lesion.learned.networks.vqgan import VQGAN

            self.vqgan = VQGAN(**given["vqgan"])
        if "unet" in given:
            from lesionforge.generators.lesion.learned.networks.unet import LatentUNet

            self.unet = LatentUNet(**given["unet"])
        if "pixels" in given:
            from lesionforge.generators.lesion.learned.networks.pixels import PixelUNet

            self.unet = PixelUNet(**given["pixels"])
        if "prompt" in given:
            from lesionforge.generators.lesion.learned.networks.prompt import ClassPrompt, MaskPrompt

            self.prompt = (MaskPrompt if settings.backend == "promptlesion-mask" else ClassPrompt)(**given["prompt"])
        if settings.levels:
            from lesionforge.generators.lesion.learned.networks.schedule import cosine

            self.schedule = cosine(settings.levels)

    # -- making, loading, saving

    @classmethod
    def new(cls, settings: Settings, seed: int, vqgan: Model | None = None) -> Model:
        """A model with random weights, always the same ones for a seed; its autoencoder is ``vqgan``'s."""
        import torch

        with torch.random.fork_rng(devices=[]):  # networks know only torch's global generator
            torch.manual_seed(seed)
            model = cls(settings)
        if vqgan is not None and model.vqgan is not None:
            model.vqgan.load_state_dict(vqgan.vqgan.state_dict())
        return model

    @classmethod
    def load(cls, folder: Path) -> Model:
        """A fitted model, ready to sample.

        Raises:
            FileNotFoundError, ValueError: the folder lacks something; the message names it.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        model = cls(Settings.load(folder))
        for name, network in model.networks():
            file = folder / f"{name}.safetensors"
            if not file.is_file():
                raise FileNotFoundError(f"{file} is missing: give the folder `model` that `lesionforge fit` wrote")
            try:
                network.load_state_dict(load_file(file))
            except (RuntimeError, SafetensorError) as error:
                raise ValueError(f"{file} does not fit {folder / 'lesionforge.json'}: {error}") from None
            network.eval().requires_grad_(False)
        return model

    def save(self, folder: Path) -> None:
        """Write everything the sampler needs."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        for name, network in self.networks():
            file = folder / f"{name}.safetensors"
            save_file({key: t.detach().cpu().contiguous() for key, t in network.state_dict().items()}, file)
            digest.update(name.encode() + file.read_bytes())
        self.settings = replace(self.settings, digest=digest.hexdigest())
        self.settings.save(folder)

    # -- what it computes

    def networks(self) -> Iterator[tuple[str, Any]]:
        """Name and module of each network there is."""
        for name in ("vqgan", "unet", "prompt"):
            if getattr(self, name) is not None:
                yield name, getattr(self, name)

    def to(self, device: str) -> Model:
        for _, network in self.networks():
            network.to(device)
        if self.schedule is not None:
            self.schedule.alphas_cumprod = self.schedule.alphas_cumprod.to(device)
        return self

    @property
    def cell(self) -> int:
        """Voxels along each edge of a latent cell."""
        return 1 if self.vqgan is None else int(2 ** self.settings.networks["vqgan"]["levels"])

    def shape(self) -> tuple[int, int, int, int]:
        """Shape (c, f, h, w) of what is diffused."""
        side = self.settings.side // self.cell
        channels = 1 if self.vqgan is None else int(self.settings.networks["vqgan"]["dim"])
        return channels, side, side, side

    def encode(self, volume: Any) -> Any:
        """What is diffused, of volumes (n, 1, f, h, w): latents that are not quantised, scaled to about -1 ... 1."""
        return volume if self.vqgan is None else self.vqgan.scale(self.vqgan.encode(volume))

    def decode(self, latent: Any) -> Any:
        """Volumes (n, 1, f, h, w)."""
        return latent if self.vqgan is None else self.vqgan.decode(self.vqgan.unscale(latent))

    def free(self, hole: Any) -> Any:
        """(n, 1, f, h, w) of the latents, 1 in every cell with a voxel of the hole, lest thin lesions vanish."""
        import torch.nn.functional as functional

        return hole if self.cell == 1 else functional.max_pool3d(hole, self.cell)

    def condition(self, batch: Mapping[str, Any]) -> Any:
        """What the U-Net sees beside the noisy latents, of a batch of ``crop.views``.

        The latents of the image with its hole hidden and the hole itself; for ``medddpm`` the mask of all classes.
        """
        import torch

        if self.settings.backend == "medddpm":
            return batch["regions"].to(batch["image"].dtype) * 2 - 1
        return torch.cat([self.encode(batch["shown"]), self.free(batch["hole"]) * 2 - 1], 1)

    def predict(self, noisy: Any, time: Any, condition: Any, batch: Mapping[str, Any], drop: Any = None) -> Any:
        """The noise in ``noisy``; ``drop`` (n,) bool takes prompts away, default: as the batch says."""
        import torch

        inward = torch.cat([noisy, condition], 1)
        if self.prompt is None:
            return self.unet(inward, time)
        drop = batch["drop"] if drop is None else drop
        return self.unet(inward, time, self.prompt(batch["lesion"], batch["regions"], drop))


def networks(backend: str, preset: Preset, classes: int) -> dict[str, dict[str, Any]]:
    """Arguments of the networks of a backend."""
    if backend == "medddpm":
        pixels = {"inside": 1 + classes, "outside": 1, **preset.pixels}
        return {"pixels": pixels}
    dim = preset.vqgan["dim"]
    unet = {"inside": 2 * dim + 1, "outside": dim, **preset.unet}
    out = {"vqgan": dict(preset.vqgan)}
    if backend == "difftumor":
        return {**out, "unet": unet}
    prompt: dict[str, Any] = {"width": preset.prompt}
    prompt |= (
        {"regions": classes, "side": preset.side, "patch": preset.patch}
        if backend == "promptlesion-mask"
        else {"classes": classes}
    )
    return {**out, "unet": {**unet, "prompt": preset.prompt}, "prompt": prompt}
