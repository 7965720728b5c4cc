"""(ComfyUI) Lets ComfyUI manage the memory and precision of layers that another library built."""

from __future__ import annotations

import comfy.ops
import torch

_KINDS = ("Linear", "Conv1d", "Conv2d", "Conv3d", "GroupNorm", "LayerNorm", "Embedding")


def adopt_layers(module: torch.nn.Module, cast: bool) -> None:
    """Turn plain torch layers inside ``module`` into ComfyUI's own of the same kind, in place.

    ComfyUI offloads, casts and LoRA-patches layer by layer, but only layers of its own classes; the others it always
    loads whole. Its classes add behaviour and no state, so changing the class of a layer is all it takes: names,
    weights and results stay the same. ``cast``: compute in the precision of the input, whatever the weights are in.
    """
    operations = comfy.ops.manual_cast if cast else comfy.ops.disable_weight_init
    classes = {getattr(torch.nn, kind): getattr(operations, kind) for kind in _KINDS}
    for layer in module.modules():
        if (adopted := classes.get(type(layer))) is not None:
            layer.__class__ = adopted
