"""Networks to take training steps with: the host's own classes at real sizes, with random weights, and a small one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from motion_embedding.backbones import Backbone, Call, TemporalAttention, find_backbone
from motion_embedding.motion_module import MotionModel
from motion_embedding.motion_module_install import attached

SIZES = ("tiny", "zeroscope", "svd", "animatediff", "wan1.3b")


@dataclass
class Network:
    """latent: shape of the clip. text: shape of the encoded prompt. inputs: what else a call is given.

    around: opened for every call. frames: of the clip where the latent does not say it.
    """

    module: nn.Module
    latent: tuple[int, ...]
    text: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype
    inputs: dict[str, Any] = field(default_factory=dict)
    beside: Sequence[nn.Module] = ()
    around: Callable[[], AbstractContextManager] = nullcontext
    channels: int | None = None

    def __post_init__(self) -> None:
        for module in (self.module, *self.beside):
            module.requires_grad_(False).eval()
            for parameter in module.parameters():
                if not parameter.is_meta:
                    nn.init.normal_(parameter, std=0.02)
        self.family: tuple[Backbone, list[TemporalAttention]] = find_backbone(self.module, beside=self.beside)
        self.call: Call = self.family[0].call(torch.empty(self.latent, device="meta"), (0,))

    def noise(self) -> torch.Tensor:
        return torch.randn(self.latent, device=self.device, dtype=self.dtype)

    def run(self, x: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """The prediction for noisy latents."""
        batch = self.latent[0]
        if self.channels is not None:  # SVD sees its first frame beside every frame
            x = torch.cat([x, x], 1)[:, : self.channels]
        with self.around(), torch.device(self.device):
            return self.module(x, torch.full((batch,), 500.0), text.expand(batch, -1, -1), **self.inputs)

    def prompt(self) -> torch.Tensor:
        return torch.randn(self.text, device=self.device, dtype=self.dtype)


def unet3d(
    device: torch.device, dtype: torch.dtype, latent: tuple[int, ...], text: int = 1024, **config: Any
) -> Network:
    """The text-to-video UNet; ZeroScope's where ``config`` does not say otherwise."""
    from motion_embedding.text_to_video_unet import TextToVideoUNet

    with torch.device(device):
        module = TextToVideoUNet(cross_attention_dim=text, **{"attention_head_dim": 64, **config}).to(dtype)
    return Network(module, latent, (1, 77, text), device, dtype)


def _host_unet(device: torch.device, dtype: torch.dtype, **config: Any) -> nn.Module:
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    shape = {"image_size": 32, "out_channels": 4, "model_channels": 320, "num_res_blocks": [2] * 4}
    depth = {"transformer_depth": [1] * 6 + [0] * 2, "transformer_depth_output": [1] * 9 + [0] * 3}
    rest = {"channel_mult": [1, 2, 4, 4], "use_spatial_transformer": True, "transformer_depth_middle": 1}
    made = {"dtype": dtype, "device": device, "operations": comfy.ops.disable_weight_init}
    return UNetModel(**shape, **depth, **rest, legacy=False, **config, **made)


def svd(device: torch.device, dtype: torch.dtype, frames: int = 14) -> Network:
    video = {"extra_ff_mix_layer": True, "use_spatial_context": True, "video_kernel_size": [3, 1, 1]}
    mixing = {"merge_strategy": "learned_with_images", "merge_factor": 0.0, "use_temporal_resblock": True}
    more = {"use_temporal_attention": True, "disable_temporal_crossattention": False, "num_classes": "sequential"}
    heads = {"num_heads": -1, "num_head_channels": 64, "use_linear_in_transformer": True}
    module = _host_unet(
        device, dtype, in_channels=8, context_dim=1024, adm_in_channels=768, **video, **mixing, **more, **heads
    )
    inputs = {
        "y": torch.zeros(frames, 768, device=device, dtype=dtype),
        "num_video_frames": frames,
        "image_only_indicator": torch.zeros(1, frames, device=device),
    }
    return Network(module, (frames, 4, 72, 128), (1, 1, 1024), device, dtype, inputs, channels=8)


def animatediff(device: torch.device, dtype: torch.dtype, frames: int = 16) -> Network:
    """SD1.5 with a motion model of version 3 beside it."""
    heads = {"num_heads": 8, "num_head_channels": -1, "use_linear_in_transformer": False}
    module = _host_unet(device, dtype, in_channels=4, context_dim=768, use_temporal_attention=False, **heads)
    widths = (320, 640, 1280, 1280)
    motion = MotionModel(widths, widths[::-1], device=device, dtype=dtype)

    @contextmanager
    def beside() -> Iterator[None]:
        with attached(module, motion, frames):
            yield

    return Network(module, (frames, 4, 64, 64), (1, 77, 768), device, dtype, beside=(motion,), around=beside)


def wan(device: torch.device, dtype: torch.dtype) -> Network:
    """1.3B at 832x480, 49 frames."""
    import comfy.ops
    from comfy.ldm.wan.model import WanModel

    made = {"dtype": dtype, "device": device, "operations": comfy.ops.disable_weight_init}
    module = WanModel(dim=1536, ffn_dim=8960, num_heads=12, num_layers=30, **made)
    return Network(module, (1, 16, 13, 60, 104), (1, 512, 4096), device, dtype)


def network(size: str, device: torch.device, dtype: torch.dtype) -> Network:
    """One of :data:`SIZES`. Needs ComfyUI importable."""
    if size == "tiny":
        return small(device, dtype)
    if size == "zeroscope":
        return unet3d(device, dtype, (1, 4, 24, 40, 72))
    return {"svd": svd, "animatediff": animatediff, "wan1.3b": wan}[size](device, dtype)


def small(device: torch.device, dtype: torch.dtype, frames: int = 8, height: int = 16, width: int = 16) -> Network:
    """ZeroScope's layout, narrow."""
    config = {"block_out_channels": (32, 64, 64, 64), "attention_head_dim": 16, "norm_num_groups": 8}
    return unet3d(device, dtype, (1, 4, frames, height, width), 32, **config)
