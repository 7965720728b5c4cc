from __future__ import annotations

import math

import pytest
import torch

from motion_embedding.losses import base, debiased, loss_weight


def test_base_is_the_mean_square_of_each_sample() -> None:
    error = torch.tensor([[1.0, 3.0], [0.0, 2.0]]).view(2, 1, 2, 1, 1)
    assert base(error).tolist() == [5.0, 2.0]


def test_debiased_against_the_equation_on_predictions_and_targets() -> None:
    generator = torch.Generator().manual_seed(0)
    p, y = (torch.randn(2, 3, 4, 2, 2, generator=generator, dtype=torch.float64) for _ in "py")
    out, r = debiased(p - y, 2), 2
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


@pytest.mark.parametrize("prediction", ["epsilon", "v", "sample", "flow"])
def test_weight_gives_the_error_in_the_models_own_space(prediction: str) -> None:
    """Perturb what the model would output by d and check that the x0 error times the weight is d squared."""
    sigma = torch.tensor([0.2, 0.7], dtype=torch.float64)
    x, output, d = torch.tensor(1.3, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64), 0.05

    def x0(out: torch.Tensor) -> torch.Tensor:
        if prediction == "v":
            return x / (sigma**2 + 1) - out * sigma / (sigma**2 + 1).sqrt()
        return out.expand(2) if prediction == "sample" else x - sigma * out

    error = x0(output + d) - x0(output)
    assert torch.allclose(error**2 * loss_weight(prediction, sigma), torch.full((2,), d**2, dtype=torch.float64))


def test_unknown_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match="score"):
        loss_weight("score", torch.ones(1))
