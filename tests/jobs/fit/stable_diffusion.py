"""A folder as Stable Diffusion 1.5 comes, with random weights: CLIP's own tokenizer, PNDM's schedule."""

import json
from pathlib import Path

import torch

LETTERS = [chr(c) for c in range(33, 127)]
VOCABULARY = [*LETTERS, *(c + "</w>" for c in LETTERS), "<|startoftext|>", "<|endoftext|>"]


def networks(full: bool):
    """U-Net, autoencoder and text encoder; ``full`` takes the published sizes, else they are shrunk to nothing."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    if full:
        unet = {"cross_attention_dim": 768, "attention_head_dim": 8}  # the rest is diffusers' default
        vae = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}
        text = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    else:
        blocks = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")}
        blocks |= {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
        unet = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, **blocks}
        unet |= {"cross_attention_dim": 16, "attention_head_dim": 2}
        vae = {"block_out_channels": (4, 4, 8, 8), "norm_num_groups": 4}
        text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    begin, end = len(VOCABULARY) - 2, len(VOCABULARY) - 1
    config = CLIPTextConfig(vocab_size=len(VOCABULARY), bos_token_id=begin, eos_token_id=end, **text)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UNet2DConditionModel(**unet), AutoencoderKL(**vae, **kinds), CLIPTextModel(config)


def write(folder: Path, full: bool = False) -> Path:
    """Write the folder; ``full``: see ``networks``."""
    from diffusers import PNDMScheduler

    for network, name in zip(networks(full), ("unet", "vae", "text_encoder"), strict=True):
        network.save_pretrained(folder / name)
    PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    ).save_pretrained(folder / "scheduler")
    tokens = folder / "tokenizer"
    tokens.mkdir()
    (tokens / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(VOCABULARY)}))
    (tokens / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    told = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": "<|endoftext|>", **special}
    (tokens / "tokenizer_config.json").write_text(json.dumps(told))
    return folder
