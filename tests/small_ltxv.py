"""LTX-Video as a small random model, and what a graph would wire to it. Needs ComfyUI importable."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch

from tests.joint_rig import Joint, fill, load, text

HIDDEN, TEXT, CHANNELS, BLOCKS = 64, 4096, 128, 4
LAYERS = [f"transformer_blocks.{i}" for i in range(BLOCKS)]
MASK = torch.tensor([[1, 1, 1, 1, 0]])  # of the text's tokens, as the host's text encoder gives it


def network(dtype: torch.dtype = torch.float32, blocks: int = BLOCKS) -> torch.nn.Module:
    """The host's class alone, its weights not set; as published, but for the width and the number of blocks."""
    import comfy.ops
    from comfy.ldm.lightricks.model import LTXVModel

    sizes = {"cross_attention_dim": HIDDEN, "attention_head_dim": HIDDEN // 32, "num_layers": blocks}
    return LTXVModel(**sizes, dtype=dtype, operations=comfy.ops.disable_weight_init)


def joint(pack: ModuleType, weight_dtype: str = "default", saved: Any = torch.float32) -> Joint:
    """By the stock loader. saved: the type of the weights in the file."""
    weights = {name: weight.to(saved) for name, weight in fill(network()).state_dict().items()}
    model = load(f"tiny_ltxv_{saved}", weights, weight_dtype)
    attentions = [block.attn1 for block in model.model.diffusion_model.transformer_blocks]
    split = {layer: (a.to_q, a.to_k, a.to_v) for layer, a in zip(LAYERS, attentions, strict=True)}
    positive, negative = (text(TEXT, seed=seed, attention_mask=MASK.clone()) for seed in (5, 6))
    return Joint(pack, model, positive, negative, CHANNELS, 1, height=4, width=3, split=split)


class Vae:
    """What LTXVAddGuide asks of a VAE: random latents of the size of its pictures."""

    downscale_index_formula = (8, 32, 32)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        frames, height, width = (pixels.shape[0] - 1) // 8 + 1, pixels.shape[1] // 32, pixels.shape[2] // 32
        generator = torch.Generator().manual_seed(9)
        return torch.randn(1, CHANNELS, frames, height, width, generator=generator)


def guided(joint: Joint, clip: torch.Tensor, frames: int = 1, index: int = 0) -> tuple[list, list, dict]:
    """Positive, negative and latent of LTXVAddGuide, given a picture, or a video of nine for two guiding frames."""
    from comfy_extras.nodes_lt import LTXVAddGuide

    pictures = torch.zeros(8 * frames - 7, joint.height * 32, joint.width * 32, 3)
    with torch.inference_mode():
        return LTXVAddGuide.execute(joint.positive, joint.negative, Vae(), {"samples": clip}, pictures, index, 1.0).args
