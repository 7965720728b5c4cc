"""Editing a motion: pure functions from embeddings to a new one.

They work on the *trained* rows and leave the debias as it is recorded, so frame differences are taken of the edited
motion. The inverted noise goes along where every frame of the result is a frame of the original; where frames are
mixed or the motion is scaled it is dropped, because a mixture of noises is no noise and a scaled path is not the one it
remembers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.functional import affine_grid, grid_sample

from .embedding import LayerEmbedding, MotionEmbedding
from .errors import InputError
from .resample import resample_frames, resample_grid

TensorMap = Callable[[torch.Tensor], torch.Tensor]
MIRRORS = {"left-right": 1, "up-down": 0}


def retime(motion: MotionEmbedding, positions: Sequence[float]) -> MotionEmbedding:
    """The motion as it is at the given moments, in frames from 0; between frames rows are mixed linearly."""
    at = torch.tensor([float(p) for p in positions], dtype=torch.float64)
    if not len(at) or not (at.min() >= 0 and at.max() <= motion.frames - 1):
        raise ValueError(f"positions must lie between 0 and {motion.frames - 1}, got {list(positions)}")
    before = at.floor().long()
    after = at.ceil().long()
    share = (at - before)[:, None].float()

    def rows(trained: torch.Tensor) -> torch.Tensor:
        return torch.lerp(trained[..., before, :], trained[..., after, :], share.to(trained))

    noise = motion.inverted_noise
    if noise is not None:
        noise = noise[:, before] if torch.equal(before, after) else None
    return _edited(motion, rows, rows, frames=len(at), inverted_noise=noise)


def reverse(motion: MotionEmbedding) -> MotionEmbedding:
    """Backwards in time."""
    return retime(motion, range(motion.frames - 1, -1, -1))


def cut(motion: MotionEmbedding, first: int, last: int) -> MotionEmbedding:
    """Frames ``first`` to ``last``, both included, counted from 0; negative ones from the end (-1 is the last).

    Raises :class:`InputError` when fewer than two frames are left.
    """
    count = motion.frames
    begin, end = (i + count if i < 0 else i for i in (first, last))
    for name, index, given in (("first_frame", begin, first), ("last_frame", end, last)):
        if not 0 <= index < count:
            raise InputError(name, f"the motion has no frame {given}.", f"Choose from 0 to {count - 1}.")
    if end <= begin:
        raise InputError("last_frame", f"frames {begin} to {end} are fewer than two.", f"Choose a frame after {begin}.")
    return retime(motion, range(begin, end + 1))


def change_speed(motion: MotionEmbedding, factor: float) -> MotionEmbedding:
    """As many frames as before, the motion ``factor`` times as fast.

    Above 1 it is done early and then rests; below 1 only its beginning is shown. (A shorter or longer motion would
    change nothing: a motion is always stretched over the whole clip when it is applied.)
    """
    if not (math.isfinite(factor) and factor > 0):
        raise InputError("speed", f"{factor} is no speed.", "Choose a number above 0.")
    if factor == 1:
        return motion
    return retime(motion, [min(i * factor, motion.frames - 1) for i in range(motion.frames)])


def there_and_back(motion: MotionEmbedding, times: int = 1) -> MotionEmbedding:
    """Forwards, then backwards to where it began, ``times`` over: ``2·(F-1)·times + 1`` frames."""
    last = motion.frames - 1
    return retime(motion, [*([*range(last), *range(last, 0, -1)] * times), 0])


def repeat(motion: MotionEmbedding, times: int, seam: int = 0) -> MotionEmbedding:
    """From the start again, ``times`` over; each end fades linearly into the next start over ``seam`` frames.

    ``times·F - (times - 1)·seam`` frames. Raises :class:`InputError` when the seam is longer than half the motion.
    """
    if not 0 <= seam <= motion.frames // 2:
        raise InputError(
            "seam", f"{seam} frames are more than half the motion.", f"Choose at most {motion.frames // 2}."
        )
    if times == 1:
        return motion
    frames = times * motion.frames - (times - 1) * seam
    fade = torch.linspace(0, 1, seam + 2)[1:-1, None]

    def rows(trained: torch.Tensor) -> torch.Tensor:
        count = trained.shape[-2]
        head, middle, tail = trained.split([seam, count - 2 * seam, seam], -2)
        bridge = torch.lerp(tail, head, fade.to(trained))
        return torch.cat([head, *[middle, bridge] * (times - 1), middle, tail], -2)

    noise = motion.inverted_noise
    noise = None if noise is None or seam else torch.cat([noise] * times, 1)
    return _edited(motion, rows, rows, frames=frames, inverted_noise=noise)


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


def blend(first: MotionEmbedding, second: MotionEmbedding, weight: float) -> MotionEmbedding:
    """``(1 - weight)`` of the first and ``weight`` of the second, which is fitted to the first's frames and grids.

    Debias, size, frame rate and frame count are the first's. Raises :class:`InputError` when they do not fit the same
    models.
    """
    if (first.backbone, first.fingerprint) != (second.backbone, second.fingerprint):
        raise InputError(
            "second",
            f"it was learnt on other layers ({second.backbone}, {len(second.layers)} layers) than the first "
            f"({first.backbone}, {len(first.layers)} layers).",
            "Train both on the same model with the same choice of layers.",
        )

    def mixed(name: str) -> LayerEmbedding:
        one, two = first.layers[name], second.layers[name]
        query_key = torch.lerp(one.query_key, resample_frames(two.query_key, first.frames).to(one.query_key), weight)
        value = {
            attention: torch.lerp(
                grid,
                resample_frames(resample_grid(two.value[attention], *grid.shape[:2]), first.frames).to(grid),
                weight,
            )
            for attention, grid in one.value.items()
        }
        return LayerEmbedding(query_key, value)

    return first.replace(layers={name: mixed(name) for name in first.layers}, inverted_noise=None)


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _edited(
    motion: MotionEmbedding, query_key: TensorMap = _same, value: TensorMap = _same, **changes: Any
) -> MotionEmbedding:
    return motion.replace(
        layers={name: layer.map(query_key, value) for name, layer in motion.layers.items()}, **changes
    )
