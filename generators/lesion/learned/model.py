"""The networks of one backend as one thing: autoencoder, U-Net, prompt and schedule; its folder is safetensors only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from lesionforge.generators.diffusion.model import REMEDY, FittedModel, fresh_weights
from lesionforge.generators.diffusion.sampling import cosine
from lesionforge.generators.lesion.learned.settings import LesionPreset, LesionSettings

FARTHEST = 20.0  # from what fills the hole that a model of voxels may go, in units of what it diffuses


class LesionModel(FittedModel[LesionSettings]):
    """A fitted or new model. Tensors are float32 (batch, channels, f, h, w).

    Attributes:
        settings: in words and numbers.
        vqgan: ``networks.vqgan.VQGAN``; None where the voxels themselves are diffused.
        unet, prompt: networks; None where the backend has none.
        schedule: ``diffusion.sampling.cosine``; None for an autoencoder alone.
    """

    NETWORKS: ClassVar[tuple[str, ...]] = ("vqgan", "unet", "prompt")

    def __init__(self, settings: LesionSettings) -> None:
        self.settings = settings
        self.vqgan: Any = None
        self.unet: Any = None
        self.prompt: Any = None
        self.schedule: Any = None
        sizes = settings.networks
        if "vqgan" in sizes:
            from lesionforge.generators.lesion.learned.networks.vqgan import VQGAN

            self.vqgan = VQGAN(**sizes["vqgan"])
        if "unet" in sizes:
            from lesionforge.generators.lesion.learned.networks.unet import LatentUNet

            self.unet = LatentUNet(**sizes["unet"])
        if "pixels" in sizes:
            from lesionforge.generators.lesion.learned.networks.pixels import PixelUNet

            self.unet = PixelUNet(**sizes["pixels"])
        if "voxels" in sizes:
            from lesionforge.generators.lesion.learned.networks.voxels import VoxelUNet

            self.unet = VoxelUNet(**sizes["voxels"])
        if "prompt" in sizes:
            from lesionforge.generators.lesion.learned.networks.prompt import ClassPrompt, MaskPrompt

            self.prompt = (MaskPrompt if settings.backend == "promptlesion-mask" else ClassPrompt)(**sizes["prompt"])
        if settings.levels:
            self.schedule = cosine(settings.levels, *(("sample", FARTHEST) if settings.whole else ()))

    # -- making, loading, saving

    @classmethod
    def new(cls, settings: LesionSettings, seed: int, vqgan: LesionModel | None = None) -> LesionModel:
        """A model with random weights, always the same ones for a seed; its autoencoder is ``vqgan``'s."""
        with fresh_weights(seed):
            model = cls(settings)
        if vqgan is not None and model.vqgan is not None:
            model.vqgan.load_state_dict(vqgan.vqgan.state_dict())
        return model

    @classmethod
    def load(cls, folder: Path) -> LesionModel:
        """A fitted model, ready to sample.

        Raises:
            FileNotFoundError, ValueError: no such folder; one that lacks something. The message names it.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        own = LesionSettings.load(folder)
        try:
            model = cls(own)
        except TypeError as error:  # networks of another version
            raise ValueError(f"{folder} is of another version ({error}): fit it again") from None
        for name, network in model.networks():
            file = folder / f"{name}.safetensors"
            if not file.is_file():
                raise ValueError(f"{file} is missing: {REMEDY}")
            try:
                network.load_state_dict(load_file(file))
            except (RuntimeError, SafetensorError) as error:
                raise ValueError(f"{file} does not fit {folder / 'lesionforge.json'}: {error}") from None
            network.eval().requires_grad_(False)
        cls.check(folder, own)
        return model

    def _save_networks(self, folder: Path) -> None:
        from safetensors.torch import save_file

        for name, network in self.networks():
            state = {key: t.detach().cpu().contiguous() for key, t in network.state_dict().items()}
            if self.settings.whole:  # half of the bytes, and of what they say nothing that shows
                state = {key: t.half() for key, t in state.items()}
            save_file(state, folder / f"{name}.safetensors")

    # -- what it computes

    @property
    def cell(self) -> int:
        """Voxels along each edge of a latent cell."""
        return 1 if self.vqgan is None else int(2 ** self.settings.networks["vqgan"]["levels"])

    def shape(self, image: Sequence[int] = ()) -> tuple[int, int, int, int]:
        """Shape (c, f, h, w) of what is diffused, of an image (f, h, w); default: of its own cubes."""
        f, h, w = (n // self.cell for n in (image or (self.settings.side,) * 3))
        channels = 1 if self.vqgan is None else int(self.settings.networks["vqgan"]["dim"])
        return channels, f, h, w

    def encode(self, volume: Any) -> Any:
        """Latents of volumes (n, 1, f, h, w), not quantised, scaled to about -1 ... 1; voxels where there are none."""
        return volume if self.vqgan is None else self.vqgan.scale(self.vqgan.encode(volume))

    def decode(self, latent: Any) -> Any:
        """Volumes (n, 1, f, h, w)."""
        return latent if self.vqgan is None else self.vqgan.decode(self.vqgan.unscale(latent))

    def diffused(self, batch: Mapping[str, Any]) -> Any:
        """What is diffused, of a batch of ``crop.views``; of voxels: how far they are from what fills the hole.

        That is small beside -1 ... 1: as it is, the noise of all but the last levels would cover it.
        """
        if not self.settings.whole:
            return self.encode(batch["image"])
        return (batch["image"] - batch["shown"]) / self.unet.spread

    def volumes(self, diffused: Any, batch: Mapping[str, Any]) -> Any:
        """Volumes (n, 1, f, h, w) of what was diffused."""
        return batch["shown"] + self.unet.spread * diffused if self.settings.whole else self.decode(diffused)

    def free(self, hole: Any) -> Any:
        """(n, 1, f, h, w) of the latents, 1 in every cell with a voxel of the hole, lest thin lesions vanish."""
        import torch.nn.functional as functional

        return hole if self.cell == 1 else functional.max_pool3d(hole, self.cell)

    def condition(self, batch: Mapping[str, Any]) -> Any:
        """What the U-Net sees beside the noisy latents, of a batch of ``crop.views``.

        The latents of the image with its hole hidden and the hole itself; for ``medddpm`` the mask of all classes.
        Where voxels are diffused, the lesion in the hole and its organ or vessel as well.
        """
        import torch

        if self.settings.whole:
            at = batch["lesion"][:, None, None, None, None].expand(-1, 1, *batch["regions"].shape[2:])
            masks = [batch["regions"].gather(1, at), batch["regions"][:, :1]]
            seen = [batch["shown"], batch["hole"], *(mask.to(batch["image"].dtype) for mask in masks)]
            return torch.cat(seen, 1)
        if self.settings.backend == "medddpm":
            return batch["regions"].to(batch["image"].dtype) * 2 - 1
        return torch.cat([self.encode(batch["shown"]), self.free(batch["hole"]) * 2 - 1], 1)

    def predict(self, noisy: Any, time: Any, condition: Any, batch: Mapping[str, Any], drop: Any = None) -> Any:
        """The noise in ``noisy``, or what is clean, whichever the schedule wants.

        ``drop`` (n,) bool takes prompts away, default: as the batch says.
        """
        import torch

        inward = torch.cat([noisy, condition], 1)
        if self.prompt is None:
            return self.unet(inward, time)
        drop = batch["drop"] if drop is None else drop
        return self.unet(inward, time, self.prompt(batch["lesion"], batch["regions"], drop))


def networks(backend: str, preset: LesionPreset, classes: int) -> dict[str, dict[str, Any]]:
    """Arguments of the networks of a backend."""
    if backend == "medddpm":
        pixels = {"inside": 1 + classes, "outside": 1, **preset.pixels}
        return {"pixels": pixels}
    prompt: dict[str, Any] = {"width": preset.prompt}
    prompt |= (
        {"regions": classes, "side": preset.side, "patch": preset.patch}
        if backend == "promptlesion-mask"
        else {"classes": classes}
    )
    if preset.voxels:
        if backend == "promptlesion-mask":
            prompt["side"] = 0
        return {"voxels": {"inside": 5, "prompt": preset.prompt, **preset.voxels}, "prompt": prompt}
    dim = preset.vqgan["dim"]
    unet = {"inside": 2 * dim + 1, "outside": dim, **preset.unet}
    out = {"vqgan": dict(preset.vqgan)}
    if backend == "difftumor":
        return {**out, "unet": unet}
    return {**out, "unet": {**unet, "prompt": preset.prompt}, "prompt": prompt}
