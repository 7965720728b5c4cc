"""(ComfyUI) The host's context windows: that they cut up the frames, and what they lack where those are a batch.

At 0.3.75 its handler cannot run on a batch of frames: it compares the noise level, which has one entry per frame, with
the list of all noise levels, which has one per step. Nor does it give each window its own prompts, where there is one
per frame, or its own pictures of a ControlNet.
"""

from __future__ import annotations

import copy

import torch

from .errors import InputError


def around_predict_noise(executor, x, timestep, model_options=None, seed=None) -> torch.Tensor:
    """Wrapper around one prediction: its context windows, where they cut up the batch, look up one noise level.

    Each then has its own part of what the conditioning holds per frame.

    Raises :class:`InputError` for windows along anything but the frames, and for a ControlNet that has a picture for
    each frame.
    """
    handler = (model_options or {}).get("context_handler")
    _refuse_other_axes(handler, x)
    if handler is None or getattr(handler, "dim", None) != 0 or not hasattr(handler, "set_step"):
        return executor(x, timestep, model_options, seed)
    if len(x) > handler.context_length:
        _refuse_pictures_per_frame(getattr(executor.class_obj, "conds", {}))
    mended = copy.copy(handler)  # the handler itself belongs to the graph
    mended.set_step = lambda sigma, options: type(handler).set_step(mended, sigma[:1], options)
    mended.get_resized_cond = lambda conds, x_in, window, device=None: _per_frame(
        type(handler).get_resized_cond(mended, conds, x_in, window, device), len(x_in), window, device
    )
    return executor(x, timestep, {**model_options, "context_handler": mended}, seed)


def _refuse_other_axes(handler, x: torch.Tensor) -> None:
    dim, frames = getattr(handler, "dim", None), 0 if x.ndim == 4 else 2
    if dim is not None and dim != frames and x.shape[dim] > handler.context_length:
        raise InputError(
            "model",
            f"its context windows cut along dimension {dim}, and the frames of this model lie along {frames}.",
            f"Use Context Windows (Manual) with dim {frames}.",
        )


def _per_frame(conds: list[dict] | None, frames: int, window, device) -> list[dict] | None:
    """The host cuts up what a node put into the conditioning, but not what the model made of it."""
    for entry in conds or ():
        made = entry.get("model_conds", {})
        for name, value in made.items():
            tensor = getattr(value, "cond", None)
            if isinstance(tensor, torch.Tensor) and tensor.ndim and len(tensor) == frames:
                made[name] = value._copy_with(window.get_tensor(tensor, device))
    return conds


def _refuse_pictures_per_frame(conds: dict[str, list[dict]]) -> None:
    for name, entries in conds.items():
        for control in (entry.get("control") for entry in entries):
            while control is not None:
                hint = getattr(control, "cond_hint_original", None)
                if hint is not None and len(hint) > 1:
                    raise InputError(
                        name,
                        "ComfyUI gives every context window the first pictures of a ControlNet.",
                        "Use one picture for all frames, AnimateDiff-Evolved's context options, or fewer frames.",
                    )
                control = control.previous_controlnet
