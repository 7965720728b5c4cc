"""(ComfyUI) A throw-away LoRA that learns the look of a clip, so that its embedding need not (arXiv 2403.20193, 4.3).

It is the host's own trainable LoRA, hung on the projections that mix positions within a frame, and only for the
length of a call: the model keeps nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from comfy.patcher_extension import WrappersMP
from comfy.weight_adapter.lora import LoRAAdapter
from torch import nn

from .errors import InputError
from .injection import KEY
from .optimising import adamw

RANK = 32
LEARNING_RATE = 5e-4
SKIPPED = 0.2


class SpatialLora:
    """Rank-32 changes of ``linears`` and their optimiser.

    Its draws are a stream of their own, so that the clip meets the same noise as with the other losses.
    """

    def __init__(self, linears: Sequence[nn.Linear], device: torch.device, seed: int) -> None:
        self.linears = [linear for linear in linears if hasattr(linear, "weight_function")]
        if not self.linears:
            raise InputError("loss", "this model has no spatial layers for a LoRA.", "Use the debiased loss.")
        self.generator = torch.Generator().manual_seed(seed + 2**32)
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            self.adapters = [_new_adapter(linear).to(device) for linear in self.linears]
        self.parameters = [p for a in self.adapters for p in (a.lora_up.weight, a.lora_down.weight)]
        self.freeze(True)
        self.optimiser = adamw(self.parameters, LEARNING_RATE)

    def draw(self, frames: int) -> int | None:
        """The frame to learn from in this step; None in the steps it sits out."""
        skip = torch.rand((), generator=self.generator).item() < SKIPPED
        frame = int(torch.randint(frames, (), generator=self.generator))
        return None if skip else frame

    def freeze(self, frozen: bool) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(not frozen)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """While open, the model runs with the changed projections."""
        before = [linear.__dict__.get("weight_function") for linear in self.linears]
        try:
            for linear, adapter in zip(self.linears, self.adapters, strict=True):
                linear.weight_function = [*linear.weight_function, adapter]
            yield
        finally:
            for linear, functions in zip(self.linears, before, strict=True):
                if functions is None:
                    linear.__dict__.pop("weight_function", None)
                else:
                    linear.weight_function = functions

    @contextmanager
    def learning(self) -> Iterator[None]:
        """While open, it is attached and gradients reach it."""
        self.freeze(False)
        try:
            with self.attached():
                yield
        finally:
            self.freeze(True)


def call_of_still(extra_args: dict) -> dict:
    """The same call of the model for a clip of one frame, with no motion on it, in training or wired before it."""
    options = extra_args["model_options"]
    plain = {k: v for k, v in options["transformer_options"].items() if k != KEY}
    wrappers = plain.get("wrappers", {})
    around = {**wrappers.get(WrappersMP.APPLY_MODEL, {}), KEY: [_around_still]}
    plain["wrappers"] = {**wrappers, WrappersMP.APPLY_MODEL: around}
    return {**extra_args, "model_options": {**options, "transformer_options": plain}}


def _around_still(executor, *args, **kwargs):
    """Wrapper: the host has counted the frames of the whole clip, and this call has one of them."""
    return executor(*args, **{k: 1 if k == "num_video_frames" else v for k, v in kwargs.items()})


def _new_adapter(linear: nn.Linear) -> nn.Module:
    """Zero at first. ``alpha = rank`` makes the change ``up @ down`` itself; the host reads only shape and device."""
    shape_only = torch.empty(1).expand(linear.weight.shape)
    return LoRAAdapter.create_train(shape_only, rank=RANK, alpha=float(RANK))
