"""Cosmos Predict2 as a small random model, and what a graph would wire to it. Needs ComfyUI importable."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch

from tests.joint_rig import Joint, load, text
from tests.tiny_checkpoints import strided

HIDDEN, TEXT, BLOCKS = 192, 1024, 10
LAYERS = [f"blocks.{i}" for i in range(BLOCKS)]


def config(**changes: Any) -> dict[str, Any]:
    """What the host makes of a file of another width than the published ones: ten blocks, sixteen heads."""
    return {
        "max_img_h": 240,
        "max_img_w": 240,
        "max_frames": 128,
        "in_channels": 16,
        "out_channels": 16,
        "patch_spatial": 2,
        "patch_temporal": 1,
        "model_channels": HIDDEN,
        "num_blocks": BLOCKS,
        "num_heads": 16,
        "crossattn_emb_channels": TEXT,
        "pos_emb_cls": "rope3d",
        "pos_emb_learnable": True,
        "use_adaln_lora": True,
        "adaln_lora_dim": 256,
        "rope_h_extrapolation_ratio": 4.0,
        "rope_w_extrapolation_ratio": 4.0,
        "rope_enable_fps_modulation": False,
        **changes,
    }


def network(dtype: torch.dtype = torch.float32, **changes: Any) -> torch.nn.Module:
    """The host's class alone, its weights not set."""
    import comfy.ops
    from comfy.ldm.cosmos.predict2 import MiniTrainDIT

    return MiniTrainDIT(**config(**changes), dtype=dtype, operations=comfy.ops.disable_weight_init)


def joint(pack: ModuleType, **changes: Any) -> Joint:
    """By the stock loader."""
    name = "_".join(["tiny_cosmos", *map(str, changes.values())])
    with torch.device("meta"):
        shapes = {name: parameter.shape for name, parameter in network(**changes).named_parameters()}
    model = load(name, strided(shapes))
    blocks = [block.self_attn for block in model.model.diffusion_model.blocks]
    split = {f"blocks.{i}": (part.q_proj, part.k_proj, part.v_proj) for i, part in enumerate(blocks)}
    return Joint(pack, model, text(TEXT, seed=5), text(TEXT, seed=6), 16, 2, split=split)
