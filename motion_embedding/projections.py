"""What a query, key or value projection does while motion is added to it, instead of its own ``forward``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn

from .backbones import Backbone, Call


class Adding(NamedTuple):
    """Runs a projection with something added to its input.

    A projection that gives query, key and value at once cannot have a different input for each. Being linear, it gives
    for the sum the sum of what it gives, so that each part of its output gets what it gives for the part's addition:
    that of the module itself, with whatever LoRA or offloading is on it.
    """

    backbone: Backbone
    call: Call
    parts: tuple[slice, slice] | None

    def __call__(
        self, run: Callable, x: torch.Tensor, additions: Sequence[torch.Tensor | None], once: Sum | None
    ) -> torch.Tensor:
        """additions: for each projection that the module is, as :meth:`Source.addition`. once: see :class:`Change`."""
        if self.parts is None:
            if additions[0] is None:
                return run(x)
            if once is None or torch.compiler.is_compiling():  # what is compiled makes equal sums once by itself
                return run(self.backbone.add(x, additions[0], self.call))
            return run(once.of(self, x, additions[0]))
        output = run(x)
        for addition, part in zip(additions, self.parts, strict=True):
            if addition is not None:
                rows = addition.flatten(0, -2)
                given = run(torch.cat([rows, torch.zeros_like(rows[:1])])[None])[0, :, part]
                given = (given[:-1] - given[-1:]).unflatten(0, addition.shape[:-1])
                # In place: what else the module gives is several times as large, and would be copied along.
                output[..., part] = self.backbone.add(output[..., part], given, self.call)
        return output


class Sum:
    """The sum that query and key are both given, made once. Held from the one to the other, and no longer."""

    def __init__(self) -> None:
        self.held: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def of(self, adding: Adding, x: torch.Tensor, addition: torch.Tensor) -> torch.Tensor:
        held, self.held = self.held, None
        if held is not None and held[0] is x and held[1] is addition:
            return held[2]
        del held
        total = adding.backbone.add(x, addition, adding.call)
        self.held = x, addition, total
        return total


class Change(NamedTuple):
    """What a projection does for the length of a call.

    once: what query and key of an attention share; None for the value, whose sum nobody else wants.
    Where it is known beforehand what is to be added, and to an input of which shape, ``expected`` and ``shape`` say it:
    the addition is then all that ``torch.compile`` sees, and another motion is another input of its graph.
    """

    adding: Adding
    once: Sum | None
    arrived: Callable[[torch.Tensor], Sequence[torch.Tensor | None]]
    expected: Sequence[torch.Tensor | None] | None = None
    shape: torch.Size | None = None


class Shim:
    """One projection's stand-in ``forward``; ``change`` is set for the length of a call."""

    def __init__(self, linear: nn.Module) -> None:
        self.change: Change | None = None
        self.replaced: Callable | None = None

        def forward(x: torch.Tensor, *args, **kwargs):
            def run(x: torch.Tensor) -> torch.Tensor:
                if self.replaced is not None:
                    return self.replaced(x, *args, **kwargs)
                return type(linear).forward(linear, x, *args, **kwargs)

            change = self.change
            if change is None:
                return run(x)
            known = change.expected is not None and x.shape == change.shape
            return change.adding(run, x, change.expected if known else change.arrived(x), change.once)

        self.linear, self.forward = linear, forward

    def put(self, change: Change) -> None:
        if self.change is not None:
            raise RuntimeError("a motion is already installed on this model; give all sources to one Installation")
        self.change = change
        self.replaced = self.linear.__dict__.get("forward")
        self.linear.__dict__["forward"] = self.forward

    def remove(self) -> None:
        if self.change is not None and self.change.once is not None:
            self.change.once.held = None
        if self.replaced is not None:
            self.linear.__dict__["forward"] = self.replaced
        else:
            self.linear.__dict__.pop("forward", None)
        self.change = self.replaced = None


# By the module that holds the projections, not by the projection: a shim refers to its own, which would then never die.
_shims: WeakKeyDictionary[nn.Module, dict[nn.Module, Shim]] = WeakKeyDictionary()


def shim_of(home: nn.Module, linear: nn.Module) -> Shim:
    shims = _shims.setdefault(home, {})
    if linear not in shims:
        shims[linear] = Shim(linear)
    return shims[linear]
