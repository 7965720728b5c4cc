"""The motions wired to one model, and which of them act in a call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .applied import Applied
from .checkpointing import Checkpoints
from .install import Prepared, Source
from .node_text import tell
from .noise_now import NoiseNow, Span


@dataclass(frozen=True)
class Entry:
    """One source and when it acts: in a part of the sampling, in percent of the way from noise to clip, and at noise
    levels from ``above`` up to, not including, ``below``.
    """

    source: Source
    start_percent: float = 0.0
    end_percent: float = 1.0
    above: float = float("-inf")
    below: float = float("inf")

    def span(self, sampling) -> Span:
        """In noise levels of ``sampling``, the model's when it samples: a node further down may have changed it."""
        begin, end = float("inf"), float("-inf")
        if self.start_percent > 0 or self.end_percent < 1:
            begin, end = (float(sampling.percent_to_sigma(p)) for p in (self.start_percent, self.end_percent))
        return Span(self.above, self.below, begin, end)


class MotionStack:
    """The sources wired to one ``MODEL``, in order, and what has been prepared of them for this sampling run.

    It rides in ``transformer_options``, which ComfyUI deep-copies at will; the tensors must not be copied along.
    ``checkpoints`` are set while training.
    """

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        self.entries = tuple(entries)
        self.prepared = Prepared()
        self.noise = NoiseNow()
        self._spans: tuple[object, list[Span]] = (None, [])
        self.whole_shape: torch.Size | None = None
        self.corners: dict[object, tuple[int, int]] = {}
        self.announced: set[str] = set()
        self.checked = False
        self.checkpoints: Checkpoints | None = None

    def __deepcopy__(self, memo: dict) -> MotionStack:
        return self

    def plus(self, entry: Entry) -> MotionStack:
        return MotionStack((*self.entries, entry))

    def acting(self, sigma: torch.Tensor, sampling) -> list[Source]:
        """The sources that act in a call at the noise level ``sigma``."""
        if self._spans[0] is not sampling:
            self._spans = sampling, [entry.span(sampling) for entry in self.entries]
        spans, bounds = self._spans[1], self.noise.bounds()
        acts = [span.throughout(*bounds) for span in spans]
        if None in acts:
            level = self.noise.level(sigma)
            acts = [span.holds(level) for span in spans]
        return [entry.source for entry, does in zip(self.entries, acts, strict=True) if does]

    def forget(self) -> None:
        """What was prepared for a run that is over."""
        self.prepared.clear()
        self._spans = None, []

    def announce(self, message: str) -> None:
        """Tell the person something, once."""
        if message not in self.announced:
            self.announced.add(message)
            tell(message)

    def unreached(self) -> set[str]:
        """Layers of the embeddings in use that no call of the model has come by so far."""
        named = {name for e in self.entries if isinstance(e.source, Applied) for name in e.source.embedding.layers}
        return named - {layer for _, layer, *_ in self.prepared.additions}
