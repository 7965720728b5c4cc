"""What the rest of the pack asks of a model family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from einops import rearrange
from torch import nn

from ..errors import InputError

POSITIVE = 0


@dataclass(frozen=True)
class Call:
    """One call of the model: how its batch and its latent clip are laid out.

    groups: for each equal part of the batch, 0 for the positive and 1 for the negative prompt.
    frames, height, width: of the latent clip.
    """

    frames: int
    height: int
    width: int
    groups: tuple[int, ...] = (POSITIVE,)
    batch: int = 1


@dataclass(frozen=True, eq=False)
class TemporalAttention:
    """One self-attention that mixes frames: the projections an embedding is added in front of.

    layer: name of its transformer block, the same for every model of the family; shares one query-key embedding.
    name: of the attention inside the block.
    """

    layer: str
    name: str
    query: nn.Module
    key: nn.Module
    value: nn.Module

    @property
    def width(self) -> int:
        return self.query.in_features


class Backbone(ABC):
    """A model family. Stateless; one instance serves every model."""

    family: str
    presets: dict[str, Callable[[Sequence[TemporalAttention]], list[TemporalAttention]]]

    @abstractmethod
    def attentions(self, model: nn.Module) -> list[TemporalAttention]:
        """Every attention of ``model`` that mixes frames, in order of use; empty when it is not of this family."""

    @abstractmethod
    def call(self, x: torch.Tensor, groups: Sequence[int], name: str = "latent_image") -> Call:
        """Reads the layout off a latent. Raises :class:`InputError` about the input ``name`` when it is no video."""

    @abstractmethod
    def grid(self, x: torch.Tensor, call: Call) -> tuple[int, int]:
        """Height and width of the positions in ``x``, the input of a projection."""

    @abstractmethod
    def add(self, x: torch.Tensor, addition: torch.Tensor, call: Call) -> torch.Tensor:
        """``x`` with ``addition [G, P, F, C]`` on its tokens; G is 1 or the number of groups, P is 1 or positions."""

    def spatial_linears(self, model: nn.Module) -> list[nn.Linear]:
        """The projections of the blocks that mix positions within a frame; empty when the family names none.

        They hold the look of a clip. The loss ``debiased_hybrid`` needs them.
        """
        return []

    def select(self, attentions: Sequence[TemporalAttention], choice: str) -> list[TemporalAttention]:
        """The attentions of a preset, or those whose layer matches one of the comma-separated patterns."""
        if choice in self.presets:
            chosen = self.presets[choice](attentions)
        else:
            patterns = [p.strip() for p in choice.split(",") if p.strip()]
            chosen = [a for a in attentions if any(fnmatchcase(a.layer, p) for p in patterns)]
        if not chosen:
            layers = sorted({a.layer for a in attentions})
            raise InputError(
                "layers",
                f"{choice!r} matches no temporal layer of this model.",
                f"Its layers are: {', '.join(layers)}.",
            )
        return chosen


def add_position_major(x: torch.Tensor, addition: torch.Tensor, groups: int) -> torch.Tensor:
    """For tokens laid out ``[(B h w), F, C]``, batch outermost. See :meth:`Backbone.add`."""
    g, p = min(groups, addition.shape[0]), addition.shape[1]
    tokens = rearrange(x, "(g b p) f c -> g b p f c", g=g, p=p)
    return rearrange(tokens + addition[:, None], "g b p f c -> (g b p) f c")
