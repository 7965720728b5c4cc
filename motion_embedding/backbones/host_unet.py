"""The parts of the host's own UNets that training may run again, see ``Backbone.blocks``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest

from torch import nn


def parts(blocks: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Of each layer of ``blocks``, the modules that keep most for ``backward``, in order of use.

    They lie inside the layers, whose own ``forward`` is left to those who pass the output on through a motion module.
    A norm, a nonlinearity and a convolution in a row are one: only the first two run again, since the convolution with
    its frozen weights needs nothing that it would have to give anew.
    """
    for block in blocks:
        for layer in block.children():
            yield from _of(layer)


def _of(layer: nn.Module) -> Iterator[nn.Module]:
    if hasattr(layer, "temporal_transformer"):
        yield layer.temporal_transformer
    elif hasattr(layer, "in_layers"):
        yield from (layer.in_layers, layer.out_layers)
        if hasattr(layer, "time_stack"):
            yield from _of(layer.time_stack)
    elif hasattr(layer, "transformer_blocks"):
        pairs = zip_longest(layer.transformer_blocks, getattr(layer, "time_stack", ()))
        yield from (block for pair in pairs for block in pair if block is not None)
