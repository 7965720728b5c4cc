"""Adding motion to a model for the length of one call, and leaving no trace (design section 3).

Each query, key and value projection of a temporal attention gets its ``forward`` swapped for one stable function
object that adds a tensor to its input. A forward hook would be simpler, but ``torch.compile`` ignores hooks that
come and go; it guards on a swapped ``forward`` correctly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple, Protocol

import torch
from torch import nn

from .backbones import Backbone, Call, TemporalAttention, find_backbone
from .projections import Adding, Change, Shim, Sum, shim_of
from .resample import crop_grid, whole_grid

Projection = Literal["query_key", "value"]

_LAYOUTS = 16
"""Of how many layouts of a call the changes are kept: as many as one prediction has windows, as a rule."""


class Source(Protocol):
    """Something that adds to the inputs of temporal attentions: an embedding in use, or one in training.

    settled: whether what it adds stays the same from call to call, so that it can be prepared once.
    whole: whether it adds to the whole clip, of which a context window or an area takes its part, rather than to each
        call.
    """

    settled: bool
    whole: bool

    def addition(
        self,
        site: TemporalAttention,
        projection: Projection,
        grid: tuple[int, int],
        call: Call,
        device: torch.device | None = None,
    ) -> torch.Tensor | None:
        """``[G, P, F, C]``, G 1 or the number of batch groups, P 1 or the positions of the grid; None for nothing.

        device: where it will be added; to work there is quicker than to work where the rows lie.
        F and the grid are those of the whole clip, ``call.length``, if the source is ``whole``, else those of the call.
        """


class Input(NamedTuple):
    """What came in at a projection."""

    grid: tuple[int, int]
    shape: torch.Size
    dtype: torch.dtype
    device: torch.device


class Prepared:
    """Kept between calls by whoever makes them: what settled sources add, and what came in in calls of each layout.

    changes: what the projections do, for as long as calls of one layout follow each other.
    """

    def __init__(self) -> None:
        self.additions: dict[tuple, torch.Tensor | None] = {}
        self.changes: dict[tuple, list[tuple[Shim, Change]]] = {}
        self.inputs: dict[tuple, dict[tuple[str, str, str], Input]] = {}

    def inputs_of(self, call: Call) -> dict[tuple[str, str, str], Input]:
        """By layer, attention and projection; empty before the first call of this layout."""
        return self.inputs.setdefault((call.frames, call.height, call.width, call.batch), {})

    def clear(self) -> None:
        """Free what is prepared; what came in is still known."""
        self.additions.clear()
        self.changes.clear()


class Additions:
    """Puts what the sources add on the tokens of a projection's input."""

    def __init__(self, backbone: Backbone, sources: Sequence[Source], call: Call, prepared: Prepared) -> None:
        self.backbone, self.sources, self.call = backbone, sources, call
        self.kept, self.inputs = prepared.additions, prepared.inputs_of(call)
        self.frames = None if call.window is None else _index(call.window)
        self.totals: dict[tuple, torch.Tensor | None] = {}
        self.settled = all(source.settled for source in sources)
        self.copies = isinstance(self.frames, list) or call.picture is not None or bool(call.window and sources[1:])
        """Whether a part of the clip cannot be had as a view of what is prepared for all of it."""

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
        """One tensor for query and key: so they know that they are given the same."""
        key = (site.layer, site.name, projection, seen)
        if key not in self.totals:
            total = self._new_total(site, projection, seen)
            if projection == "value" and not self.settled:
                return total  # as large as what comes in, and nobody asks again
            self.totals[key] = total
        return self.totals[key]

    def _new_total(self, site: TemporalAttention, projection: Projection, seen: Input) -> torch.Tensor | None:
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
        part = source.addition(site, projection, seen.grid, self.call, seen.device)
        part = None if part is None else part.to(seen.device, seen.dtype)
        if source.settled:
            self.kept[key] = part
        return part


def _index(window: tuple[int, ...]) -> slice | list[int]:
    """A slice where the frames of a window follow each other, since that copies nothing."""
    if window == tuple(range(window[0], window[0] + len(window))):
        return slice(window[0], window[0] + len(window))
    return list(window)


def _changes(
    model: nn.Module, attentions: Sequence[TemporalAttention], additions: Additions
) -> Iterator[tuple[Shim, Change]]:
    """What every projection does in the call that ``additions`` are for, as far as something is added to it."""
    for site in attentions:
        once = Sum()
        for linear, projections in modules_of(site).items():
            known = additions.beforehand(site, projections)
            if known and all(part is None for part in known[0]):
                continue
            adding = Adding(additions.backbone, additions.call, site.parts)
            shared = once if projections == ("query_key",) else None
            change = Change(adding, shared, partial(additions.arrived, site, projections), *(known or ()))
            yield shim_of(site.home or model, linear), change


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
        prepared = prepared or Prepared()
        additions = Additions(backbone, sources, call, prepared)
        self.open: list[Shim] = []
        key = (call, len(additions.inputs), *map(id, sources), *(id(site.query) for site in attentions))
        self.changes = prepared.changes.get(key)
        if self.changes is None:
            self.changes = list(_changes(model, attentions, additions))
            if additions.settled and additions.inputs and not additions.copies:
                while len(prepared.changes) >= _LAYOUTS:
                    prepared.changes.pop(next(iter(prepared.changes)))
                prepared.changes[key] = self.changes

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
