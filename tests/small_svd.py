"""A small random MODEL of the shape of Stable Video Diffusion or SV3D, and what a graph would wire to it."""

from __future__ import annotations

from typing import Any

import torch

from tests.small_sd15 import fill

WIDTHS = (32, 64, 96, 96)
TEXT = 16
LABELS = {"SVD_img2vid": 768, "SV3D_u": 256, "SV3D_p": 1280}
LAYERS = [
    *[f"input_blocks.{n}.1.time_stack.0" for n in (1, 2, 4, 5, 7, 8)],
    "middle_block.1.time_stack.0",
    *[f"output_blocks.{n}.1.time_stack.0" for n in range(3, 12)],
]


def unet_config(widths: tuple[int, ...] = WIDTHS, **changes: Any) -> dict[str, Any]:
    """What the host detects of the published checkpoints, with narrow levels."""
    return {
        "image_size": 32,
        "in_channels": 8,
        "out_channels": 4,
        "model_channels": widths[0],
        "num_res_blocks": [2, 2, 2, 2],
        "channel_mult": [w // widths[0] for w in widths],
        "num_classes": "sequential",
        "adm_in_channels": 768,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": True,
        "context_dim": TEXT,
        "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
        "transformer_depth_output": [1] * 9 + [0] * 3,
        "transformer_depth_middle": 1,
        "num_heads": -1,
        "num_head_channels": 16,
        "extra_ff_mix_layer": True,
        "use_spatial_context": True,
        "merge_strategy": "learned_with_images",
        "merge_factor": 0.0,
        "video_kernel_size": [3, 1, 1],
        "use_temporal_resblock": True,
        "use_temporal_attention": True,
        "disable_temporal_crossattention": False,
        "legacy": False,
        "dtype": torch.float32,
        **changes,
    }


def unet(**changes: Any) -> torch.nn.Module:
    """The host's UNet alone, its weights not set. Needs ComfyUI importable, as all here does."""
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    return UNetModel(**unet_config(**changes), operations=comfy.ops.disable_weight_init)


def model(kind: str = "SVD_img2vid", **changes: Any) -> Any:
    """A ``ModelPatcher`` on the CPU, of the class that the host uses for ``kind``."""
    import comfy.model_base
    import comfy.supported_models
    from comfy.model_patcher import ModelPatcher

    settings = unet_config(adm_in_channels=LABELS[kind], **changes)
    config = getattr(comfy.supported_models, kind)(settings)
    config.unet_config["num_head_channels"] = settings["num_head_channels"]
    config.set_inference_dtype(torch.float32, None)
    base = config.get_model({}, device=torch.device("cpu"))
    fill(base.diffusion_model, 1)
    return ModelPatcher(base.eval(), torch.device("cpu"), torch.device("cpu"))


def clip(frames: int = 4, height: int = 8, width: int = 8) -> torch.Tensor:
    """Latents of a clip."""
    return torch.randn(frames, 4, height, width, generator=torch.Generator().manual_seed(3))


def conditioning(picture: torch.Tensor, **changes: Any) -> tuple[list, list]:
    """Positive and negative, as SVD_img2vid_Conditioning makes them of a picture's latent ``[1, 4, h, w]``."""
    seen = torch.randn(1, 1, TEXT, generator=torch.Generator().manual_seed(5))
    settings = {"motion_bucket_id": 127, "fps": 6, "augmentation_level": 0.0, **changes}
    positive = [[seen, {**settings, "concat_latent_image": picture}]]
    negative = [[torch.zeros_like(seen), {**settings, "concat_latent_image": torch.zeros_like(picture)}]]
    return positive, negative


def sample(model: Any, frames: int = 4, cfg: float = 2.5, size: tuple[int, int] = (8, 8), **changes: Any):
    """Two steps of the host's own sampler, as a node would."""
    import nodes

    options = {"seed": 0, "steps": 2, "sampler_name": "euler", "scheduler": "karras", **changes}
    positive, negative = conditioning(clip(1, *size))
    latent = {"samples": torch.zeros(frames, 4, *size)}
    with torch.inference_mode():
        return nodes.common_ksampler(model, positive=positive, negative=negative, cfg=cfg, latent=latent, **options)[0][
            "samples"
        ]
