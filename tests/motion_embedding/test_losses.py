"""Losses against the equations, element by element, and their gradients against finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from motion_embedding.losses import LOSSES, base, debiased, motion_distillation, own_error, own_target

SPACES = ["epsilon", "v", "sample", "flow", "cosmos_flow"]


def prediction_and_target(frames: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 3, frames, 2, 2, generator=generator, dtype=torch.float64) for _ in "py")


def test_base_is_the_mean_square_of_each_sample() -> None:
    error = torch.tensor([[1.0, 3.0], [0.0, 2.0]]).view(2, 1, 2, 1, 1)
    assert base(error + 5, torch.full_like(error, 5.0)).tolist() == [5.0, 2.0]


def test_debiased_against_the_equation_on_predictions_and_targets() -> None:
    p, y = prediction_and_target()
    out, r = debiased(p, y, 2), 2
    for b in range(2):
        total = 0.0
        for c in range(3):
            for f in range(4):
                for i in range(2):
                    for j in range(2):
                        plain = (p[b, c, f, i, j] - y[b, c, f, i, j]) ** 2
                        left = math.sqrt(2) * p[b, c, f, i, j] - p[b, c, r, i, j]
                        right = math.sqrt(2) * y[b, c, f, i, j] - y[b, c, r, i, j]
                        total += float(plain + (left - right) ** 2)
        assert math.isclose(out[b].item(), total / (3 * 4 * 2 * 2), rel_tol=1e-12)


def test_motion_distillation_against_the_equation() -> None:
    p, y = prediction_and_target()
    out = motion_distillation(p, y)
    for b in range(2):
        total = 0.0
        for c in range(3):
            for i in range(2):
                for j in range(2):
                    u = [abs(float(p[b, c, f + 1, i, j] - p[b, c, f, i, j])) for f in range(3)]
                    v = [abs(float(y[b, c, f + 1, i, j] - y[b, c, f, i, j])) for f in range(3)]
                    total += sum(s * t for s, t in zip(u, v, strict=True)) / (math.hypot(*u) * math.hypot(*v))
        assert math.isclose(out[b].item(), 1 - total / 12, rel_tol=1e-9)


def test_motion_distillation_ignores_the_look_and_how_strong_the_motion_is() -> None:
    p, y = prediction_and_target()
    look = torch.randn(2, 3, 1, 2, 2, dtype=torch.float64)
    assert torch.allclose(motion_distillation(look - 7 * p, y), motion_distillation(p, y))
    assert torch.allclose(motion_distillation(y, y), torch.zeros(2, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    p, y = prediction_and_target()
    assert torch.autograd.gradcheck(lambda q: LOSSES[name](q, y, 1), p.clone().requires_grad_())


@pytest.mark.parametrize("space", SPACES)
def test_the_models_own_space_by_hand(space: str) -> None:
    """A fake model outputs ``o``; what the host makes of it must lead back to ``o`` and to the textbook target."""
    sigma = torch.tensor([0.2, 0.7], dtype=torch.float64)
    x0, noise, output = torch.randn(3, 2, 1, 2, 1, 1, dtype=torch.float64)
    s = sigma.view(2, 1, 1, 1, 1)
    x = (1 - s) * x0 + s * noise if space == "flow" else x0 + s * noise
    alpha, spread = 1 / (s**2 + 1).sqrt(), s / (s**2 + 1).sqrt()
    time = s / (1 + s)
    textbook = {
        "epsilon": (noise, x - s * output),
        "v": (alpha * noise - spread * x0, alpha * (alpha * x) - spread * output),
        "sample": (x0, output),
        "flow": (noise - x0, x - s * output),
        "cosmos_flow": (noise - x0, (1 - time) * x - time * output),
    }
    target, implied = textbook[space]
    assert torch.allclose(own_target(space, x0, noise, sigma), target)
    assert torch.allclose(own_target(space, x0, noise, sigma) + own_error(space, implied - x0, sigma), output)


def test_unknown_space_is_refused() -> None:
    one = torch.ones(1)
    with pytest.raises(ValueError, match="score"):
        own_target("score", one, one, one)
    with pytest.raises(ValueError, match="score"):
        own_error("score", one, one)
