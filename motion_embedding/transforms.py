"""Editing a motion: pure functions from embeddings to a new one.

They work on the *trained* rows and leave the debias as it is recorded, so frame differences are taken of the edited
motion. Offered is what makes the edited track on the tiny model. Edits that keep every row and change the number of
frames do; those that squeeze, mix or leave out rows do not (a cut, another speed in as many frames, a blend, a scale):
rows are nearly orthogonal even where they are neighbours, and a motion is learnt as a whole.

The inverted noise is turned along in place and time. A shift, which mixes it, and edits that repeat it drop it. The
thumbnail shows the edited clip.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample

from .embedding import LayerEmbedding, MotionEmbedding
from .errors import InputError
from .resample import resample_grid
from .thumbnail import Thumbnail

TensorMap = Callable[[torch.Tensor], torch.Tensor]
PictureMap = Callable[[np.ndarray], np.ndarray]
MIRRORS = {"left-right": 1, "up-down": 0}


def reverse(motion: MotionEmbedding) -> MotionEmbedding:
    """Backwards in time."""

    def backwards(rows: torch.Tensor) -> torch.Tensor:
        return rows.flip(-2)

    noise = motion.inverted_noise
    turned = None if noise is None else noise.flip(1)
    return _edited(motion, backwards, backwards, lambda frames: frames[::-1], inverted_noise=turned)


def there_and_back(motion: MotionEmbedding) -> MotionEmbedding:
    """Forwards, then backwards to where it began: ``2 F - 2`` frames that loop without a seam."""
    frames = [*range(motion.frames), *range(motion.frames - 2, 0, -1)]
    return _frames(motion, frames, lambda pictures: np.concatenate([pictures, pictures[-2:0:-1]]))


def repeat(motion: MotionEmbedding, times: int) -> MotionEmbedding:
    """Again and again, in ``times`` as many frames."""
    return _frames(motion, list(range(motion.frames)) * times)


def join(first: MotionEmbedding, second: MotionEmbedding) -> MotionEmbedding:
    """One after the other. The debias, fps and training record are the first one's; the size too, where they differ.

    Raises :class:`InputError` unless both were learnt on the same layers of the same family.
    """
    if (first.backbone, first.fingerprint) != (second.backbone, second.fingerprint):
        raise InputError(
            "second",
            f"it was learnt on other layers or another kind of model ({second.describe()}) than the first "
            f"({first.describe()}).",
            "Join motions that were trained on one model with one choice of layers.",
        )
    layers = {}
    for name, layer in first.layers.items():
        other = second.layers[name]
        layers[name] = LayerEmbedding(
            torch.cat([layer.query_key, other.query_key.to(layer.query_key)]),
            {
                attention: torch.cat([grid, resample_grid(other.value[attention].to(grid), *grid.shape[:2])], 2)
                for attention, grid in layer.value.items()
            },
        )
    frames = first.frames + second.frames
    return first.replace(layers=layers, frames=frames, inverted_noise=None, thumbnail=_joined(first, second))


def _joined(first: MotionEmbedding, second: MotionEmbedding) -> Thumbnail | None:
    """Both thumbnails, one after the other; that of the first where the pictures do not go together."""
    if first.thumbnail is None or second.thumbnail is None:
        return first.thumbnail
    other = second.thumbnail
    return first.thumbnail.edited(lambda frames: np.concatenate([frames, other.frames()])) or first.thumbnail


def mirror(motion: MotionEmbedding, axis: str) -> MotionEmbedding:
    """``left-right`` or ``up-down``: the places are swapped; query-keys know no places and stay."""
    if axis not in MIRRORS:
        raise ValueError(f"unknown axis {axis!r}, expected one of {tuple(MIRRORS)}")
    grid_axis = MIRRORS[axis]
    noise = motion.inverted_noise
    return _edited(
        motion,
        value=lambda grid: grid.flip(grid_axis),
        picture=lambda frames: np.flip(frames, grid_axis + 1),
        inverted_noise=None if noise is None else noise.flip(grid_axis - 2),
    )


def rotate(motion: MotionEmbedding, quarter_turns: int) -> MotionEmbedding:
    """Turned counter-clockwise by ``quarter_turns`` · 90°; odd numbers swap height and width."""
    height, width = (motion.width, motion.height) if quarter_turns % 2 else (motion.height, motion.width)
    noise = motion.inverted_noise
    return _edited(
        motion,
        value=lambda grid: grid.rot90(quarter_turns, (0, 1)),
        picture=lambda frames: np.rot90(frames, quarter_turns, (1, 2)),
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

    def moved_picture(frames: np.ndarray) -> np.ndarray:
        sizes, shares = frames.shape[1:3], (down, right)
        rows, columns = (
            np.clip(np.arange(size) - round(share * size), 0, size - 1)
            for size, share in zip(sizes, shares, strict=True)
        )
        return frames[:, rows][:, :, columns]

    return _edited(motion, value=moved, picture=moved_picture, inverted_noise=None)


def _frames(motion: MotionEmbedding, frames: list[int], picture: PictureMap | None = None) -> MotionEmbedding:
    """The rows of these frames, in this order."""

    def picked(rows: torch.Tensor) -> torch.Tensor:
        return rows[..., frames, :]

    return _edited(motion, picked, picked, picture, frames=len(frames), inverted_noise=None)


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _edited(
    motion: MotionEmbedding,
    query_key: TensorMap = _same,
    value: TensorMap = _same,
    picture: PictureMap | None = None,
    **changes: Any,
) -> MotionEmbedding:
    """picture: what the edit makes of the thumbnail's frames ``[n, h, w, 3]``; nothing without it."""
    if picture is not None and motion.thumbnail is not None:
        changes["thumbnail"] = motion.thumbnail.edited(picture)
    layers = {name: layer.map(query_key, value) for name, layer in motion.layers.items()}
    return motion.replace(layers=layers, **changes)
