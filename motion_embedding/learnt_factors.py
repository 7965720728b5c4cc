"""Values that are learnt as the product of two small factors: far fewer numbers to optimise, save and share.

Both factors are of the size of one, so that one learning rate suits them and the rate of freely learnt values suits the
product: its numbers then move by about the rate in a step, as theirs do under AdamW.
"""

from __future__ import annotations

import re

import torch

from .low_rank import Factors, factorise

FORMS = ("low rank 4", "low rank 8", "low rank 16")


def rank_of(value_form: str) -> int | None:
    """The rank that a form of values names, ``low rank 16``; None for other forms."""
    named = re.fullmatch(r"low rank ([1-9]\d*)", value_form)
    return int(named[1]) if named else None


def start(values: torch.Tensor, rank: int) -> Factors:
    """Factors whose :func:`product` is closest to ``values [h, w, F, C]``, of ``rank`` or the most that the shape has.

    Directions that the values do not need have positions of zero and random channels, the same ones every time: were
    both zero, neither would ever be given a gradient.
    """
    rows, width = values.shape[:3].numel(), values.shape[3]
    rank = min(rank, rows, width)
    free = torch.randn(rank, width, generator=torch.Generator().manual_seed(0)).to(values)
    if not values.any():
        return Factors(values.new_zeros(*values.shape[:3], rank), free)
    factors = factorise(values, rank=rank)
    size = factors.channels.square().mean(1, keepdim=True).sqrt()
    unused = size < 1e-6 * size.max()
    channels = torch.where(unused, free, factors.channels / size.masked_fill(unused, 1))
    return Factors(factors.positions * size.masked_fill(unused, 0)[:, 0] * rank**0.5, channels)


def product(positions: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
    """``[h, w, F, C]`` of positions ``[h, w, F, r]`` and channels ``[r, C]``."""
    return positions @ channels / channels.shape[0] ** 0.5
