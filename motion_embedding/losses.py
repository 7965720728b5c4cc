"""Training objectives (arXiv 2403.20193, sections 4.2 and 4.3; design section 1).

All of them are linear-quadratic in the prediction error, so each takes ``error = prediction - target`` of shape
``[B, C, F, h, w]``, in whatever space the model predicts in.
"""

from __future__ import annotations

import math

import torch

LOSSES = ("base", "debiased")


def base(error: torch.Tensor) -> torch.Tensor:
    """Mean squared error per sample, ``[B]``."""
    return error.square().flatten(1).mean(1)


def debiased(error: torch.Tensor, reference_frame: int) -> torch.Tensor:
    """Base plus ``MSE(sqrt(2) p - p[r], sqrt(2) y - y[r])``: what all frames share cancels. Per sample, ``[B]``."""
    relative = math.sqrt(2) * error - error[:, :, reference_frame : reference_frame + 1]
    return base(error) + base(relative)


def loss_weight(prediction: str, sigma: torch.Tensor) -> torch.Tensor:
    """Turns a squared error of ``x0`` into one of the model's own prediction space.

    sigma is the host's noise level: ``x = x0 + sigma * noise`` (``sigma`` in 0..1 for flow models). From
    ``x0 = x - sigma * eps`` and ``x0 = x / (sigma^2 + 1) - v * sigma / sqrt(sigma^2 + 1)``.
    """
    if prediction in ("epsilon", "flow"):
        return sigma**-2
    if prediction == "v":
        return (sigma**2 + 1) / sigma**2
    if prediction == "sample":
        return torch.ones_like(sigma)
    raise ValueError(f"unknown prediction type {prediction!r}")
