"""Wan 2.1 and 2.2, and what is built on them: the host's ``WanModel``.

Frames mix in the self-attention of every block, ``blocks.N.self_attn``, over all tokens of the clip. A reference
picture's tokens come before the clip's, appended frames (``time_dim_concat``) after them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn

from .base import Call, TemporalAttention
from .joint import JointTokens, inner

_PLACE = re.compile(r"(?:^|\.)(blocks\.\d+)\.self_attn$")


class Wan(JointTokens):
    family = "wan"
    patch = (2, 2)
    presets = {"recommended": inner, "all": list}

    def attentions(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[TemporalAttention]:
        found = []
        for name, module in model.named_modules():
            place = _PLACE.search(name.replace("_orig_mod.", ""))
            if place and all(hasattr(module, part) for part in ("q", "k", "v", "o")):
                found.append(TemporalAttention(place[1], "self_attn", module.q, module.k, module.v))
        return found

    def blocks(self, model: nn.Module) -> list[nn.Module]:
        return list(model.blocks)

    def extended(self, call: Call, model: nn.Module, conditioning: Mapping[str, object]) -> Call:
        if getattr(model, "ref_conv", None) is None or conditioning.get("reference_latent") is None:
            return call
        rows, columns = self.tokens(call)
        return replace(call, leading=rows * columns)
