"""Cosmos Predict2, text or picture to video: the host's ``MiniTrainDIT``.

Frames mix in the self-attention of every block, ``blocks.N.self_attn``, over the clip's tokens and no others.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .base import TemporalAttention
from .joint import JointTokens


class CosmosPredict2(JointTokens):
    family = "cosmos_predict2"
    title = "Cosmos Predict2"
    patch = (2, 2)
    frames_each = 4

    def attentions(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[TemporalAttention]:
        own = ("t_embedding_norm", "patch_temporal", "blocks")
        network = next((m for m in model.modules() if all(hasattr(m, name) for name in own)), None)
        found = []
        for index, block in enumerate(network.blocks if network is not None else ()):
            part = block.self_attn
            found.append(TemporalAttention(f"blocks.{index}", "self_attn", part.q_proj, part.k_proj, part.v_proj))
        return found

    def blocks(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[nn.Module]:
        return list(model.blocks)
