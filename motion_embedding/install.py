"""Adding motion to a model for the length of one call, and leaving no trace (design section 3).

Each query, key and value projection of a temporal attention gets its ``forward`` swapped for one stable function
object that adds a tensor to its input. A forward hook would be simpler, but ``torch.compile`` ignores hooks that
come and go; it guards on a swapped ``forward`` correctly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import nn

from .backbones import Backbone, Call, TemporalAttention, find_backbone
from .resample import crop_grid, whole_grid

Projection = Literal["query_key", "value"]


class Source(Protocol):
    """Something that adds to the inputs of temporal attentions: an embedding in use, or one in training.

    settled: whether what it adds stays the same from call to call, so that it can be prepared once.
    whole: whether it adds to the whole clip, of which a context window or an area takes its part, rather than to each
        call.
    """

    settled: bool
    whole: bool

    def addition(
        self, site: TemporalAttention, projection: Projection, grid: tuple[int, int], call: Call
    ) -> torch.Tensor | None:
        """``[G, P, F, C]``, G 1 or the number of batch groups, P 1 or the positions of the grid; None for nothing.

        F and the grid are those of the whole clip, ``call.length``, if the source is ``whole``, else those of the call.
        """


class _Adding(NamedTuple):
    """Runs a projection with something added to its input.

    A projection that gives query, key and value at once cannot have a different input for each. Being linear, it gives
    for the sum the sum of what it gives, so that each part of its output gets what it gives for the part's addition:
    that of the module itself, with whatever LoRA or offloading is on it.
    """

    backbone: Backbone
    call: Call
    parts: tuple[slice, slice] | None

    def __call__(self, run: Callable, x: torch.Tensor, additions: Sequence[torch.Tensor | None]) -> torch.Tensor:
        """additions: for each projection that the module is, as :meth:`Source.addition`."""
        if self.parts is None:
            return run(x if additions[0] is None else self.backbone.add(x, additions[0], self.call))
        output = run(x)
        for addition, part in zip(additions, self.parts, strict=True):
            if addition is not None:
                rows = addition.flatten(0, -2)
                given = run(torch.cat([rows, torch.zeros_like(rows[:1])])[None])[0, :, part]
                given = (given[:-1] - given[-1:]).unflatten(0, addition.shape[:-1])
                # In place: what else the module gives is several times as large, and would be copied along.
                output[..., part] = self.backbone.add(output[..., part], given, self.call)
        return output


class _Change(NamedTuple):
    """What a projection does for the length of a call.

    Where it is known beforehand what is to be added, and to an input of which shape, ``expected`` and ``shape`` say it:
    the addition is then all that ``torch.compile`` sees, and another motion is another input of its graph.
    """

    adding: _Adding
    arrived: Callable[[torch.Tensor], Sequence[torch.Tensor | None]]
    expected: Sequence[torch.Tensor | None] | None = None
    shape: torch.Size | None = None


class _Shim:
    """One projection's stand-in ``forward``; ``change`` is set for the length of a call."""

    def __init__(self, linear: nn.Module) -> None:
        self.change: _Change | None = None
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
            return change.adding(run, x, change.expected if known else change.arrived(x))

        self.linear, self.forward = linear, forward

    def put(self, change: _Change) -> None:
        if self.change is not None:
            raise RuntimeError("a motion is already installed on this model; give all sources to one Installation")
        self.change = change
        self.replaced = self.linear.__dict__.get("forward")
        self.linear.__dict__["forward"] = self.forward

    def remove(self) -> None:
        if self.replaced is not None:
            self.linear.__dict__["forward"] = self.replaced
        else:
            self.linear.__dict__.pop("forward", None)
        self.change = self.replaced = None


# By the module that holds the projections, not by the projection: a shim refers to its own, which would then never die.
_shims: WeakKeyDictionary[nn.Module, dict[nn.Module, _Shim]] = WeakKeyDictionary()


def _shim(home: nn.Module, linear: nn.Module) -> _Shim:
    shims = _shims.setdefault(home, {})
    if linear not in shims:
        shims[linear] = _Shim(linear)
    return shims[linear]


class Input(NamedTuple):
    """What came in at a projection."""

    grid: tuple[int, int]
    shape: torch.Size
    dtype: torch.dtype
    device: torch.device


class Prepared:
    """Kept between calls by whoever makes them: what settled sources add, and what came in in calls of each layout."""

    def __init__(self) -> None:
        self.additions: dict[tuple, torch.Tensor | None] = {}
        self.inputs: dict[tuple, dict[tuple[str, str, str], Input]] = {}

    def inputs_of(self, call: Call) -> dict[tuple[str, str, str], Input]:
        """By layer, attention and projection; empty before the first call of this layout."""
        return self.inputs.setdefault((call.frames, call.height, call.width, call.batch), {})


class Additions:
    """Puts what the sources add on the tokens of a projection's input."""

    def __init__(self, backbone: Backbone, sources: Sequence[Source], call: Call, prepared: Prepared) -> None:
        self.backbone, self.sources, self.call = backbone, sources, call
        self.kept, self.inputs = prepared.additions, prepared.inputs_of(call)
        self.frames = None if call.window is None else _index(call.window)

    def arrived(
        self, site: TemporalAttention, projections: Sequence[Projection], x: torch.Tensor
    ) -> list[torch.Tensor | None]:
        """What to add for each of the projections that one module is, whose input ``x`` has come in."""
        seen = Input(self.backbone.grid(x, self.call), x.shape, x.dtype, x.device)
        for projection in projections:
            self.inputs[site.layer, site.name, projection] = seen
        return [self._total(site, projection, seen) for projection in projections]

    def beforehand(
        self, site: TemporalAttention, projections: Sequence[Projection]
    ) -> tuple[list[torch.Tensor | None], torch.Size] | None:
        """What will be added for each projection, and to which shape; None if no call has shown what comes in."""
        seen = self.inputs.get((site.layer, site.name, projections[0]))
        return None if seen is None else ([self._total(site, p, seen) for p in projections], seen.shape)

    def _total(self, site: TemporalAttention, projection: Projection, seen: Input) -> torch.Tensor | None:
        parts = [self._part(source, site, projection, seen) for source in self.sources]
        parts = [part for part in parts if part is not None]
        return sum(parts[1:], start=parts[0]) if parts else None

    def _part(
        self, source: Source, site: TemporalAttention, projection: Projection, seen: Input
    ) -> torch.Tensor | None:
        call, grid, area = self.call, seen.grid, (self.call.height, self.call.width)
        if not source.whole:
            return self._kept(source, site, projection, seen, (call.frames, *area))
        whole = whole_grid(grid, area, call.picture) if call.picture else grid
        part = self._kept(source, site, projection, seen._replace(grid=whole), (call.length, *call.size))
        if part is None:
            return None
        if self.frames is not None:
            part = part[:, :, self.frames]
        return crop_grid(part, whole, grid, area, call.corners) if call.picture and part.shape[1] > 1 else part

    def _kept(
        self,
        source: Source,
        site: TemporalAttention,
        projection: Projection,
        seen: Input,
        extent: tuple[int, int, int],
    ) -> torch.Tensor | None:
        """What ``source`` adds, from what is prepared where it can be; ``extent``: frames, height, width it is for."""
        place = (site.layer, site.name, projection, seen.grid)
        key = (id(source), *place, extent, self.call.groups, seen.dtype, seen.device)
        if key in self.kept:
            return self.kept[key]
        part = source.addition(site, projection, seen.grid, self.call)
        part = None if part is None else part.to(seen.device, seen.dtype)
        if source.settled:
            self.kept[key] = part
        return part


def _index(window: tuple[int, ...]) -> slice | list[int]:
    """A slice where the frames of a window follow each other, since that copies nothing."""
    if window == tuple(range(window[0], window[0] + len(window))):
        return slice(window[0], window[0] + len(window))
    return list(window)


class Installation:
    """While open, the temporal attentions of ``model`` see what ``sources`` add to their inputs.

    It can be opened again: activation checkpointing runs the forward again in ``backward``, on the same additions.

    prepared: to keep between calls that share sources, so that their tensors are made once.
    family: what :func:`find_backbone` said of the model, to spare the walk.

    Opening raises :class:`RuntimeError` when one is open on the model already: sources add up in one call.
    """

    def __init__(
        self,
        model: nn.Module,
        sources: Sequence[Source],
        call: Call,
        prepared: Prepared | None = None,
        family: tuple[Backbone, Sequence[TemporalAttention]] | None = None,
    ) -> None:
        backbone, attentions = family or find_backbone(model)
        additions = Additions(backbone, sources, call, prepared or Prepared())
        self.changes: list[tuple[_Shim, _Change]] = []
        self.open: list[_Shim] = []
        for site in attentions:
            for linear, projections in modules_of(site).items():
                known = additions.beforehand(site, projections)
                if known and all(part is None for part in known[0]):
                    continue
                adding = _Adding(backbone, call, site.parts)
                change = _Change(adding, partial(additions.arrived, site, projections), *(known or ()))
                self.changes.append((_shim(site.home or model, linear), change))

    def __enter__(self) -> None:
        try:
            for shim, change in self.changes:
                shim.put(change)
                self.open.append(shim)
        except RuntimeError:
            self.__exit__()
            raise

    def __exit__(self, *error: object) -> None:
        while self.open:
            self.open.pop().remove()


def modules_of(site: TemporalAttention) -> dict[nn.Module, tuple[Projection, ...]]:
    """The modules of an attention and which of its projections each is; an addition to query and key is one."""
    if site.parts is not None:
        return {site.query: ("query_key", "value")}
    return {site.query: ("query_key",), site.key: ("query_key",), site.value: ("value",)}


def reach(attentions: Sequence[TemporalAttention], layers: Mapping[str, object]) -> list[str]:
    """Names in ``layers`` that no attention of the model answers to."""
    known = {a.layer for a in attentions}
    return [name for name in layers if name not in known]
