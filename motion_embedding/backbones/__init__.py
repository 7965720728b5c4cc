"""The model families. A new one is a new file here and its line in ``BACKBONES``."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..errors import InputError
from .animatediff import AnimateDiff
from .base import Backbone, Call, TemporalAttention
from .cosmos import CosmosPredict2
from .hunyuan import HunyuanVideo, HunyuanVideo15
from .latte import Latte
from .ltxv import LTXV
from .mochi import Mochi
from .svd import SVD
from .unet3d import UNet3D
from .wan import Wan

BACKBONES: tuple[Backbone, ...] = (
    AnimateDiff(),
    SVD(),
    UNet3D(),
    Latte(),
    Wan(),
    LTXV(),
    HunyuanVideo(),
    HunyuanVideo15(),
    Mochi(),
    CosmosPredict2(),
)

__all__ = ["BACKBONES", "Backbone", "Call", "TemporalAttention", "becoming", "find_backbone", "title_of"]


def find_backbone(
    model: nn.Module, name: str = "model", beside: Sequence[nn.Module] = ()
) -> tuple[Backbone, list[TemporalAttention]]:
    """The family of ``model`` and its frame-mixing attentions; :class:`InputError` when no family knows it.

    name: of the input to blame.
    beside: modules that run with the model without being in its tree.
    """
    for backbone in BACKBONES:
        if attentions := backbone.attentions(model, beside):
            return backbone, attentions
    families = "; ".join(b.title for b in BACKBONES)
    raise InputError(
        name,
        f"{type(model).__name__} has no temporal attention that this pack knows.",
        f"Wire a video model of one of these families: {families}.",
    )


def becoming(model: nn.Module) -> Backbone | None:
    """The family that ``model``, which has no frame-mixing attention now, may be of once it samples."""
    return next((backbone for backbone in BACKBONES if backbone.may_become(model)), None)


def title_of(family: str) -> str:
    """What people call the family that files call ``family``; that itself where no family has this name."""
    return next((backbone.title for backbone in BACKBONES if backbone.family == family), family)
