"""Editing a motion: pure functions from embeddings to a new one.

They work on the *trained* rows and leave the debias as it is recorded, so frame differences are taken of the edited
motion. Offered is what makes the edited track on the tiny model. Cuts, other speeds, loops, blends and scaling are
not: a motion is learnt as a whole, and some of its rows alone, or mixtures of rows (which are nearly orthogonal even
where they are neighbours), send the object elsewhere.

The inverted noise is turned along, and dropped by a shift: places are mixed there, and a mixture of noises is no noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import affine_grid, grid_sample

from .embedding import MotionEmbedding

TensorMap = Callable[[torch.Tensor], torch.Tensor]
MIRRORS = {"left-right": 1, "up-down": 0}


def reverse(motion: MotionEmbedding) -> MotionEmbedding:
    """Backwards in time."""

    def backwards(rows: torch.Tensor) -> torch.Tensor:
        return rows.flip(-2)

    noise = motion.inverted_noise
    return _edited(motion, backwards, backwards, inverted_noise=None if noise is None else noise.flip(1))


def mirror(motion: MotionEmbedding, axis: str) -> MotionEmbedding:
    """``left-right`` or ``up-down``: the places are swapped; query-keys know no places and stay."""
    if axis not in MIRRORS:
        raise ValueError(f"unknown axis {axis!r}, expected one of {tuple(MIRRORS)}")
    grid_axis = MIRRORS[axis]
    noise = motion.inverted_noise
    return _edited(
        motion,
        value=lambda grid: grid.flip(grid_axis),
        inverted_noise=None if noise is None else noise.flip(grid_axis - 2),
    )


def rotate(motion: MotionEmbedding, quarter_turns: int) -> MotionEmbedding:
    """Turned counter-clockwise by ``quarter_turns`` · 90°; odd numbers swap height and width."""
    height, width = (motion.width, motion.height) if quarter_turns % 2 else (motion.height, motion.width)
    noise = motion.inverted_noise
    return _edited(
        motion,
        value=lambda grid: grid.rot90(quarter_turns, (0, 1)),
        height=height,
        width=width,
        inverted_noise=None if noise is None else noise.rot90(quarter_turns, (-2, -1)),
    )


def shift(motion: MotionEmbedding, right: float, down: float) -> MotionEmbedding:
    """Elsewhere in the frame, by shares of its width and height; what moves in holds the values of the edge."""
    theta = torch.tensor([[[1.0, 0.0, -2 * right], [0.0, 1.0, -2 * down]]])

    def moved(grid: torch.Tensor) -> torch.Tensor:
        planes = grid.float().permute(2, 3, 0, 1).flatten(0, 1)[None]
        where = affine_grid(theta, (1, 1, *grid.shape[:2]), align_corners=False).to(planes)
        out = grid_sample(planes, where, padding_mode="border", align_corners=False)
        return out[0].unflatten(0, grid.shape[2:]).permute(2, 3, 0, 1).to(grid)

    return _edited(motion, value=moved, inverted_noise=None)


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _edited(
    motion: MotionEmbedding, query_key: TensorMap = _same, value: TensorMap = _same, **changes: Any
) -> MotionEmbedding:
    return motion.replace(
        layers={name: layer.map(query_key, value) for name, layer in motion.layers.items()}, **changes
    )
