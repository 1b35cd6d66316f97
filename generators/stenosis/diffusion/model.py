"""The networks of the diffusion backend, all of them diffusers' and transformers' own classes, as one thing.

A fitted model is a folder in diffusers' pipeline layout (``unet``, ``controlnet``, ``controlnet_1``, ``vae``,
``text_encoder``, ``tokenizer``, ``scheduler``; safetensors only) with our ``lesionforge.json`` beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lesionforge.generators.diffusion.model import FittedModel, fresh_weights
from lesionforge.generators.stenosis.diffusion.preset import StenosisPreset, StenosisSettings
from lesionforge.generators.stenosis.diffusion.prompt import WORDS

_LOCAL = {"local_files_only": True, "use_safetensors": True}  # never a download, never a pickle


@dataclass
class StenosisModel(FittedModel[StenosisSettings]):
    """U-Net, the two ControlNets (image with a hole, vessel mask), prompt encoder, autoencoder and schedule.

    Tensors are float32 (batch, channels, rows, cols).
    """

    NETWORKS: ClassVar[tuple[str, ...]] = ("unet", "controls", "text_encoder", "vae")

    settings: StenosisSettings
    unet: Any  # UNet2DConditionModel
    controls: Any  # MultiControlNetModel
    text_encoder: Any  # CLIPTextModel
    tokenizer: Any
    vae: Any | None  # AutoencoderKL; None where latents are folded pixels
    schedule: Any  # DDIMScheduler

    # -- making, loading, saving

    @classmethod
    def new(cls, preset: StenosisPreset, seed: int) -> StenosisModel:
        """A model with random weights, always the same ones for a seed."""
        from diffusers import DDIMScheduler, UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel

        patch = preset.settings.patch
        if patch is None:
            raise ValueError(
                f"preset {preset.settings.preset!r} starts from a Stable Diffusion folder: give --base FOLDER"
            )
        with fresh_weights(seed):
            tokenizer = _tokenizer(preset.text["max_position_embeddings"])
            special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
            text = CLIPTextConfig(
                vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **special, **preset.text
            )
            unet = UNet2DConditionModel(in_channels=patch**2, out_channels=patch**2, **preset.unet)
            controls = _controls(unet, preset.hint, channels=1)
            encoder = CLIPTextModel(text)
        return cls(preset.settings, unet, controls, encoder, tokenizer, None, DDIMScheduler(**preset.schedule))

    @classmethod
    def on_stable_diffusion(cls, preset: StenosisPreset, folder: Path, seed: int) -> StenosisModel:
        """Fresh controls on a local Stable Diffusion folder, whose weights and schedule are taken as they are."""
        with fresh_weights(seed):
            parts = _read(folder, autoencoder=True)
            controls = _controls(parts["unet"], preset.hint, channels=3)
        return cls(preset.settings, controls=controls, **parts)

    @classmethod
    def load(cls, folder: Path) -> StenosisModel:
        """A fitted model, ready to sample.

        Raises:
            FileNotFoundError, ValueError, OSError: no such folder; one that lacks something. The message names it.
        """
        from diffusers import MultiControlNetModel

        settings = StenosisSettings.load(folder)
        cls.check(folder, settings)
        parts = _read(folder, autoencoder=settings.patch is None)
        controls = MultiControlNetModel.from_pretrained(str(folder / "controlnet"), **_LOCAL)
        if len(controls.nets) != 2:
            raise ValueError(f"{folder} has {len(controls.nets)} controls: two are needed, controlnet and controlnet_1")
        return cls(settings, controls=controls, **parts)

    def _save_networks(self, folder: Path) -> None:
        self.unet.save_pretrained(folder / "unet", safe_serialization=True)
        self.controls.save_pretrained(str(folder / "controlnet"), safe_serialization=True)
        self.text_encoder.save_pretrained(folder / "text_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        self.schedule.save_pretrained(folder / "scheduler")
        if self.vae is not None:
            self.vae.save_pretrained(folder / "vae", safe_serialization=True)

    # -- what it computes

    @property
    def cell(self) -> int:
        """Pixels along each edge of a latent cell."""
        if self.vae is None:
            return int(self.settings.patch or 1)
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def multiple(self) -> int:
        """What the side of a crop must be a multiple of."""
        return int(self.cell * 2 ** (len(self.unet.config.block_out_channels) - 1))

    def shape(self, side: int) -> tuple[int, int, int]:
        """Shape (c, h, w) of the latents of a square crop."""
        return int(self.unet.config.in_channels), side // self.cell, side // self.cell

    def encode(self, pixels: Any) -> Any:
        """Latents (n, c, rows / cell, cols / cell) of grey crops (n, 1, rows, cols), -1 ... 1. The mode, no draw."""
        import torch.nn.functional as functional

        if self.vae is None:
            return functional.pixel_unshuffle(pixels, self.cell) * self.settings.scale
        colour = pixels.expand(-1, 3, -1, -1).to(self.vae.dtype)
        return self.vae.encode(colour).latent_dist.mode().float() * self.vae.config.scaling_factor

    def decode(self, latents: Any) -> Any:
        """Grey crops (n, 1, rows, cols) of latents."""
        import torch.nn.functional as functional

        if self.vae is None:
            return functional.pixel_shuffle(latents / self.settings.scale, self.cell)
        colour = self.vae.decode((latents / self.vae.config.scaling_factor).to(self.vae.dtype)).sample
        return colour.float().mean(1, keepdim=True)

    def tokens(self, prompts: Sequence[str]) -> Any:
        """Token ids (n, length) of prompts."""
        longest = self.text_encoder.config.max_position_embeddings
        out = self.tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=longest, return_tensors="pt"
        )
        return out.input_ids.to(self.unet.device)

    def embed(self, tokens: Any) -> Any:
        """What the networks attend to: (n, length, width)."""
        return self.text_encoder(tokens).last_hidden_state

    def predict(self, latents: Any, time: Any, text: Any, hints: Sequence[Any], strength: Sequence[float]) -> Any:
        """The schedule's prediction type (noise or velocity) for noisy latents (n, c, h, w).

        Args:
            time: (n,) noise levels.
            text: (n, length, width) from ``embed``.
            hints: the two condition images, (n, 1, rows, cols) each.
            strength: factor of each control's output; 0 leaves that control out.
        """
        dtype = self.unet.dtype
        latents, text = latents.to(dtype), text.to(dtype)
        channels = self.controls.nets[0].config.conditioning_channels
        shown = [hint.to(dtype).expand(-1, channels, -1, -1) for hint in hints]
        down, mid = self.controls(latents, time, text, shown, list(strength), return_dict=False)
        out = self.unet(
            latents,
            time,
            text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
            return_dict=False,
        )
        return out[0].float()

    def target(self, latents: Any, noise: Any, time: Any) -> Any:
        """What ``predict`` should give for clean latents and their noise."""
        kind = self.schedule.config.prediction_type
        if kind == "epsilon":
            return noise
        if kind == "v_prediction":
            return self.schedule.get_velocity(latents, noise, time)
        raise ValueError(f"scheduler_config.json has prediction_type {kind!r}: epsilon and v_prediction can be fitted")


def _controls(unet: Any, hint: tuple[int, ...], channels: int) -> Any:
    """Two controls that start as copies of the U-Net's encoder behind zero convolutions: they change nothing yet."""
    from diffusers import ControlNetModel, MultiControlNetModel

    kind = {"conditioning_embedding_out_channels": hint, "conditioning_channels": channels}
    return MultiControlNetModel([ControlNetModel.from_unet(unet, **kind) for _ in range(2)])


def _read(folder: Path, autoencoder: bool) -> dict[str, Any]:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import AutoTokenizer, CLIPTextModel

    wanted = ["unet", "text_encoder", "tokenizer", "scheduler", *(["vae"] if autoencoder else [])]
    missing = [name for name in wanted if not (folder / name).is_dir()]
    if missing:
        raise ValueError(f"{folder} has no {', '.join(missing)}: give a folder in diffusers' layout, on this machine")
    return {
        "unet": UNet2DConditionModel.from_pretrained(folder / "unet", **_LOCAL),
        "text_encoder": CLIPTextModel.from_pretrained(folder / "text_encoder", **_LOCAL),
        "tokenizer": AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        "vae": AutoencoderKL.from_pretrained(folder / "vae", **_LOCAL) if autoencoder else None,
        "schedule": DDIMScheduler.from_pretrained(folder / "scheduler", local_files_only=True),
    }


def _tokenizer(longest: int) -> Any:
    """One token for each word the prompt's template can make."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    begin, end, unknown, pad = "<begin>", "<end>", "<unknown>", "<pad>"
    vocabulary = {word: n for n, word in enumerate((pad, begin, end, unknown, *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    frame = [(begin, vocabulary[begin]), (end, vocabulary[end])]
    words.post_processor = processors.TemplateProcessing(f"{begin} $A {end}", special_tokens=frame)
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token=begin,
        eos_token=end,
        unk_token=unknown,
        pad_token=pad,
        model_max_length=longest,
    )
