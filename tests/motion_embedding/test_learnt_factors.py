"""Values learnt as a product of factors: where it starts, what it is, its gradients."""

from __future__ import annotations

import pytest
import torch

from motion_embedding.install import Installation
from motion_embedding.learnt_factors import product, rank_of, start
from motion_embedding.low_rank import factorise
from motion_embedding.trainable import TrainableMotion

CPU = torch.device("cpu")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def probed(small, form: str) -> TrainableMotion:
    trainable = TrainableMotion(small.backbone.select(small.attentions, "recommended"), form)
    with torch.no_grad(), Installation(small.unet, [trainable], small.call):
        small()
    return trainable


def test_the_rank_in_a_name() -> None:
    assert [rank_of(form) for form in ("low rank 8", "low rank 128", "full", "linear", "low rank 0")] == [
        8,
        128,
        None,
        None,
        None,
    ]


def test_it_starts_at_nothing_and_can_leave_it() -> None:
    factors = start(torch.zeros(4, 3, 5, 6), 2)
    positions, channels = factors.positions.requires_grad_(), factors.channels.requires_grad_()
    values = product(positions, channels)
    assert values.shape == (4, 3, 5, 6)
    assert not values.any()
    (values * random(4, 3, 5, 6)).sum().backward()
    assert positions.grad.abs().min() > 0


@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (1, 2, 2, 6)], ids=["tall", "wide"])
@pytest.mark.parametrize("rank", [2, 16])
def test_it_starts_closest_to_given_values(shape, rank) -> None:
    """From its definition: no other product of that rank is closer, and both factors are of one size."""
    values = random(*shape)
    factors = start(values, rank)
    rank = min(rank, shape[0] * shape[1] * shape[2], shape[3])
    assert factors.channels.shape == (rank, 6)
    assert torch.allclose(
        product(factors.positions, factors.channels), factorise(values, rank=rank).values(), atol=1e-5
    )
    assert torch.allclose(factors.channels.square().mean(1), torch.ones(rank), atol=1e-4)


def test_directions_that_given_values_do_not_need_can_still_be_learnt() -> None:
    values = torch.zeros(1, 2, 2, 8)
    values[0, 0, 0, 3] = 2.0
    factors = start(values, 3)
    assert torch.allclose(product(factors.positions, factors.channels), values, atol=1e-5)
    positions = factors.positions.requires_grad_()
    (product(positions, factors.channels) * random(1, 2, 2, 8)).sum().backward()
    assert (positions.grad.abs().sum((0, 1, 2)) > 0).all()


def test_one_step_moves_the_product_as_far_as_it_moves_free_values() -> None:
    """By the rate in every number: so the same rate suits both forms."""
    wanted, rate = random(6, 6, 8, 32), 0.1
    free, factors = torch.zeros(6, 6, 8, 32, requires_grad=True), start(torch.zeros(6, 6, 8, 32), 8)
    learnt = [factors.positions.requires_grad_(), factors.channels.requires_grad_()]
    for parameters, values in (([free], lambda: free), (learnt, lambda: product(*learnt))):
        optimiser = torch.optim.AdamW(parameters, rate, weight_decay=0)
        (values() - wanted).square().sum().backward()
        optimiser.step()
    assert free.detach().square().mean().sqrt() == pytest.approx(rate, rel=0.01)
    assert product(*learnt).detach().square().mean().sqrt() == pytest.approx(rate, rel=0.2)


def test_a_model_with_untouched_factors_is_the_model_itself(small) -> None:
    trainable = probed(small, "low rank 4")
    trainable.allocate(CPU)
    with torch.no_grad(), Installation(small.unet, [trainable], small.call):
        with_factors = small()
    with torch.no_grad():
        assert torch.equal(with_factors, small())


def test_fewer_numbers_are_learnt_and_the_embedding_is_an_ordinary_one(small) -> None:
    trainable = probed(small, "low rank 2")
    count = sum(p.numel() for p in trainable.allocate(CPU))
    layers, frames = small.embedding().layers, 5
    values = [v for layer in layers.values() for v in layer.value.values()]
    assert count == sum(frames * layer.width for layer in layers.values()) + sum(
        2 * (v.shape[:3].numel() + v.shape[3]) for v in values
    )
    for name, layer in trainable.layers().items():
        assert {k: v.shape for k, v in layer.value.items()} == {k: v.shape for k, v in layers[name].value.items()}


def test_learning_goes_on_from_a_motion(small) -> None:
    embedding, trainable = small.embedding(), probed(small, "low rank 64")
    trainable.allocate(CPU, embedding)
    for name, layer in trainable.layers().items():
        for attention, values in layer.value.items():
            assert torch.allclose(values, embedding.layers[name].value[attention], atol=1e-4)


def test_gradients_through_the_model_against_central_differences(small) -> None:
    small.unet.double()
    small.x, small.text = small.x.double(), small.text.double()
    trainable = probed(small, "low rank 2")
    parameters = trainable.allocate(CPU, small.embedding(0.1), torch.float64)
    target = small.x.roll(1, 2)

    def loss() -> torch.Tensor:
        with Installation(small.unet, [trainable], small.call):
            return (small() - target).square().mean()

    loss().backward()
    for number, parameter in enumerate([*trainable.value.values(), *trainable.channels.values()]):
        direction, step = random(*parameter.shape, seed=number).double(), 1e-4
        sides = []
        with torch.no_grad():
            for sign in (1, -2):
                parameter += sign * step * direction
                sides.append(loss().item())
            parameter += step * direction
        slope = (sides[0] - sides[1]) / (2 * step)
        assert slope == pytest.approx(float((parameter.grad * direction).sum()), rel=1e-5, abs=1e-10)
    assert all(p.grad is not None for p in parameters)
