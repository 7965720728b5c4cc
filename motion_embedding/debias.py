"""Ridding an embedding of appearance (arXiv 2403.20193, section 4.3; design section 1).

Every function takes rows along the frame axis, ``[..., F, C]``, and returns the same shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from .resample import RESCALES


def plain(rows: torch.Tensor) -> torch.Tensor:
    """As trained."""
    return rows


def difference(rows: torch.Tensor) -> torch.Tensor:
    """``m[0]`` for frame 0, ``m[i] - m[i-1]`` after it: the published rule."""
    return torch.cat([rows[..., :1, :], rows.diff(dim=-2)], dim=-2)


def difference_without_first(rows: torch.Tensor) -> torch.Tensor:
    """Frame differences with frame 0 zeroed, which the published rule leaves with its appearance."""
    return torch.cat([torch.zeros_like(rows[..., :1, :]), rows.diff(dim=-2)], dim=-2)


def without_mean(rows: torch.Tensor) -> torch.Tensor:
    """Minus the mean over frames: what all frames share cannot be motion."""
    return rows - rows.mean(dim=-2, keepdim=True)


def none(rows: torch.Tensor) -> torch.Tensor:
    """Zero: the values of the published camera mode."""
    return torch.zeros_like(rows)


VALUE_STRATEGIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "plain": plain,
    "difference": difference,
    "difference_without_first": difference_without_first,
    "without_mean": without_mean,
    "camera": none,
}
DIFFERENCES = ("difference", "difference_without_first")
QUERY_KEY_STRATEGIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "plain": plain,
    "without_mean": without_mean,
}


@dataclass(frozen=True)
class Debias:
    """How an embedding is rid of appearance when it is used.

    value, query_key: the strategy that its rows go through.
    until: the part of the sampling, from 0 (noise) to 1 (clip), up to which it acts at all. Where things are and how
        they move is settled first, what they look like last; a motion that stops early leaves less texture.

    It is recorded, not baked in: a change of frame count or size must resample the trained rows first.
    ``rescale`` is what becomes of frame differences then, see :func:`~motion_embedding.resample.rescale_factor`.
    """

    value: str = "plain"
    query_key: str = "plain"
    rescale: str = "off"
    until: float = 1.0

    def __post_init__(self) -> None:
        if self.value not in VALUE_STRATEGIES or self.query_key not in QUERY_KEY_STRATEGIES:
            raise ValueError(f"unknown debias strategy: value {self.value!r}, query_key {self.query_key!r}")
        if not 0 < self.until <= 1:
            raise ValueError(f"until is {self.until}, expected more than 0 and at most 1")
        if self.rescale not in RESCALES:
            raise ValueError(f"unknown rescale {self.rescale!r}, expected one of {RESCALES}")

    def describe(self) -> str:
        text = f"debias {self.value}" + ("" if self.query_key == "plain" else f", query-key {self.query_key}")
        text += "" if self.rescale == "off" else f", rescaled by {self.rescale}"
        return text + ("" if self.until == 1 else f", until {self.until:g}")
