"""What a training does with a loss: a step of its optimiser, and telling it, without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

_FUSED = {"cpu", "cuda"}
"""Kinds of device for which every torch that the host runs on has the fused optimiser."""


def adamw(
    parameters: Sequence[nn.Parameter] | Sequence[dict[str, Any]], rate: float, weight_decay: float = 0.01
) -> torch.optim.AdamW:
    """AdamW in one pass over memory where the device has it, which also needs no room for what lies between.

    parameters: all of them, or groups with an ``lr`` of their own.
    """
    groups = [p if isinstance(p, dict) else {"params": [p]} for p in parameters]
    kinds = {parameter.device.type for group in groups for parameter in group["params"]}
    return torch.optim.AdamW(parameters, rate, weight_decay=weight_decay, fused=kinds <= _FUSED)


def descend(optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
    """One step with the gradients there are, and without them afterwards: they would only be in the way of what the
    next forward keeps. Where a scaled gradient overflowed there is no step."""
    scaler.step(optimiser)
    optimiser.zero_grad()


class Arriving:
    """A number on its way from the device. Work that is queued after it is not waited for."""

    def __init__(self, number: torch.Tensor) -> None:
        self.number = number.detach().to("cpu", non_blocking=number.is_cuda)
        self.arrived = torch.cuda.Event() if number.is_cuda else None
        if self.arrived is not None:
            self.arrived.record(torch.cuda.current_stream(number.device))

    def get(self) -> float:
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.number.item()


def sent(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """``values`` from the CPU in the type and on the device of ``like``, without waiting for what is queued there."""
    values = values.to(like.dtype)
    return values.pin_memory().to(like.device, non_blocking=True) if like.is_cuda else values.to(like.device)
