"""What the exactness tests share: inputs, random embeddings in both forms, and the one measure of agreement.

Everything is compared as the largest absolute difference relative to the largest absolute value of what is compared.
"""

from __future__ import annotations

import copy
import logging
from typing import Protocol

import torch
from torch import nn

from motion_embedding.backbones import TemporalAttention
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from motion_embedding.install import Installation, Source
from motion_embedding.trainable import TrainableMotion
from tests.motion_embedding import naive

TOLERANCE = 1e-5
CPU = torch.device("cpu")
Key = tuple[str, str]
"""Layer and attention; the attention is ``query_key`` for the rows that the layer's attentions share."""


class Small(Protocol):
    """The fixture ``small``, as far as it is used here."""

    unet: nn.Module
    attentions: list[TemporalAttention]


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape
    return ((ours.double() - theirs).abs().max() / theirs.abs().max()).item()


def inputs(frames: int, height: int, width: int, batch: int = 2, seed: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """A noisy latent clip and a prompt's embedding for each batch item."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 4, frames, height, width, generator=generator)
    return x, torch.randn(batch, 3, 8, generator=generator)


def random_embedding(small: Small, x: torch.Tensor, choice: str = "all") -> MotionEmbedding:
    """Large enough to matter in every layer; the second level is half the latent's size, rounding up."""
    generator = torch.Generator().manual_seed(3)
    frames, height, width = x.shape[2:]
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for a in small.backbone.select(small.attentions, choice):
        full = a.layer.startswith(("transformer_in", "down_blocks.0", "up_blocks.1"))
        grid = (height, width) if full else ((height + 1) // 2, (width + 1) // 2)
        layer = layers.setdefault(a.layer, {"query_key": 0.5 * torch.randn(frames, a.width, generator=generator)})
        layer[a.name] = 0.5 * torch.randn(*grid, frames, a.width, generator=generator)
    return MotionEmbedding(
        {name: LayerEmbedding(d.pop("query_key"), d) for name, d in layers.items()}, "unet3d", frames, height, width
    )


def zeroed(embedding: MotionEmbedding) -> MotionEmbedding:
    layers = {name: layer.map(torch.zeros_like, torch.zeros_like) for name, layer in embedding.layers.items()}
    return embedding.replace(layers=layers)


def naive_blocks(embedding: MotionEmbedding) -> dict[str, naive.NaiveBlock]:
    return {
        name: naive.NaiveBlock(layer.query_key.double(), {k: v.double() for k, v in layer.value.items()})
        for name, layer in embedding.layers.items()
    }


def naive_leaves(blocks: dict[str, naive.NaiveBlock]) -> dict[Key, torch.Tensor]:
    """The tensors of ``blocks``, from now on wanting gradients."""
    leaves = {(name, "query_key"): block.query_key for name, block in blocks.items()}
    leaves |= {(name, k): v for name, block in blocks.items() for k, v in block.value.items()}
    return {key: leaf.requires_grad_() for key, leaf in leaves.items()}


def predict(
    small: Small, source: Source, x: torch.Tensor, t: int, text: torch.Tensor, groups: tuple[int, ...] = (0, 1)
) -> torch.Tensor:
    """Our float32 forward pass."""
    with torch.no_grad(), Installation(small.unet, [source], small.backbone.call(x, groups)):
        return small.unet(x, t, text).sample


def unet_in(dtype: torch.dtype, small: Small) -> nn.Module:
    logging.getLogger("diffusers.models.modeling_utils").setLevel(logging.ERROR)  # advises against Module.to
    return copy.deepcopy(small.unet).to(dtype)


def trainable_in(
    small: Small,
    unet: nn.Module,
    initial: MotionEmbedding,
    x: torch.Tensor,
    text: torch.Tensor,
    dtype: torch.dtype = torch.float32,
) -> TrainableMotion:
    """Ours, probed and allocated on every layer, starting from ``initial``."""
    trainable = TrainableMotion(small.attentions)
    with torch.no_grad(), Installation(unet, [trainable], small.backbone.call(x, (0,))):
        unet(x, 500, text)
    trainable.allocate(CPU, initial, dtype)
    return trainable


def our_leaves(trainable: TrainableMotion) -> dict[Key, nn.Parameter]:
    return {**{(layer, "query_key"): p for layer, p in trainable.query_key.items()}, **trainable.value}
