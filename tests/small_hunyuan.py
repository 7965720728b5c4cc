"""HunyuanVideo and 1.5 as small random models, and what a graph would wire to them. Needs ComfyUI importable."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch

from tests.joint_rig import Joint, fill, load, text

HIDDEN, TEXT, LABEL, VISION = 128, 16, 768, 1152
LAYERS = ["double_blocks.0", "double_blocks.1", "single_blocks.0", "single_blocks.1"]


def config(version: str = "1", **changes: Any) -> dict[str, Any]:
    """What the host detects of the published checkpoints, narrow and with few blocks. version: ``1`` or ``1.5``."""
    old = version == "1"
    return {
        "in_channels": 16 if old else 65,
        "out_channels": 16 if old else 32,
        "patch_size": [1, 2, 2] if old else [1, 1, 1],
        "vec_in_dim": LABEL if old else None,
        "context_in_dim": TEXT,
        "hidden_size": HIDDEN,
        "mlp_ratio": 4.0,
        "num_heads": HIDDEN // 128,
        "depth": 2,
        "depth_single_blocks": 2,
        "axes_dim": [16, 56, 56],
        "theta": 256,
        "qkv_bias": True,
        "guidance_embed": old,
        "byt5": False,
        "meanflow": False,
        "use_cond_type_embedding": not old,
        "vision_in_dim": None if old else VISION,
        **changes,
    }


def network(version: str = "1", dtype: torch.dtype = torch.float32, **changes: Any) -> torch.nn.Module:
    """The host's class alone, its weights not set."""
    import comfy.ops
    from comfy.ldm.hunyuan_video.model import HunyuanVideo

    return HunyuanVideo(**config(version, **changes), dtype=dtype, operations=comfy.ops.disable_weight_init)


def joint(
    pack: ModuleType, version: str = "1", weight_dtype: str = "default", saved: Any = torch.float32, **changes: Any
) -> Joint:
    """By the stock loader. saved: the type of the weights in the file."""
    name = "_".join(["tiny_hunyuan", version, str(saved), *map(str, changes.values())])
    weights = fill(network(version, **changes)).state_dict()
    model = load(name, {name: weight.to(saved) for name, weight in weights.items()}, weight_dtype)
    inner = model.model.diffusion_model
    labels = torch.randn(2, 1, LABEL, generator=torch.Generator().manual_seed(8))
    positive, negative = (text(TEXT, seed=5 + i, pooled_output=label) for i, label in enumerate(labels))
    fused = {f"double_blocks.{i}": block.img_attn.qkv for i, block in enumerate(inner.double_blocks)}
    fused |= {f"single_blocks.{i}": block.linear1 for i, block in enumerate(inner.single_blocks)}
    after = {layer: 5 for layer in fused if layer.startswith("single")}
    latents = (16, 2, 8, 6) if version == "1" else (32, 1, 4, 3)
    return Joint(pack, model, positive, negative, *latents, fused=fused, after=after)
