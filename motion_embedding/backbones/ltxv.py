"""LTX-Video: the host's ``LTXVModel``.

Frames mix in the self-attention of every block, ``transformer_blocks.N.attn1``, one token for each position of the
latent. Guiding frames (LTXVAddGuide) are the last of the latent, and ``keyframe_idxs`` says how many tokens they have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from .base import Call, TemporalAttention
from .joint import JointTokens

_OWN = ("patchify_proj", "adaln_single", "transformer_blocks", "scale_shift_table")


class LTXV(JointTokens):
    family = "ltxv"
    title = "LTX-Video"
    patch = (1, 1)
    in_place = True

    def attentions(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[TemporalAttention]:
        network = next((module for module in model.modules() if all(hasattr(module, name) for name in _OWN)), None)
        found = []
        for index, block in enumerate(network.transformer_blocks if network is not None else ()):
            part = block.attn1
            found.append(TemporalAttention(f"transformer_blocks.{index}", "attn1", part.to_q, part.to_k, part.to_v))
        return found

    def blocks(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[nn.Module]:
        return list(model.transformer_blocks)

    def extended(self, call: Call, model: nn.Module, conditioning: Mapping[str, object]) -> Call:
        guides = conditioning.get("keyframe_idxs")
        if guides is None:
            return call
        rows, columns = self.tokens(call)
        clip = call.length - guides.shape[2] // (rows * columns)
        if call.window is None:
            return replace(call, frames=clip)
        window = tuple(frame for frame in call.window if frame < clip)
        return replace(call, frames=len(window), window=window, total=clip)

    def video(self, x: torch.Tensor, call: Call) -> torch.Tensor:
        return x[:, :, : call.frames]
