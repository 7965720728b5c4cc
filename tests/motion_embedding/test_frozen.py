"""Gradients through a model that the host loaded in inference mode, however it was moved about since."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from motion_embedding.frozen import frozen


def loaded() -> nn.Module:
    with torch.inference_mode():
        return nn.Linear(3, 2)


def moved_outside() -> nn.Module:
    return loaded().to(torch.float64).to(torch.float32)


def moved_back_inside() -> nn.Module:
    """What a first training and the host's offloading after it leave: a counter, on an inference tensor."""
    model = nn.Linear(3, 2)
    with torch.inference_mode():
        return model.to(torch.float64).to(torch.float32)


@pytest.mark.parametrize("made", [loaded, moved_outside, moved_back_inside])
def test_gradients_pass_through(made: Callable[[], nn.Module]) -> None:
    model = made()
    weight, bias = model.weight.detach().clone(), model.bias.detach().clone()
    x = torch.ones(1, 3, requires_grad=True)
    with frozen(model):
        out = model(x)
        out.sum().backward()
    torch.testing.assert_close(x.grad, weight.sum(0, keepdim=True))
    torch.testing.assert_close(out, x @ weight.T + bias)
    assert model.weight.grad is None
    assert all(p.requires_grad for p in model.parameters())
