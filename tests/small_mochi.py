"""Mochi as a small random model, and what a graph would wire to it. Needs ComfyUI importable."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch

from tests.joint_rig import Joint, fill, text

HIDDEN, TEXT, BLOCKS = 48, 16, 3
LAYERS = [f"blocks.{i}" for i in range(BLOCKS)]


def config(**changes: Any) -> dict[str, Any]:
    """What the host detects of the published checkpoint, narrow and with few blocks; its MLP allows no other width."""
    return {
        "image_model": "mochi_preview",
        "depth": BLOCKS,
        "patch_size": 2,
        "num_heads": 2,
        "hidden_size_x": HIDDEN,
        "hidden_size_y": 24,
        "mlp_ratio_x": 1536 * 8 / HIDDEN,
        "mlp_ratio_y": 4.0,
        "learn_sigma": False,
        "in_channels": 12,
        "qk_norm": True,
        "qkv_bias": False,
        "out_bias": True,
        "attn_drop": 0.0,
        "patch_embed_bias": True,
        "posenc_preserve_area": True,
        "timestep_mlp_bias": True,
        "attend_to_padding": False,
        "timestep_scale": 1000.0,
        "use_t5": True,
        "t5_feat_dim": TEXT,
        "t5_token_length": 256,
        "rope_theta": 10000.0,
        **changes,
    }


def network(dtype: torch.dtype = torch.float32, **changes: Any) -> torch.nn.Module:
    """The host's class alone, its weights not set."""
    import comfy.ops
    from comfy.ldm.genmo.joint_model.asymm_models_joint import AsymmDiTJoint

    return AsymmDiTJoint(**config(**changes), dtype=dtype, operations=comfy.ops.disable_weight_init)


def joint(pack: ModuleType) -> Joint:
    """By the host's own class of the model: its loader takes every file to be as deep and wide as the published one."""
    import comfy.supported_models
    from comfy.model_patcher import ModelPatcher

    cpu = torch.device("cpu")
    settings = comfy.supported_models.GenmoMochi({**config(), "dtype": torch.float32})
    settings.set_inference_dtype(torch.float32, None)
    with torch.inference_mode():
        base = settings.get_model({}, device=cpu)
        fill(base.diffusion_model)
    model = ModelPatcher(base.eval(), cpu, cpu)
    mask = {"attention_mask": torch.tensor([[1, 1, 1, 1, 0]])}
    blocks = base.diffusion_model.blocks
    fused = {f"blocks.{i}": block.attn.qkv_x for i, block in enumerate(blocks)}
    return Joint(pack, model, text(TEXT, seed=5, **mask), text(TEXT, seed=6, **mask), 12, 2, fused=fused)
