from __future__ import annotations

import pytest
import torch

from motion_embedding.embedding import MotionEmbedding
from motion_embedding.errors import InputError
from motion_embedding.install import Installation
from motion_embedding.spatial import smooth
from motion_embedding.trainable import TrainableMotion


def probed(small, choice: str = "recommended", value_form: str = "full") -> TrainableMotion:
    trainable = TrainableMotion(small.backbone.select(small.attentions, choice), value_form)
    with torch.no_grad(), Installation(small.unet, [trainable], small.call):
        small()
    return trainable


def test_sizes_come_from_the_activations(small) -> None:
    trainable = probed(small)
    parameters = trainable.allocate(torch.device("cpu"))
    assert set(trainable.grids.values()) == {(8, 6), (4, 3)}
    assert all(p.dtype == torch.float32 and p.requires_grad and not p.any() for p in parameters)
    assert {tuple(p.shape[:-1]) for p in trainable.query_key.values()} == {(5,)}


def test_starting_from_a_motion_gives_that_motion_back(small) -> None:
    embedding, trainable = small.embedding(), probed(small)
    trainable.allocate(torch.device("cpu"), embedding)
    for name, layer in trainable.layers().items():
        assert torch.equal(layer.query_key, embedding.layers[name].query_key)
        assert all(torch.equal(v, embedding.layers[name].value[k]) for k, v in layer.value.items())


def test_it_learns_and_becomes_an_embedding(small) -> None:
    trainable = probed(small)
    optimiser = torch.optim.AdamW(trainable.allocate(torch.device("cpu")), 0.05)
    target, losses = small.x.roll(1, 2), []
    for _ in range(25):
        with Installation(small.unet, [trainable], small.call):
            loss = (small() - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.97 * losses[0]
    embedding = MotionEmbedding(trainable.layers(), "unet3d", 5, 8, 6)
    assert not any(v.query_key.requires_grad for v in embedding.layers.values())


def test_a_layer_that_is_never_reached_is_named(small) -> None:
    trainable = TrainableMotion(small.attentions)
    with pytest.raises(InputError, match=r"layers: the model never reached down_blocks"):
        trainable.allocate(torch.device("cpu"))


@pytest.mark.parametrize(("value_form", "degree", "count"), [("mean", 0, 1), ("linear", 1, 3), ("quadratic", 2, 6)])
def test_a_restricted_form_learns_few_numbers_and_gives_smooth_values(small, value_form, degree, count) -> None:
    trainable = probed(small, value_form=value_form)
    optimiser = torch.optim.AdamW(trainable.allocate(torch.device("cpu")), 0.1)
    assert {p.shape[0] for p in trainable.value.values()} == {count}
    with Installation(small.unet, [trainable], small.call):
        (small() - small.x.roll(1, 2)).square().mean().backward()
    optimiser.step()
    for layer in trainable.layers().values():
        for rows in layer.value.values():
            assert rows.dtype == torch.float32
            assert rows.abs().max() > 0
            assert torch.allclose(smooth(rows, degree), rows, atol=1e-5)


def test_a_restricted_form_starts_from_the_closest_values(small) -> None:
    embedding, trainable = small.embedding(), probed(small, value_form="linear")
    trainable.allocate(torch.device("cpu"), embedding)
    for name, layer in trainable.layers().items():
        for key, rows in layer.value.items():
            assert torch.allclose(rows, smooth(embedding.layers[name].value[key], 1), atol=1e-5)
