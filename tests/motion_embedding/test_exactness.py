"""Our float32 forward pass and gradients equal the naive float64 implementation on ``UNet3DConditionModel``."""

from __future__ import annotations

import pytest
import torch

from motion_embedding import losses
from motion_embedding.applied import Applied
from motion_embedding.debias import Debias
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from motion_embedding.install import Installation
from tests.motion_embedding import naive
from tests.motion_embedding.exactness import (
    TOLERANCE,
    Key,
    difference,
    inputs,
    naive_blocks,
    naive_leaves,
    our_leaves,
    predict,
    random_embedding,
    trainable_in,
    unet_in,
    zeroed,
)


@torch.no_grad()
def test_the_naive_unet_is_the_unet_where_there_is_no_motion(small) -> None:
    x, text = inputs(3, 5, 3)
    ours = unet_in(torch.float64, small)(x.double(), 321, text.double()).sample
    assert difference(ours, naive.NaiveUNet(small.unet)(x, 321, text)) < 1e-12


@pytest.mark.parametrize("mode", ["plain", "difference", "camera"])
@pytest.mark.parametrize(
    ("query_key", "value"), [(1, 1), (0.5, 0.5), (-0.7, -0.7), (2, 2), (-0.7, 2), (2, 0), (0, 0.5)]
)
@torch.no_grad()
def test_forward_in_every_mode_at_every_strength(small, mode: str, query_key: float, value: float) -> None:
    x, text = inputs(3, 3, 2)
    embedding = random_embedding(small, x)
    ours = predict(small, Applied(embedding.replace(debias=Debias(mode)), query_key, value), x, 500, text)
    motion = naive.NaiveMotion(naive_blocks(embedding), mode, query_key, value)
    assert difference(ours, naive.NaiveUNet(small.unet)(x, 500, text, motion)) < TOLERANCE


@pytest.mark.parametrize("mode", ["plain", "difference"])
@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 1, 4), (4, 1, 3), (5, 1, 3)])
@torch.no_grad()
def test_forward_at_odd_sizes_and_frame_counts(small, mode: str, shape: tuple[int, int, int]) -> None:
    x, text = inputs(*shape)
    embedding = random_embedding(small, x)
    ours = predict(small, Applied(embedding.replace(debias=Debias(mode))), x, 20, text)
    theirs = naive.NaiveUNet(small.unet)(x, 20, text, naive.NaiveMotion(naive_blocks(embedding), mode))
    assert difference(ours, theirs) < TOLERANCE


@pytest.mark.parametrize("choice", ["recommended", "paper", "up_blocks.*"])
@pytest.mark.parametrize(("groups", "push"), [((0, 1), (True, False)), ((1, 0), (False, True))])
@torch.no_grad()
def test_forward_on_the_positive_half_and_on_some_layers(small, choice: str, groups, push) -> None:
    x, text = inputs(3, 3, 2)
    embedding = random_embedding(small, x, choice)
    ours = predict(small, Applied(embedding, positive_only=True), x, 500, text, groups)
    theirs = naive.NaiveUNet(small.unet)(x, 500, text, naive.NaiveMotion(naive_blocks(embedding), push=push))
    assert difference(ours, theirs) < TOLERANCE


@torch.no_grad()
def test_every_tensor_of_every_layer_moves_the_output(small) -> None:
    """Else the agreement above would say nothing of that layer."""
    x, text = inputs(3, 3, 2)
    embedding = random_embedding(small, x)
    whole = predict(small, Applied(embedding), x, 500, text).double()
    for name, layer in embedding.layers.items():
        without = [layer.map(query_key=torch.zeros_like)]
        without += [LayerEmbedding(layer.query_key, {**layer.value, k: 0 * v}) for k, v in layer.value.items()]
        for changed in without:
            partial = embedding.replace(layers={**embedding.layers, name: changed})
            assert difference(predict(small, Applied(partial), x, 500, text), whole) > 20 * TOLERANCE, name


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Noisy clip, the noise in it, which is what the model should say, and the prompt."""


def our_gradients(small, dtype: torch.dtype, embedding: MotionEmbedding, loss: str, batch: Batch) -> dict:
    unet, (x, noise, text) = unet_in(dtype, small), (tensor.to(dtype) for tensor in batch)
    trainable = trainable_in(small, unet, embedding, x, text, dtype)
    with Installation(unet, [trainable], small.backbone.call(x, (0,))):
        losses.LOSSES[loss](unet(x, 500, text).sample, noise, 1).mean().backward()
    return {key: leaf.grad for key, leaf in our_leaves(trainable).items()}


def naive_gradients(small, embedding: MotionEmbedding, loss: str, batch: Batch) -> dict[Key, torch.Tensor]:
    blocks, (x, noise, text) = naive_blocks(embedding), batch
    leaves = naive_leaves(blocks)
    prediction = naive.NaiveUNet(small.unet)(x, 500, text, naive.NaiveMotion(blocks))
    naive.LOSSES[loss](prediction, noise.double(), 1).backward()
    return {key: leaf.grad for key, leaf in leaves.items()}


@pytest.mark.parametrize("loss", ["base", "debiased"])
@pytest.mark.parametrize("start", ["trained", "zero"])
def test_gradients_of_every_embedding(small, loss: str, start: str) -> None:
    """Each tensor relative to its own largest gradient; in float64 they agree far below 1e-5."""
    x, text = inputs(3, 3, 2, batch=1)
    batch = (x, inputs(3, 3, 2, batch=1, seed=8)[0], text)
    embedding = random_embedding(small, x) if start == "trained" else zeroed(random_embedding(small, x))
    theirs = naive_gradients(small, embedding, loss, batch)
    for dtype, tolerance in ((torch.float32, TOLERANCE), (torch.float64, 1e-9)):
        ours = our_gradients(small, dtype, embedding, loss, batch)
        assert ours.keys() == theirs.keys()
        worst = max((difference(ours[key], theirs[key]), key) for key in theirs)
        assert worst[0] < tolerance, (dtype, worst)


def test_gradients_agree_with_central_differences(small) -> None:
    """The naive gradients come from autograd; that they are slopes of the naive loss is seen by moving tensors."""
    x, text = inputs(2, 1, 2, batch=1)
    noise = inputs(2, 1, 2, batch=1, seed=8)[0]
    embedding, model = random_embedding(small, x), naive.NaiveUNet(small.unet)
    gradients = naive_gradients(small, embedding, "debiased", (x, noise, text))
    for kind in ("query_key", "attn1", "attn2"):
        generator, found = torch.Generator().manual_seed(1), []
        directions = {
            key: torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
            for key, gradient in gradients.items()
            if key[1] == kind
        }
        for step in (1e-5, -1e-5):
            blocks = naive_blocks(embedding)
            for key, leaf in naive_leaves(blocks).items():
                if key in directions:
                    leaf.data.add_(directions[key], alpha=step)
            with torch.no_grad():
                prediction = model(x, 500, text, naive.NaiveMotion(blocks))
                found.append(naive.debiased_loss(prediction, noise.double(), 1).item())
        parts = torch.stack([(direction * gradients[key]).sum() for key, direction in directions.items()])
        tolerance = 1e-6 * parts.abs().sum().item()
        assert parts.abs().min() > 100 * tolerance, "a tensor moves the loss too little to be seen"
        assert abs((found[0] - found[1]) / 2e-5 - parts.sum().item()) < tolerance, kind
