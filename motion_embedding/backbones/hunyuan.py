"""HunyuanVideo and HunyuanVideo 1.5, text or picture to video: the host's ``HunyuanVideo``.

Frames mix in the attention of every block, which is shared with the text. In ``double_blocks.N`` the clip has its own
projections, ``img_attn.qkv``; in ``single_blocks.N`` one module, ``linear1``, makes query, key, value and more of all
tokens, the clip's first. Those of a reference picture come before the clip's. A guiding frame is the clip's own first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn

from .base import Call, TemporalAttention
from .joint import JointTokens, fused


class HunyuanVideo(JointTokens):
    family = "hunyuan_video"
    title = "HunyuanVideo"
    patch = (2, 2)
    frames_each = 4
    in_place = True

    def attentions(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[TemporalAttention]:
        network = next((module for module in model.modules() if self._is_own(module)), None)
        if network is None:
            return []
        doubles = [fused(f"double_blocks.{i}", b.img_attn.qkv) for i, b in enumerate(network.double_blocks)]
        singles = [fused(f"single_blocks.{i}", b.linear1) for i, b in enumerate(network.single_blocks)]
        return doubles + singles

    def _is_own(self, module: nn.Module) -> bool:
        """HunyuanImage is the same class, with two-dimensional patches."""
        refined = hasattr(getattr(module, "txt_in", None), "individual_token_refiner")
        return refined and hasattr(module, "single_blocks") and tuple(module.patch_size) == (1, *self.patch)

    def blocks(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[nn.Module]:
        return [*model.double_blocks, *model.single_blocks]

    def extended(self, call: Call, model: nn.Module, conditioning: Mapping[str, object]) -> Call:
        reference = conditioning.get("ref_latent")
        if reference is None:
            return call
        frames, height, width = reference.shape[-3:]
        rows, columns = self.tokens(replace(call, height=height, width=width))
        return replace(call, leading=frames * rows * columns)


class HunyuanVideo15(HunyuanVideo):
    """Version 1.5: one token for each position of a latent whose positions are twice as large."""

    family = "hunyuan_video_15"
    title = "HunyuanVideo 1.5"
    patch = (1, 1)

    def _is_own(self, module: nn.Module) -> bool:
        """HunyuanImage's refiner has the same patches, and sees no picture."""
        return super()._is_own(module) and module.vision_in is not None
