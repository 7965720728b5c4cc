"""(ComfyUI) Kernels that only go forwards, and what a training does about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.model_management
import torch
from comfy.ldm.modules.attention import attention_pytorch

from .errors import InputError

_OVERRIDE = "optimized_attention_override"
_PYTORCHS_WORDS = "don't support automatic differentiation"


def attend_with_backward(options: dict[str, Any]) -> None:
    """Has attention computed by PyTorch where the person's choice of kernels has no backward.

    Such kernels (SageAttention, FlashAttention) cut the gradient off; where a residual goes past them, silently.

    options: the ``transformer_options`` of a model of our own to train on; another pack's override in it stays, and is
        passed over only where it gives no gradient for inputs that want one.
    """
    management, override = comfy.model_management, options.get(_OVERRIDE)
    only_forward = management.sage_attention_enabled() or management.flash_attention_enabled()
    if not only_forward and override is None:
        return

    def attend(chosen: Callable, *args: Any, **named: Any) -> torch.Tensor:
        kernel = attention_pytorch if only_forward else chosen
        out = kernel(*args, **named) if override is None else override(kernel, *args, **named)
        wanted = torch.is_grad_enabled() and any(isinstance(t, torch.Tensor) and t.requires_grad for t in args)
        return attention_pytorch(*args, **named) if wanted and not out.requires_grad else out

    options[_OVERRIDE] = attend


def says_no_backward(error: BaseException) -> bool:
    """Whether PyTorch refused a kernel for want of a backward."""
    return isinstance(error, RuntimeError) and _PYTORCHS_WORDS in str(error)


def without_backward() -> InputError:
    """That nothing can be learnt on the model as it computes now."""
    return InputError(
        "model",
        "it computes with kernels that only go forwards, so nothing can be learnt on it.",
        "Start ComfyUI without --fast, load the weights without _fast in their type, and bypass nodes that patch in "
        "SageAttention; sampling may use them all the same.",
    )
