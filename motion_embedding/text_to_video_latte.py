"""(ComfyUI) diffusers' Latte transformer as a stock MODEL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import comfy.conds
import comfy.ldm.common_dit
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from diffusers import LatteTransformer3DModel
from diffusers.models.embeddings import get_1d_sincos_pos_embed_from_grid

from .text_to_video_model import HostNetwork, TextToVideoConfig, TextToVideoModel, load_network

_KEY = "motion_embeddings_negative_text"


class LatteTransformer(HostNetwork, LatteTransformer3DModel):
    """diffusers' transformer with the call signature of ComfyUI's diffusion models."""

    @property
    def text_width(self) -> int:
        return self.config.caption_channels

    def forward(
        self,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor | None = None,
        control: Any = None,
        transformer_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Noisy latents ``[B, C, F, h, w]``, timesteps ``[B]``, text ``[B, tokens, width]`` -> prediction.

        The variance that the model learnt with it, and no sampler of ComfyUI uses, is left out. F may be any number.
        """
        self.compute_dtype = x.dtype
        self._fetch_tables(x)
        (_, channels, frames, height, width), patch = x.shape, self.config.patch_size
        if frames > 1 and frames != self.temp_pos_embed.shape[1]:
            self.temp_pos_embed = self._positions(frames).to(x.device)
        padded = comfy.ldm.common_dit.pad_to_patch_size(x, (1, patch, patch))
        output = super().forward(padded, timesteps, context, return_dict=False)[0]
        return output[:, :channels, :, :height, :width]

    def _fetch_tables(self, x: torch.Tensor) -> None:
        """ComfyUI moves and casts layers; these parameters and this buffer are in none."""
        for module in (self, *self.transformer_blocks, *self.temporal_transformer_blocks):
            table = module.scale_shift_table
            if (table.device, table.dtype) != (x.device, x.dtype):
                table.data = table.data.to(x)
        if self.pos_embed.pos_embed.device != x.device:
            self.pos_embed.pos_embed = self.pos_embed.pos_embed.to(x.device)
        if self.temp_pos_embed.device != x.device:
            self.temp_pos_embed = self.temp_pos_embed.to(x.device)

    def _positions(self, frames: int) -> torch.Tensor:
        """Sinusoids of the frames' numbers ``[1, F, C]``; the model has them for the length it was trained on."""
        numbers = torch.arange(frames)[:, None]
        width = self.temp_pos_embed.shape[-1]
        return get_1d_sincos_pos_embed_from_grid(width, numbers, output_type="pt").float()[None]


def kept_tokens(text: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``text [B, tokens, width]`` without the tokens where ``mask [1, n]`` is 0; those after the first n stay."""
    mask = mask[0].bool().to(text.device)
    return torch.cat([text[:, : len(mask)][:, mask], text[:, len(mask) :]], dim=1)


class LatteModel(TextToVideoModel):
    """Stock model around :class:`LatteTransformer`: it reads a prompt without its padding."""

    def extra_conds(self, **conditioning: Any) -> dict[str, Any]:
        out = super().extra_conds(**conditioning)
        text, mask = conditioning.get("cross_attn"), conditioning.get("attention_mask")
        if text is not None and mask is not None:
            out["c_crossattn"] = comfy.conds.CONDCrossAttn(kept_tokens(text, mask))
        return out


class LatteConfig(TextToVideoConfig):
    # Of PixArt, whose blocks these are.
    memory_usage_factor = 0.5


def match_negative_length(executor: WrapperExecutor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Sampling wrapper: the negative prompt is read as far as the positive, padding included.

    Latte's own pipeline does so, and a bare end token in its place would guide the clip elsewhere.
    """
    conds: dict[str, Sequence[dict]] = executor.class_obj.conds
    lengths = [int(c["attention_mask"].sum()) for c in conds.get("positive", ()) if "attention_mask" in c]
    others = [c for name, group in conds.items() if name != "positive" for c in group if "attention_mask" in c]
    for conditioning in others if lengths else ():
        mask = conditioning["attention_mask"]
        conditioning["attention_mask"] = (torch.arange(mask.shape[-1]) < max(lengths)).to(mask)[None]
    return executor(*args, **kwargs)


def load_model(folder: Path, dtype: torch.dtype | None = None) -> ModelPatcher:
    """The transformer of a Latte folder. ``dtype`` is the precision of the weights; None lets ComfyUI choose."""
    patcher = load_network(folder, "transformer", _new_transformer, dtype, LatteModel, LatteConfig)
    patcher.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, _KEY, match_negative_length)
    return patcher


def _new_transformer(config: dict[str, Any]) -> LatteTransformer:
    with torch.device("meta"):
        network = LatteTransformer.from_config(config)
    # No file holds the positions. A model without blocks has them too, and is made at once.
    for name, buffer in LatteTransformer.from_config({**config, "num_layers": 0}).named_buffers():
        owner, _, own_name = name.rpartition(".")
        setattr(network.get_submodule(owner), own_name, buffer)
    return network
