"""Mochi: the host's ``AsymmDiTJoint``.

Frames mix in the attention of every block, which is shared with the text. The clip's tokens have a projection of their
own, ``blocks.N.attn.qkv_x``, for query, key and value at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .base import TemporalAttention
from .joint import JointTokens, fused


class Mochi(JointTokens):
    family = "mochi"
    title = "Mochi"
    patch = (2, 2)
    frames_each = 6

    def attentions(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[TemporalAttention]:
        network = next((m for m in model.modules() if hasattr(m, "t5_yproj") and hasattr(m, "blocks")), None)
        if network is None:
            return []
        return [fused(f"blocks.{i}", block.attn.qkv_x) for i, block in enumerate(network.blocks)]

    def blocks(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[nn.Module]:
        return list(model.blocks)
