"""ModelScope, ZeroScope, VideoCrafter2: diffusers' ``UNet3DConditionModel``.

Frames mix in ``temp_attentions``, whose blocks hold two self-attentions (``attn1`` and ``attn2``; the second is
built with ``double_self_attention``), and in ``transformer_in`` right behind the first convolution. Tokens are
``[(B h w), F, C]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

import torch
from torch import nn

from .base import Backbone, Call, TemporalAttention, add_position_major, halved_grid, video_call

# The host's own UNets, whose families share these presets, name the same places otherwise.
_SIDES = ("down_blocks.", "up_blocks.", "input_blocks.", "output_blocks.")
_MIDDLE = ("mid_block.", "middle_block.")


def _find_unet(model: nn.Module) -> tuple[str, nn.Module] | None:
    for name, module in model.named_modules():
        if all(hasattr(module, part) for part in ("transformer_in", "down_blocks", "up_blocks", "conv_in")):
            return name, module
    return None


def level_of(layer: str, levels: int) -> int:
    """How many halvings lie above ``layer`` in a UNet of ``levels`` levels, the last of which halves no more."""
    place, _, rest = layer.partition(".")
    if place == "mid_block":
        return levels - 1
    index = int(rest.partition(".")[0]) if place in ("down_blocks", "up_blocks") else 0
    return levels - 1 - index if place == "up_blocks" else index


def _recommended(attentions: Sequence[TemporalAttention]) -> list[TemporalAttention]:
    """All but ``transformer_in``, which sees pixels more than motion and leaks the reference's shape."""
    return [a for a in attentions if not a.layer.startswith("transformer_in")]


def _widest(attentions: Sequence[TemporalAttention], count: int) -> list[TemporalAttention]:
    """Those of the ``count`` greatest widths on the way down and up, the middle left out."""
    sides = [a for a in attentions if a.layer.startswith(_SIDES)]
    widths = sorted({a.width for a in sides}, reverse=True)[:count]
    return [a for a in sides if a.width in widths]


def _paper(attentions: Sequence[TemporalAttention]) -> list[TemporalAttention]:
    """The widest level on the way down and up (1280 in ModelScope: ``down_blocks.2`` and ``up_blocks.1``)."""
    return _widest(attentions, 1)


def _paper_and_next(attentions: Sequence[TemporalAttention]) -> list[TemporalAttention]:
    """The two widest levels (1280 and 640 in ModelScope)."""
    return _widest(attentions, 2)


def _paper_next_and_mid(attentions: Sequence[TemporalAttention]) -> list[TemporalAttention]:
    """The two widest levels and the middle between down and up."""
    chosen = _widest(attentions, 2)
    return [a for a in attentions if a in chosen or a.layer.startswith(_MIDDLE)]


def _parts(level: nn.Module) -> Iterator[nn.Module]:
    """Of one level, in order of use. Whole levels would not do: one keeps more than half of all that is kept.

    A temporal convolution comes in fours of a norm, a nonlinearity and a convolution; only the first two of each run
    again, since a convolution with frozen weights needs nothing that it would have to give anew.
    """
    names = ("resnets", "temp_convs", "attentions", "temp_attentions")
    for resnet, convolutions, *mixing in zip_longest(*(getattr(level, name, ()) for name in names)):
        yield from (resnet, *convolutions.children())
        yield from (part for part in mixing if part is not None)


class UNet3D(Backbone):
    family = "unet3d"
    title = "ModelScope, ZeroScope"
    bearable_error = 0.4
    presets = {
        "paper": _paper,
        "paper + next level": _paper_and_next,
        "paper + next level + mid": _paper_next_and_mid,
        "recommended": _recommended,
        "all": list,
    }

    def attentions(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[TemporalAttention]:
        found = _find_unet(model)
        if found is None:
            return []
        attentions = []
        for name, block in found[1].named_modules():
            name = name.replace("_orig_mod.", "")
            temporal = name.startswith("transformer_in.") or ".temp_attentions." in name
            if temporal and hasattr(block, "attn1") and hasattr(block, "attn2"):
                attentions += [
                    TemporalAttention(name, key, part.to_q, part.to_k, part.to_v)
                    for key, part in (("attn1", block.attn1), ("attn2", block.attn2))
                ]
        return attentions

    def blocks(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[nn.Module]:
        found = _find_unet(model)
        if found is None:
            return []
        levels = [*found[1].down_blocks, found[1].mid_block, *found[1].up_blocks]
        return [found[1].transformer_in, *(part for level in levels for part in _parts(level))]

    def spatial_linears(self, model: nn.Module) -> list[nn.Linear]:
        """Those of the ``attentions`` blocks, diffusers' ``Transformer2DModel``; ``temp_attentions`` mix frames."""
        found = _find_unet(model)
        modules = found[1].named_modules() if found else ()
        return [module for name, module in modules if ".attentions." in name and isinstance(module, nn.Linear)]

    def call(
        self, x: torch.Tensor, groups: Sequence[int], name: str = "latent_image", frames: int | None = None
    ) -> Call:
        return video_call(x, groups, name)

    def grid(self, x: torch.Tensor, call: Call) -> tuple[int, int]:
        return halved_grid(x.shape[0] // call.batch, call.height, call.width)

    def add(self, x: torch.Tensor, addition: torch.Tensor, call: Call) -> torch.Tensor:
        return add_position_major(x, addition, len(call.groups))
