"""Sizes of the diffusion backend: the paper's (``sd15``), one fitted in minutes (``small``) and a toy (``tiny``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lesionforge.generators.diffusion.model import FittedSettings


@dataclass(frozen=True)
class StenosisSettings(FittedSettings):
    """What a fitted model's folder says beside diffusers' own files.

    Attributes:
        crop: side of the square crop that is synthesised, px.
        patch: pixels along each edge of a latent cell, for models that work on the pixels themselves, merely folded
            (no autoencoder, so nothing is lost); None for a latent autoencoder.
        scale: the folded pixels, -1 ... 1, are multiplied by this to have a variance near 1.
        train_base: whether U-Net and text encoder are fitted along with the controls, or stay as they are.
    """

    crop: int
    patch: int | None
    scale: float
    train_base: bool


@dataclass(frozen=True)
class StenosisPreset:
    """Settings and, where nothing is loaded, the networks' configurations in diffusers' and transformers' words.

    Attributes:
        hint: channels of a control's condition encoder; each after the first halves the resolution.
    """

    settings: StenosisSettings
    hint: tuple[int, ...]
    unet: Mapping[str, Any] = field(default_factory=dict)
    text: Mapping[str, Any] = field(default_factory=dict)
    schedule: Mapping[str, Any] = field(default_factory=dict)


# Stable Diffusion's betas. Trained from nothing, a model can do better: v-prediction up to a signal of exactly zero
# (Lin et al. 2024), so that sampling starts from what training has seen.
_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "set_alpha_to_one": True,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


def _unet(channels: tuple[int, ...], layers: int, attend: int, width: int) -> dict[str, Any]:
    """A U-Net over folded pixels whose ``attend`` deepest levels attend to the prompt."""
    plain = len(channels) - attend
    return {
        "block_out_channels": channels,
        "layers_per_block": layers,
        "down_block_types": ("DownBlock2D",) * plain + ("CrossAttnDownBlock2D",) * attend,
        "up_block_types": ("CrossAttnUpBlock2D",) * attend + ("UpBlock2D",) * plain,
        "norm_num_groups": 8,
        "cross_attention_dim": width,
        "attention_head_dim": 4,
    }


def _text(width: int, layers: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": 24,
        "projection_dim": width,
    }


PRESETS: Mapping[str, StenosisPreset] = {
    "sd15": StenosisPreset(
        StenosisSettings(preset="sd15", crop=256, patch=None, scale=1.0, train_base=False, steps=50, guidance=3.0),
        hint=(16, 32, 96, 256),
    ),
    "small": StenosisPreset(
        StenosisSettings(preset="small", crop=96, patch=2, scale=2.5, train_base=True, steps=50, guidance=1.0),
        hint=(16, 32),
        unet=_unet((64, 128, 256), layers=2, attend=1, width=128),
        text=_text(128, layers=2),
        schedule=_SCHEDULE,
    ),
    "tiny": StenosisPreset(
        StenosisSettings(preset="tiny", crop=64, patch=2, scale=2.5, train_base=True, steps=10, guidance=1.0),
        hint=(16, 32),
        unet=_unet((16, 32), layers=1, attend=1, width=16),
        text=_text(16, layers=1),
        schedule=_SCHEDULE,
    ),
}
