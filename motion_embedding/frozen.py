"""Getting gradients through a model, and out of tensors, that were made under ``torch.inference_mode``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


@contextlib.contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Gradients pass through the model and none is computed for it; its flags are as before afterwards."""
    _replace_inference_tensors(model)
    wanted = [p for p in model.parameters() if p.requires_grad]
    try:
        for p in wanted:
            p.requires_grad_(False)
        yield
    finally:
        for p in wanted:
            p.requires_grad_(True)


def out_of_inference(value: Any) -> Any:
    """Nested conditioning or latents with every tensor cloned out of inference mode; other objects as they are."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {k: out_of_inference(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(out_of_inference(v) for v in value)
    return value


def _is_inference(tensor: torch.Tensor) -> bool:
    """Neither sign is enough: an inference tensor moved by ``Module.to`` outside inference mode denies being one, and
    has no version counter; a normal one moved in inference mode has a counter, and says that it is one."""
    try:
        return tensor.is_inference() or tensor._version < 0
    except RuntimeError:
        return True


def _replace_inference_tensors(model: nn.Module) -> None:
    """Autograd refuses tensors made in inference mode, where ComfyUI loads weights: put equal ones in their place."""
    for module in model.modules():
        for name, p in module._parameters.items():
            if p is not None and _is_inference(p):
                module._parameters[name] = nn.Parameter(p.detach().clone(), requires_grad=p.requires_grad)
        for name, b in module._buffers.items():
            if b is not None and _is_inference(b):
                module._buffers[name] = b.clone()
