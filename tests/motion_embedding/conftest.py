"""A small random text-to-video UNet and what goes into it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from diffusers import UNet3DConditionModel

from motion_embedding.backbones import Backbone, Call, TemporalAttention, find_backbone
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding


@dataclass
class Small:
    """A frozen random UNet with two levels of temporal attention, and one input for it."""

    unet: UNet3DConditionModel
    backbone: Backbone
    attentions: list[TemporalAttention]
    x: torch.Tensor
    text: torch.Tensor
    call: Call

    def __call__(self, x: torch.Tensor | None = None) -> torch.Tensor:
        return self.unet(self.x if x is None else x, 500, self.text).sample

    def embedding(self, scale: float = 0.5, frames: int = 5, size: tuple[int, int] = (8, 6)) -> MotionEmbedding:
        """A random embedding for the recommended layers at latent size ``size``."""
        generator = torch.Generator().manual_seed(11)
        layers: dict[str, dict] = {}
        for a in self.backbone.select(self.attentions, "recommended"):
            step = 1 if a.layer.startswith(("down_blocks.0", "up_blocks.1")) else 2
            grid = (-(-size[0] // step), -(-size[1] // step))
            layer = layers.setdefault(a.layer, {"query_key": torch.randn(frames, a.width, generator=generator) * scale})
            layer[a.name] = torch.randn(*grid, frames, a.width, generator=generator) * scale
        return MotionEmbedding(
            {name: LayerEmbedding(d.pop("query_key"), d) for name, d in layers.items()}, "unet3d", frames, *size
        )


@pytest.fixture
def small() -> Small:
    torch.manual_seed(0)
    unet = UNet3DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock3D", "CrossAttnDownBlock3D"),
        up_block_types=("CrossAttnUpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=8,
        attention_head_dim=4,
    ).eval()
    unet.requires_grad_(False)
    for name, parameter in unet.named_parameters():
        if ".conv4." in name:  # zero-initialised: without this, temporal convolutions would do nothing
            parameter.normal_(0, 0.05)
    backbone, attentions = find_backbone(unet)
    x, text = torch.randn(2, 4, 5, 8, 6), torch.randn(2, 3, 8)
    return Small(unet, backbone, attentions, x, text, backbone.call(x, (0, 1)))


@pytest.fixture(scope="session")
def zeroscope() -> UNet3DConditionModel:
    """A UNet with the layout of ModelScope and ZeroScope and no numbers in it."""
    with torch.device("meta"):
        return UNet3DConditionModel(block_out_channels=(320, 640, 1280, 1280), layers_per_block=2)
