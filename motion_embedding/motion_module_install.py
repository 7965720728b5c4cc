"""Running an image UNet with AnimateDiff's motion modules for the length of one call, and leaving no trace.

The motion modules stay beside the UNet: what they follow gets its ``forward`` swapped for one stable function object
that passes the output on through them (``install`` says why no hook). So the UNet's tree, its parameter names and its
memory accounting stay as the host knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import nn

from .errors import InputError
from .motion_module import MotionModel, MotionModule


class _Shim:
    """One layer's stand-in ``forward``; ``module`` is set for the length of a call."""

    def __init__(self, layer: nn.Module) -> None:
        self.module: MotionModule | None = None
        self.frames, self.strength = 1, 1.0
        self.replaced: Callable | None = None

        def forward(*args, **kwargs) -> torch.Tensor:
            if self.replaced is not None:
                x = self.replaced(*args, **kwargs)
            else:
                x = type(layer).forward(layer, *args, **kwargs)
            return x if self.module is None else self.module(x, self.frames, self.strength)

        self.layer, self.forward = layer, forward

    def put(self, module: MotionModule, frames: int, strength: float) -> None:
        if self.module is not None:
            raise RuntimeError("a motion model is already attached to this UNet")
        self.module, self.frames, self.strength = module, frames, strength
        self.replaced = self.layer.__dict__.get("forward")
        self.layer.__dict__["forward"] = self.forward

    def remove(self) -> None:
        if self.replaced is not None:
            self.layer.__dict__["forward"] = self.replaced
        else:
            self.layer.__dict__.pop("forward", None)
        self.module = self.replaced = None


# By the UNet, not by the layer: a shim refers to its own, which would then never die.
_shims: WeakKeyDictionary[nn.Module, dict[nn.Module, _Shim]] = WeakKeyDictionary()


@contextmanager
def attached(unet: nn.Module, motion_model: MotionModel, frames: int, strength: float = 1.0) -> Iterator[None]:
    """While open, ``unet`` runs with the motion modules; its batch is ``[(B F), C, h, w]`` with ``frames`` F.

    For training, keep it open until ``backward`` is done: activation checkpointing runs the forward again there.
    unet: ComfyUI's ``UNetModel`` or one of its shape, also compiled.
    strength: factor on what every motion module adds.

    Raises :class:`InputError` when the two do not fit or the clip is too long, :class:`RuntimeError` when a motion
    model is attached to ``unet`` already.
    """
    unet = getattr(unet, "_orig_mod", unet)
    if frames > motion_model.positions:
        raise InputError(
            "latent_image",
            f"{frames} frames at once are more than the {motion_model.positions} that the motion model knows.",
            "Make fewer, or add context windows of at most that many frames to the model.",
        )
    shims: list[_Shim] = []
    known = _shims.setdefault(unet, {})
    try:
        for layer, module in places(unet, motion_model):
            if layer not in known:
                known[layer] = _Shim(layer)
            shim = known[layer]
            shim.put(module, frames, strength)
            shims.append(shim)
        yield
    finally:
        for shim in reversed(shims):
            shim.remove()


def places(unet: nn.Module, motion_model: MotionModel) -> list[tuple[nn.Module, MotionModule]]:
    """Each layer of ``unet`` that a motion module follows, with that module.

    Raises :class:`InputError` when the motion model is for a UNet of another shape.
    """
    sides = (
        (unet.input_blocks, list(motion_model.modules_down())),
        ([unet.middle_block], list(motion_model.modules_mid())),
        (unet.output_blocks, list(motion_model.modules_up())),
    )
    found = []
    for blocks, modules in sides:
        if not modules:
            continue
        layers = [layer for block in blocks if (layer := followed(block)) is not None]
        if len(layers) != len(modules):
            raise _misfit(f"it is for {len(modules)} blocks where this model has {len(layers)}")
        found += zip(layers, modules, strict=True)
    for layer, module in found:
        if channels(layer) != module.width:
            raise _misfit(f"it is {module.width} wide where this model is {channels(layer)}")
    return found


def followed(block: Sequence[nn.Module]) -> nn.Module | None:
    """What the motion module of a block comes after: its last spatial transformer, else its first residual block."""
    transformers = [layer for layer in block if hasattr(layer, "transformer_blocks") and hasattr(layer, "proj_in")]
    residuals = [layer for layer in block if hasattr(layer, "in_layers") and hasattr(layer, "emb_layers")]
    return transformers[-1] if transformers else residuals[0] if residuals else None


def channels(layer: nn.Module) -> int:
    """How wide the output of a :func:`followed` layer is."""
    return getattr(layer, "out_channels", None) or layer.in_channels


def _misfit(cause: str) -> InputError:
    return InputError(
        "motion_model", f"{cause}.", "AnimateDiff's motion models of version 2 and 3 are for SD1.5 checkpoints."
    )
