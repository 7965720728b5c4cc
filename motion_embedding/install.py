"""Adding motion to a model for the length of one call, and leaving no trace (design section 3).

Each query, key and value projection of a temporal attention gets its ``forward`` swapped for one stable function
object that adds a tensor to its input. A forward hook would be simpler, but ``torch.compile`` ignores hooks that
come and go; it guards on a swapped ``forward`` correctly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import nn

from .backbones import Backbone, Call, TemporalAttention, find_backbone

Projection = Literal["query_key", "value"]


class Source(Protocol):
    """Something that adds to the inputs of temporal attentions: an embedding in use, or one in training.

    per_group: whether what it adds differs between the positive and the negative half of the batch.
    """

    per_group: bool

    def addition(
        self, site: TemporalAttention, projection: Projection, grid: tuple[int, int], call: Call
    ) -> torch.Tensor | None:
        """``[G, P, F, C]``, G 1 or the number of batch groups, P 1 or the positions of the grid; None for nothing."""


class _Shim:
    """One projection's stand-in ``forward``; ``transform`` is set for the length of a call."""

    def __init__(self, linear: nn.Module) -> None:
        self.transform: Callable[[torch.Tensor], torch.Tensor] | None = None
        self.replaced: Callable | None = None

        def forward(x: torch.Tensor, *args, **kwargs):
            if self.transform is not None:
                x = self.transform(x)
            if self.replaced is not None:
                return self.replaced(x, *args, **kwargs)
            return type(linear).forward(linear, x, *args, **kwargs)

        self.linear, self.forward = linear, forward

    def put(self, transform: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.transform, self.replaced = transform, self.linear.__dict__.get("forward")
        self.linear.__dict__["forward"] = self.forward

    def remove(self) -> None:
        if self.replaced is not None:
            self.linear.__dict__["forward"] = self.replaced
        else:
            self.linear.__dict__.pop("forward", None)
        self.transform = self.replaced = None


_shims: WeakKeyDictionary[nn.Module, dict[nn.Module, _Shim]] = WeakKeyDictionary()


def _shim(model: nn.Module, linear: nn.Module) -> _Shim:
    shims = _shims.setdefault(model, {})
    if linear not in shims:
        shims[linear] = _Shim(linear)
    return shims[linear]


class Additions:
    """Sums what the sources add, prepares it once, and puts it on the tokens of a projection's input.

    prepared: survives from call to call where the sources do not change (a sampling run); None to prepare anew.
    """

    def __init__(self, backbone: Backbone, sources: Sequence[Source], call: Call, prepared: dict | None = None) -> None:
        self.backbone, self.sources, self.call, self.prepared = backbone, sources, call, prepared
        groups = call.groups if any(s.per_group for s in sources) else None
        self.key = (tuple(id(s) for s in sources), call.frames, call.height, call.width, groups)

    def apply(self, site: TemporalAttention, projection: Projection, x: torch.Tensor) -> torch.Tensor:
        addition = self._total(site, projection, x)
        return x if addition is None else self.backbone.add(x, addition, self.call)

    def _total(self, site: TemporalAttention, projection: Projection, x: torch.Tensor) -> torch.Tensor | None:
        grid = self.backbone.grid(x, self.call)
        if self.prepared is None:
            return self._sum(site, projection, grid, x)
        key = (self.key, site.layer, site.name, projection, grid, x.dtype, x.device)
        if key not in self.prepared:
            self.prepared[key] = self._sum(site, projection, grid, x)
        return self.prepared[key]

    def _sum(
        self, site: TemporalAttention, projection: Projection, grid: tuple[int, int], x: torch.Tensor
    ) -> torch.Tensor | None:
        total = None
        for source in self.sources:
            part = source.addition(site, projection, grid, self.call)
            if part is not None:
                part = part.to(x)
                total = part if total is None else total + part
        return total


@contextmanager
def installed(
    model: nn.Module,
    sources: Sequence[Source],
    call: Call,
    prepared: dict | None = None,
    family: tuple[Backbone, Sequence[TemporalAttention]] | None = None,
) -> Iterator[None]:
    """While open, the temporal attentions of ``model`` see what ``sources`` add to their inputs.

    For training, keep it open until ``backward`` is done: activation checkpointing runs the forward again there.
    family: what :func:`find_backbone` said of the model, to spare the walk.
    """
    backbone, attentions = family or find_backbone(model)
    additions, shims = Additions(backbone, sources, call, prepared), []
    try:
        for site in attentions:
            for linears, projection in (((site.query, site.key), "query_key"), ((site.value,), "value")):
                transform = _transform(additions, site, projection)
                for linear in dict.fromkeys(linears):
                    shim = _shim(model, linear)
                    shim.put(transform)
                    shims.append(shim)
        yield
    finally:
        for shim in reversed(shims):
            shim.remove()


def _transform(additions: Additions, site: TemporalAttention, projection: Projection):
    return lambda x: additions.apply(site, projection, x)


def reach(attentions: Sequence[TemporalAttention], layers: Mapping[str, object]) -> list[str]:
    """Names in ``layers`` that no attention of the model answers to."""
    known = {a.layer for a in attentions}
    return [name for name in layers if name not in known]
