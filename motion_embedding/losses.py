"""Training objectives (arXiv 2403.20193, sections 4.2 and 4.3; design section 1).

A loss takes the prediction and its target, both ``[B, C, F, h, w]`` in the model's own prediction space, and a
reference frame that only some of them use, and gives one number per sample, ``[B]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn.functional import cosine_similarity

Loss = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]


def base(prediction: torch.Tensor, target: torch.Tensor, reference_frame: int = 0) -> torch.Tensor:
    """Mean squared error."""
    return _mean_square(prediction - target)


def debiased(prediction: torch.Tensor, target: torch.Tensor, reference_frame: int) -> torch.Tensor:
    """Base plus ``MSE(sqrt(2) p - p[r], sqrt(2) y - y[r])``: what all frames share counts less."""
    error = prediction - target
    relative = math.sqrt(2) * error - error[:, :, reference_frame : reference_frame + 1]
    return _mean_square(error) + _mean_square(relative)


def motion_distillation(prediction: torch.Tensor, target: torch.Tensor, reference_frame: int = 0) -> torch.Tensor:
    """``1 - mean cos(|dp|, |dy|)``, d the differences between frames and the cosine along time.

    Every channel and position is a vector over time of how much changes between frames; only its direction counts.
    Needs three frames: with two, the vectors are positive numbers and always agree.
    """
    changes, wanted = prediction.diff(dim=2).abs(), target.diff(dim=2).abs()
    return 1 - cosine_similarity(changes, wanted, dim=2).flatten(1).mean(1)


LOSSES: dict[str, Loss] = {
    "base": base,
    "debiased": debiased,
    "debiased_hybrid": debiased,  # of the embedding; what the look is learnt by is in spatial_lora.py
    "motion_distillation": motion_distillation,
}
FEWEST_FRAMES = {"motion_distillation": 3}


def own_target(space: str, x0: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """What the model should output for the clip ``x0`` under this noise.

    space: the model's own prediction space, ``epsilon``, ``v``, ``sample``, ``flow`` or ``cosmos_flow``.
    sigma: ``[B]``, the host's noise level: ``x = x0 + sigma * noise``, and ``(1 - sigma) * x0 + sigma * noise`` for
        flow models. Of Cosmos only the network is a flow, at the time ``sigma / (1 + sigma)``.
    """
    sigma = _per_sample(sigma, x0)
    if space == "epsilon":
        return noise
    if space == "v":
        return (noise - sigma * x0) / (sigma**2 + 1).sqrt()
    if space == "sample":
        return x0
    if space in ("flow", "cosmos_flow"):
        return noise - x0
    raise ValueError(f"unknown prediction space {space!r}")


def own_error(space: str, x0_error: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The error of the model's output that shows as ``x0_error`` in the clip it implies.

    Adding it to :func:`own_target` gives the output itself, without the loss of digits at low noise that
    ``(x - x0) / sigma`` would suffer. From ``x0 = x - sigma * eps`` (flow alike),
    ``x0 = x / (sigma^2 + 1) - v * sigma / sqrt(sigma^2 + 1)``, and ``x0 = (x - sigma * flow) / (1 + sigma)`` of Cosmos.
    """
    sigma = _per_sample(sigma, x0_error)
    if space in ("epsilon", "flow"):
        return -x0_error / sigma
    if space == "cosmos_flow":
        return -x0_error * (1 + sigma) / sigma
    if space == "v":
        return -x0_error * (sigma**2 + 1).sqrt() / sigma
    if space == "sample":
        return x0_error
    raise ValueError(f"unknown prediction space {space!r}")


def _mean_square(error: torch.Tensor) -> torch.Tensor:
    return error.square().flatten(1).mean(1)


def _per_sample(sigma: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return sigma.view(-1, *[1] * (like.ndim - 1))
