"""AnimateDiff: motion modules between the blocks of an SD-shaped image UNet, ours or those of AnimateDiff-Evolved.

Ours run beside the UNet; AnimateDiff-Evolved puts its own into the UNet's blocks while it samples, where they are known
by their attributes. Both go by the names of the published files, so embeddings learnt with one serve the other. Where
motion models are stacked, the first in a block has the plain name and the later ones a prefix, ``model2.`` and so on.
Tokens are ``[(B h w), F, C]``; the frames lie on the batch axis of the latent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from ..errors import InputError
from .base import Call, FramesOnBatch, TemporalAttention, add_position_major, halved_grid
from .host_unet import parts
from .unet3d import UNet3D

_SIDES = ("down_blocks", "mid_block", "up_blocks")


def _is_unet(model: nn.Module) -> bool:
    return all(hasattr(model, part) for part in ("input_blocks", "middle_block", "output_blocks"))


def _blocks(unet: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Each block of the UNet in order of use, with the name that a motion module in it has."""
    inputs = list(unet.input_blocks)
    # A level of the way down is its residual blocks and a halving; of the way up, one residual block more.
    halvings = [n for n, block in enumerate(inputs[1:], 1) if not any(hasattr(m, "emb_layers") for m in block)]
    level = halvings[0] if halvings else len(inputs)
    for n, block in enumerate(inputs[1:]):
        yield f"down_blocks.{n // level}.motion_modules.{n % level}", block
    if unet.middle_block is not None:
        yield "mid_block.motion_modules.0", unet.middle_block
    for n, block in enumerate(unet.output_blocks):
        yield f"up_blocks.{n // level}.motion_modules.{n % level}", block


def _inside(unet: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The motion modules in the UNet's blocks and their places."""
    for place, block in _blocks(unet):
        for module in block.children():
            if hasattr(getattr(module, "temporal_transformer", None), "transformer_blocks"):  # some mix no frames
                yield place, module


def _beside(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The motion modules of a motion model, ``motion_module.MotionModel``, and their places."""
    for side in _SIDES:
        levels = getattr(model, side, None)
        named = () if levels is None else [(side, levels)] if side == "mid_block" else levels.named_children()
        for name, level in named:
            place = side if side == "mid_block" else f"{side}.{name}"
            for j, module in enumerate(level.motion_modules):
                yield f"{place}.motion_modules.{j}", module


class AnimateDiff(FramesOnBatch):
    family = "animatediff"
    title = "AnimateDiff"
    comes_and_goes = True
    presets = {**UNet3D.presets, "recommended": list}  # by width and side, which are named alike

    def attentions(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[TemporalAttention]:
        if not _is_unet(model):
            return []
        found: dict[str, list[nn.Module]] = {}
        for modules in (*(_beside(other) for other in beside), _inside(model)):
            for place, module in modules:
                found.setdefault(place, []).append(module)
        attentions = []
        for place in sorted(found, key=lambda place: _SIDES.index(place.partition(".")[0])):
            for number, module in enumerate(found[place], 1):
                prefix = f"model{number}." if number > 1 else ""
                attentions += _attentions(f"{prefix}{place}.temporal_transformer", module)
        return attentions

    def may_become(self, model: nn.Module) -> bool:
        return _is_unet(model)

    def blocks(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[nn.Module]:
        following: dict[str, list[nn.Module]] = {}
        for place, module in (pair for other in beside for pair in _beside(other)):
            following.setdefault(place, []).append(module.temporal_transformer)
        found: list[nn.Module] = []
        for place, block in _blocks(model):
            found += [*parts([block]), *following.get(place, ())]
        return found

    def spatial_linears(self, model: nn.Module) -> list[nn.Linear]:
        """Those of the UNet's spatial transformers; motion modules lie in the same blocks and mix frames."""
        return [
            linear
            for _, block in _blocks(model)
            for layer in block.children()
            if hasattr(layer, "transformer_blocks")
            for linear in layer.transformer_blocks.modules()
            if isinstance(linear, nn.Linear)
        ]

    def grid(self, x: torch.Tensor, call: Call) -> tuple[int, int]:
        return halved_grid(x.shape[0] // call.batch, call.height, call.width)

    def add(self, x: torch.Tensor, addition: torch.Tensor, call: Call) -> torch.Tensor:
        if x.shape[1] != call.frames:
            raise InputError(
                "model",
                "AnimateDiff-Evolved's view options cut the clip up inside its motion modules, where nothing tells "
                "which frames a view holds.",
                "Use its context options without views.",
            )
        return add_position_major(x, addition, len(call.groups))


def _attentions(name: str, module: nn.Module) -> Iterator[TemporalAttention]:
    for k, block in enumerate(module.temporal_transformer.transformer_blocks):
        for i, attention in enumerate(block.attention_blocks):
            if attention.attention_mode == "Temporal" and not getattr(attention, "is_cross_attention", False):
                yield TemporalAttention(
                    f"{name}.transformer_blocks.{k}",
                    f"attention_blocks.{i}",
                    attention.to_q,
                    attention.to_k,
                    attention.to_v,
                    home=module,
                )
