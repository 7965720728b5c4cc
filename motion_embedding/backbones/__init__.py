"""The model families. A new one is a new file here and its line in ``BACKBONES``."""

from __future__ import annotations

from torch import nn

from ..errors import InputError
from .base import Backbone, Call, TemporalAttention
from .unet3d import UNet3D

BACKBONES: tuple[Backbone, ...] = (UNet3D(),)

__all__ = ["BACKBONES", "Backbone", "Call", "TemporalAttention", "find_backbone"]


def find_backbone(model: nn.Module, name: str = "model") -> tuple[Backbone, list[TemporalAttention]]:
    """The family of ``model`` and its frame-mixing attentions; :class:`InputError` when no family knows it."""
    for backbone in BACKBONES:
        if attentions := backbone.attentions(model):
            return backbone, attentions
    families = ", ".join(b.family for b in BACKBONES)
    raise InputError(
        name,
        f"{type(model).__name__} has no temporal attention that this pack knows.",
        f"Wire a video model of one of these families: {families}.",
    )
