"""Wan 2.1 and 2.2 as small random models, and what a graph would wire to them. Needs ComfyUI importable."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch

from tests.joint_rig import Joint, fill, load, text

HIDDEN, TEXT, BLOCKS = 128, 4096, 4
LAYERS = [f"blocks.{i}" for i in range(BLOCKS)]
# What the host tells them apart by.
VARIANTS: dict[str, dict[str, Any]] = {
    "2.1 T2V": {},
    "2.1 I2V": {"model_type": "i2v", "in_dim": 36},
    "2.2 I2V": {"in_dim": 36},
    "2.2 5B": {"in_dim": 48, "out_dim": 48},
    "2.1 control": {"model_type": "i2v", "in_dim": 48, "in_dim_ref_conv": 16},
}


def config(variant: str = "2.1 T2V", **changes: Any) -> dict[str, Any]:
    """As published, but for the width and the number of blocks."""
    sizes = {"dim": HIDDEN, "ffn_dim": 64, "num_heads": HIDDEN // 128, "num_layers": BLOCKS}
    return {"model_type": "t2v", "in_dim": 16, "out_dim": 16, "text_dim": TEXT, **sizes, **VARIANTS[variant], **changes}


def network(variant: str = "2.1 T2V", dtype: torch.dtype = torch.float32, **changes: Any) -> torch.nn.Module:
    """The host's class alone, its weights not set."""
    import comfy.ops
    from comfy.ldm.wan.model import WanModel

    return WanModel(**config(variant, **changes), dtype=dtype, operations=comfy.ops.disable_weight_init)


def joint(
    pack: ModuleType, variant: str = "2.1 T2V", weight_dtype: str = "default", saved: Any = torch.float32
) -> Joint:
    """By the stock loader. saved: the type of the weights in the file."""
    weights = fill(network(variant)).state_dict()
    weights = {name: weight.to(saved) for name, weight in weights.items()}
    model = load(f"tiny_wan_{variant}_{saved}", weights, weight_dtype)
    blocks = model.model.diffusion_model.blocks
    split = {f"blocks.{i}": (b.self_attn.q, b.self_attn.k, b.self_attn.v) for i, b in enumerate(blocks)}
    channels = config(variant)["out_dim"]
    return Joint(pack, model, text(TEXT, seed=5), text(TEXT, seed=6), channels, 2, split=split)


def picture(frames: int = 3, seed: int = 9, height: int = 8, width: int = 6) -> torch.Tensor:
    """A latent."""
    return torch.randn(1, 16, frames, height, width, generator=torch.Generator().manual_seed(seed))


def started(joint: Joint, clip: torch.Tensor) -> tuple[list, list]:
    """Positive and negative for a picture-to-video model, as WanImageToVideo makes them of the clip's first frame."""
    given = picture(clip.shape[2])
    given[:, :, :1] = clip[:, :, :1]
    mask = torch.ones(1, 1, *clip.shape[2:])
    mask[:, :, :1] = 0
    return tuple(with_(c, concat_latent_image=given, concat_mask=mask) for c in (joint.positive, joint.negative))


def with_(conditioning: list, **settings: Any) -> list:
    """``conditioning`` with more settings."""
    return [[conditioning[0][0], {**conditioning[0][1], **settings}]]
