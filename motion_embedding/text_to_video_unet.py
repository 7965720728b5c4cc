"""(ComfyUI) diffusers' text-to-video UNet as a stock MODEL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from diffusers import UNet3DConditionModel

from .text_to_video_model import HostNetwork, load_network


class TextToVideoUNet(HostNetwork, UNet3DConditionModel):
    """diffusers' UNet with the call signature of ComfyUI's diffusion models."""

    @property
    def unet(self) -> UNet3DConditionModel:
        """The UNet whose temporal attentions are to be walked: itself."""
        return self

    @property
    def text_width(self) -> int:
        return self.config.cross_attention_dim

    def forward(
        self,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor | None = None,
        control: Any = None,
        transformer_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Noisy latents ``[B, C, F, h, w]``, timesteps ``[B]``, text ``[B, tokens, width]`` -> prediction."""
        self.compute_dtype = x.dtype
        return super().forward(x, timesteps, context, return_dict=False)[0]


def load_model(folder: Path, dtype: torch.dtype | None = None) -> ModelPatcher:
    """The UNet of a model folder. ``dtype`` is the precision of the weights; None lets ComfyUI choose."""
    return load_network(folder, "unet", _new_unet, dtype)


def _new_unet(config: dict[str, Any]) -> TextToVideoUNet:
    with torch.device("meta"):
        return TextToVideoUNet.from_config(config)
