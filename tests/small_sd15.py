"""A small random MODEL of the shape of SD1.5, a motion model for it, and what else a graph would wire to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from motion_embedding.motion_module import MotionModel

WIDTHS = (32, 64, 64, 64)
TEXT = 16
PLACES = [
    *[f"down_blocks.{i}.motion_modules.{j}" for i in range(4) for j in range(2)],
    "mid_block.motion_modules.0",
    *[f"up_blocks.{i}.motion_modules.{j}" for i in range(4) for j in range(3)],
]
LAYERS = [f"{place}.temporal_transformer.transformer_blocks.0" for place in PLACES]


def fill(module: torch.nn.Module, seed: int, scale: float = 1.0) -> None:
    """Random weights that keep the size of what passes; ``scale`` for those of layers that mix channels."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise * scale / max(noise[:1].numel(), 1) ** 0.5)
            else:
                parameter.copy_(noise * 0.1)
        for part in module.modules():
            if "Norm" in type(part).__name__:
                part.weight.add_(1)


def unet_config(**changes: Any) -> dict[str, Any]:
    """SD1.5's layout with narrow levels."""
    return {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": WIDTHS[0],
        "num_res_blocks": [2, 2, 2, 2],
        "channel_mult": [w // WIDTHS[0] for w in WIDTHS],
        "num_heads": 4,
        "num_head_channels": -1,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": False,
        "context_dim": TEXT,
        "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
        "transformer_depth_output": [1] * 9 + [0] * 3,
        "transformer_depth_middle": 1,
        "use_temporal_attention": False,
        "legacy": False,
        "adm_in_channels": None,
        "dtype": torch.float32,
        **changes,
    }


def model(kind: str = "SD15", **changes: Any) -> Any:
    """A ``ModelPatcher`` on the CPU. Needs ComfyUI importable."""
    import comfy.model_base
    import comfy.supported_models
    from comfy.model_patcher import ModelPatcher

    config = getattr(comfy.supported_models, kind)(unet_config(**changes))
    config.set_inference_dtype(torch.float32, None)
    base = comfy.model_base.BaseModel(config, device=torch.device("cpu"))
    fill(base.diffusion_model, 1)
    return ModelPatcher(base.eval(), torch.device("cpu"), torch.device("cpu"))


def motion_model(version: str = "v3", scale: float = 1.0, **changes: Any) -> MotionModel:
    """With random weights; ``scale`` 0 is one that has learnt nothing."""
    motion = MotionModel(WIDTHS, WIDTHS[::-1], mid=version == "v2", **changes).eval()
    fill(motion, 2)
    with torch.no_grad():
        for module in (*motion.modules_down(), *motion.modules_mid(), *motion.modules_up()):
            for parameter in module.temporal_transformer.proj_out.parameters():
                parameter.mul_(scale)
    return motion


def save_motion_model(path: Path, version: str = "v3", scale: float = 1.0, **changes: Any) -> Path:
    """As published: a .ckpt, or .safetensors by the name of ``path``."""
    from safetensors.torch import save_file

    state = motion_model(version, scale, **changes).state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, path)
    return path


def text(seed: int) -> list:
    """A conditioning."""
    return [[torch.randn(1, 5, TEXT, generator=torch.Generator().manual_seed(seed)), {}]]


def sample(
    model: Any, frames: int = 4, cfg: float = 2.0, latent: torch.Tensor | None = None, **changes: Any
) -> torch.Tensor:
    """Two steps of the host's own sampler, as a node would."""
    import nodes

    options = {"seed": 0, "steps": 2, "sampler_name": "euler", "scheduler": "sgm_uniform", **changes}
    options = {"positive": text(5), "negative": text(6), **options}
    latent = torch.zeros(frames, 4, 8, 8) if latent is None else latent
    with torch.inference_mode():
        return nodes.common_ksampler(model, cfg=cfg, latent={"samples": latent}, **options)[0]["samples"]
