"""Latte: diffusers' ``LatteTransformer3DModel``, whose blocks look at space and time in turn.

Frames mix in ``temporal_transformer_blocks.N.attn1``, over the frames of one token. Tokens are ``[(B h w), F, C]``, and
values lie on a capped grid, as with the other transformers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import nn

from .base import Backbone, Call, TemporalAttention, add_position_major, halved_grid, video_call
from .joint import capped, frame_major
from .unet3d import UNet3D

_TEMPORAL = re.compile(r"(?:^|\.)(temporal_transformer_blocks\.\d+)$")
_SPATIAL = re.compile(r"(?:^|\.)transformer_blocks\.\d+\.")


class Latte(Backbone):
    family = "latte"
    title = "Latte"
    # The levels that presets tell apart are levels of width, and here all blocks are equally wide.
    presets = dict.fromkeys(UNet3D.presets, list)

    def attentions(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[TemporalAttention]:
        found = []
        for name, block in model.named_modules():
            place = _TEMPORAL.search(name.replace("_orig_mod.", ""))
            if place and hasattr(block, "attn1"):
                part = block.attn1
                found.append(TemporalAttention(place[1], "attn1", part.to_q, part.to_k, part.to_v))
        return found

    def blocks(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[nn.Module]:
        pairs = zip(model.transformer_blocks, model.temporal_transformer_blocks, strict=True)
        return [block for pair in pairs for block in pair]

    def spatial_linears(self, model: nn.Module) -> list[nn.Linear]:
        """Those of ``transformer_blocks``."""
        named = ((name.replace("_orig_mod.", ""), module) for name, module in model.named_modules())
        return [module for name, module in named if _SPATIAL.search(name) and isinstance(module, nn.Linear)]

    def call(
        self, x: torch.Tensor, groups: Sequence[int], name: str = "latent_image", frames: int | None = None
    ) -> Call:
        return video_call(x, groups, name)

    def tokens(self, x: torch.Tensor, call: Call) -> tuple[int, int]:
        """Rows and columns of a frame's tokens."""
        return halved_grid(x.shape[0] // call.batch, call.height, call.width)

    def grid(self, x: torch.Tensor, call: Call) -> tuple[int, int]:
        return capped(self.tokens(x, call))

    def add(self, x: torch.Tensor, addition: torch.Tensor, call: Call) -> torch.Tensor:
        if addition.shape[1] > 1:
            rows = frame_major(addition, self.grid(x, call), self.tokens(x, call))
            addition = rearrange(rows, "g (f p) c -> g p f c", f=addition.shape[2])
        return add_position_major(x, addition, len(call.groups))
