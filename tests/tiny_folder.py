"""Random, very small text-to-video model folders in the diffusers layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from demo.tiny_model import network, text

UNET = {
    "sample_size": 16,
    "in_channels": 12,
    "out_channels": 12,
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": text.HIDDEN,
    "attention_head_dim": 8,
}
VAE = {
    "block_out_channels": (16, 32, 32),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "latent_channels": 12,
    "norm_num_groups": 8,
    "scaling_factor": 0.5,
}
MODELSCOPE_UNET = {"in_channels": 4, "out_channels": 4}
MODELSCOPE_VAE = {
    "block_out_channels": (8, 16, 16, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 4,
    "scaling_factor": 0.18215,
}
MODELSCOPE_SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def make_tiny_folder(
    path: Path,
    *,
    unet: dict[str, Any] | None = None,
    vae: dict[str, Any] | None = None,
    text_encoder: dict[str, Any] | None = None,
    scheduler: dict[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """Write a model with random weights to ``path``: by default 12 channels, a VAE of /4, x0 prediction, zero SNR.

    ``unet``, ``vae`` and ``text_encoder`` change entries of those configs; ``scheduler`` replaces the whole schedule.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text.write_tokenizer(path / "tokenizer")
        tokenizer = text.load_tokenizer(path / "tokenizer")
        text_config = {**text.new_text_encoder(tokenizer).config.to_dict(), **(text_encoder or {})}
        parts = {
            "unet": UNet3DConditionModel(**{**UNET, **(unet or {})}),
            "vae": AutoencoderKL(**{**VAE, **(vae or {})}),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**text_config)),
        }
        for name, part in parts.items():
            fill_zeros(part)
            part.save_pretrained(path / name)
    schedule = network.scheduler() if scheduler is None else DDIMScheduler(**scheduler)
    schedule.save_pretrained(path / "scheduler")
    index = {"_class_name": "TextToVideoSDPipeline", "unet": ["diffusers", "UNet3DConditionModel"]}
    (path / "model_index.json").write_text(json.dumps(index))
    return path


def make_modelscope_like_folder(path: Path, **overrides: Any) -> Path:
    """As :func:`make_tiny_folder`, with ModelScope's 4 channels, VAE of /8 and epsilon prediction."""
    defaults = {"unet": MODELSCOPE_UNET, "vae": MODELSCOPE_VAE, "scheduler": MODELSCOPE_SCHEDULER}
    return make_tiny_folder(path, **{**defaults, **overrides})


def fill_zeros(module: torch.nn.Module) -> None:
    """Wake up layers that diffusers starts at zero, which would hide what happens before them."""
    for parameter in module.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.05)
