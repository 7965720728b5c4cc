"""Random, very small Latte folders in the diffusers layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, LatteTransformer3DModel
from transformers import T5Config, T5EncoderModel

from tests.tiny_folder import MODELSCOPE_VAE, VAE, fill_zeros

FRAMES = 4
TEXT_WIDTH = 16
# Latte-1's own, but for sizes.
TRANSFORMER = {
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 2,
    "cross_attention_dim": 16,
    "attention_bias": True,
    "sample_size": 8,
    "patch_size": 2,
    "activation_fn": "gelu-approximate",
    "num_embeds_ada_norm": 1000,
    "norm_type": "ada_norm_single",
    "norm_elementwise_affine": False,
    "norm_eps": 1e-6,
    "caption_channels": TEXT_WIDTH,
    "video_length": FRAMES,
}
# T5 v1.1's vocabulary and activation.
TEXT_ENCODER = {
    "vocab_size": 32128,
    "d_model": TEXT_WIDTH,
    "d_kv": 4,
    "d_ff": 32,
    "num_layers": 2,
    "num_heads": 2,
    "feed_forward_proj": "gated-gelu",
}
SCHEDULER = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear", "clip_sample": False}


def make_tiny_latte(path: Path, *, seed: int = 0, **transformer: Any) -> Path:
    """Write a model with random weights to ``path``; ``transformer`` changes entries of its config."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = {
            "transformer": LatteTransformer3DModel(**{**TRANSFORMER, **transformer}),
            "vae": AutoencoderKL(**{**VAE, **MODELSCOPE_VAE}),
            "text_encoder": T5EncoderModel(T5Config(**TEXT_ENCODER)),
        }
        for block in parts["transformer"].temporal_transformer_blocks:  # else what other frames hold hardly counts
            block.attn1.to_out[0].weight.data *= 4
        for name, part in parts.items():
            fill_zeros(part)
            part.save_pretrained(path / name)
    DDIMScheduler(**SCHEDULER).save_pretrained(path / "scheduler")
    index = {"_class_name": "LattePipeline", "transformer": ["diffusers", "LatteTransformer3DModel"]}
    (path / "model_index.json").write_text(json.dumps(index))
    return path
