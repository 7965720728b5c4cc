"""Networks to take training steps with: the host's own classes at real sizes, with random weights, and a small one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from motion_embedding.backbones import Backbone, Call, TemporalAttention, find_backbone
from motion_embedding.checkpointing import Checkpoints
from motion_embedding.memory import learning
from motion_embedding.motion_module import MotionModel
from motion_embedding.motion_module_install import attached
from motion_embedding.trainable import TrainableMotion

Extent = tuple[int, int, int]
EXTENTS: dict[str, Extent] = {
    "tiny": (8, 16, 16),
    "zeroscope": (24, 40, 72),
    "svd": (14, 72, 128),
    "animatediff": (16, 64, 64),
    "wan1.3b": (13, 60, 104),
}
"""Frames, height and width of the latent clip, as people make it."""
SIZES = tuple(EXTENTS)
REAL = SIZES[1:]


@dataclass
class Network:
    """latent: shape of the clip. text: shape of the encoded prompt. inputs: what else a call is given.

    around: opened for every call. channels: that the module sees, where they are more than the latent's.
    drawn: whether the weights have been drawn already.
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
    drawn: bool = False

    def __post_init__(self) -> None:
        for module in self.modules:
            module.requires_grad_(False).eval()
            for parameter in module.parameters():
                if not parameter.is_meta and not self.drawn:
                    nn.init.normal_(parameter, std=0.02)
        self.family: tuple[Backbone, list[TemporalAttention]] = find_backbone(self.module, beside=self.beside)
        self.call: Call = self.family[0].call(torch.empty(self.latent, device="meta"), (0,))

    def to_learn(self, layers: str, value_form: str) -> tuple[TrainableMotion, Checkpoints]:
        """What learns on ``layers``, and the blocks that may run again for it; both before the probe."""
        backbone, attentions = self.family
        chosen = backbone.select(attentions, layers)
        blocks = learning(backbone.blocks(self.module, self.beside), chosen)
        return TrainableMotion(chosen, value_form), Checkpoints(blocks, backbone.in_place)

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        return (self.module, *self.beside)

    @property
    def weights(self) -> int:
        """Bytes."""
        return sum(t.nbytes for m in self.modules for t in (*m.parameters(), *m.buffers()))

    def noise(self) -> torch.Tensor:
        return torch.randn(self.latent, device=self.device, dtype=self.dtype)

    def run(self, x: torch.Tensor, text: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """The prediction for noisy latents. inputs: besides those of the network."""
        batch = self.latent[0]
        if self.channels is not None:  # SVD sees its first frame beside every frame
            x = torch.cat([x, x], 1)[:, : self.channels]
        with self.around(), torch.device(self.device):
            return self.module(x, torch.full((batch,), 500.0), text.expand(batch, -1, -1), **self.inputs, **inputs)

    def prompt(self) -> torch.Tensor:
        return torch.randn(self.text, device=self.device, dtype=self.dtype)


def unet3d(
    device: torch.device, dtype: torch.dtype, latent: tuple[int, ...], text: int = 1024, **config: Any
) -> Network:
    """The text-to-video UNet; ZeroScope's where ``config`` does not say otherwise."""
    return Network(_unet3d(device, dtype, text, **config), latent, (1, 77, text), device, dtype)


def _unet3d(device: torch.device, dtype: torch.dtype, text: int = 1024, **config: Any) -> nn.Module:
    from motion_embedding.text_to_video_unet import TextToVideoUNet

    with torch.device(device):
        return TextToVideoUNet(cross_attention_dim=text, **{"attention_head_dim": 64, **config}).to(dtype)


def _narrow(device: torch.device, dtype: torch.dtype) -> nn.Module:
    """ZeroScope's layout, narrow."""
    config = {"block_out_channels": (32, 64, 64, 64), "attention_head_dim": 16, "norm_num_groups": 8}
    return _unet3d(device, dtype, 32, **config)


def _host_unet(device: torch.device, dtype: torch.dtype, **config: Any) -> nn.Module:
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    shape = {"image_size": 32, "out_channels": 4, "model_channels": 320, "num_res_blocks": [2] * 4}
    depth = {"transformer_depth": [1] * 6 + [0] * 2, "transformer_depth_output": [1] * 9 + [0] * 3}
    rest = {"channel_mult": [1, 2, 4, 4], "use_spatial_transformer": True, "transformer_depth_middle": 1}
    made = {"dtype": dtype, "device": device, "operations": comfy.ops.disable_weight_init}
    return UNetModel(**shape, **depth, **rest, legacy=False, **config, **made)


def _svd(device: torch.device, dtype: torch.dtype) -> nn.Module:
    video = {"extra_ff_mix_layer": True, "use_spatial_context": True, "video_kernel_size": [3, 1, 1]}
    mixing = {"merge_strategy": "learned_with_images", "merge_factor": 0.0, "use_temporal_resblock": True}
    more = {"use_temporal_attention": True, "disable_temporal_crossattention": False, "num_classes": "sequential"}
    heads = {"num_heads": -1, "num_head_channels": 64, "use_linear_in_transformer": True}
    return _host_unet(
        device, dtype, in_channels=8, context_dim=1024, adm_in_channels=768, **video, **mixing, **more, **heads
    )


def _sd15(device: torch.device, dtype: torch.dtype) -> nn.Module:
    heads = {"num_heads": 8, "num_head_channels": -1, "use_linear_in_transformer": False}
    return _host_unet(device, dtype, in_channels=4, context_dim=768, use_temporal_attention=False, **heads)


def _motion_v3(device: torch.device, dtype: torch.dtype) -> nn.Module:
    widths = (320, 640, 1280, 1280)
    return MotionModel(widths, widths[::-1], device=device, dtype=dtype)


def _wan(device: torch.device, dtype: torch.dtype) -> nn.Module:
    import comfy.ops
    from comfy.ldm.wan.model import WanModel

    made = {"dtype": dtype, "device": device, "operations": comfy.ops.disable_weight_init}
    return WanModel(dim=1536, ffn_dim=8960, num_heads=12, num_layers=30, **made)


_MODULES: dict[str, tuple[Callable[[torch.device, torch.dtype], nn.Module], ...]] = {
    "tiny": (_narrow,),
    "zeroscope": (_unet3d,),
    "svd": (_svd,),
    "animatediff": (_sd15, _motion_v3),  # SD1.5 with a motion model of version 3 beside it
    "wan1.3b": (_wan,),
}


def network(
    size: str, device: torch.device, dtype: torch.dtype, extent: Extent | None = None, of: Network | None = None
) -> Network:
    """One of :data:`SIZES`, for a clip of that extent. Needs ComfyUI importable.

    of: a network of this size whose modules are taken, as they are by then, in place of new ones.
    """
    frames, height, width = extent or EXTENTS[size]
    modules = of.modules if of else [make(device, dtype) for make in _MODULES[size]]
    made = {"module": modules[0], "device": device, "dtype": dtype, "drawn": of is not None}
    if size in ("tiny", "zeroscope"):
        return Network(latent=(1, 4, frames, height, width), text=(1, 77, 32 if size == "tiny" else 1024), **made)
    if size == "wan1.3b":
        return Network(latent=(1, 16, frames, height, width), text=(1, 512, 4096), **made)
    latent = (frames, 4, height, width)
    if size == "svd":
        inputs = {
            "y": torch.zeros(frames, 768, device=device, dtype=dtype),
            "num_video_frames": frames,
            "image_only_indicator": torch.zeros(1, frames, device=device),
        }
        return Network(latent=latent, text=(1, 1, 1024), inputs=inputs, channels=8, **made)

    @contextmanager
    def beside() -> Iterator[None]:
        with attached(modules[0], modules[1], frames):
            yield

    return Network(latent=latent, text=(1, 77, 768), beside=(modules[1],), around=beside, **made)


def small(device: torch.device, dtype: torch.dtype, frames: int = 8, height: int = 16, width: int = 16) -> Network:
    """The narrow one."""
    return network("tiny", device, dtype, (frames, height, width))
