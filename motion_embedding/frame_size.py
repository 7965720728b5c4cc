"""Which frame size explains how many positions the layers of a text-to-video UNet have.

Sizes are (height, width) of a latent unless said to be in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import log

from .backbones.base import level_grid
from .backbones.unet3d import level_of

PIXELS = 8  # of a frame in one position of a latent
_LEVELS = (4, 3, 2, 1, 5, 6)  # a UNet may have; ModelScope's 4 first
_LONGEST = 2048 // PIXELS
_WIDESCREEN = 16 / 9
_EVEN = 4

Size = tuple[int, int]


def grids_of(layers: Mapping[str, int], size: Size) -> dict[str, Size] | None:
    """The grid of every layer at ``size``; None unless each has as many positions as ``layers`` says."""
    return _grids(layers, size, _depths(layers))


def fitting_sizes(layers: Mapping[str, int], like: Size | None = None, count: int = 6) -> list[Size]:
    """Up to ``count`` sizes that explain ``layers``, those shaped most as ``like`` first.

    Where some of them are halved without rounding, as most clips are, only those.
    """
    shape, depths = log(like[1] / like[0] if like else _WIDESCREEN), _depths(layers)
    for step in (_EVEN, 1):
        fitting = [size for size in _sizes(max(layers.values()), step) if _grids(layers, size, depths)]
        if fitting:
            return sorted(fitting, key=lambda size: (abs(log(size[1] / size[0]) - shape), size))[:count]
    return []


def _depths(layers: Mapping[str, int]) -> list[dict[str, int]]:
    """How many halvings lie above each layer, for every number of levels that has a place for all of them."""
    every = [{layer: level_of(layer, levels) for layer in layers} for levels in _LEVELS]
    return [
        depths
        for depths, levels in zip(every, _LEVELS, strict=True)
        if all(0 <= depth < levels for depth in depths.values())
    ]


def _grids(layers: Mapping[str, int], size: Size, possible: Sequence[Mapping[str, int]]) -> dict[str, Size] | None:
    for depths in possible:
        grids = {}
        for layer, positions in layers.items():
            height, width = grids[layer] = level_grid(*size, depths[layer])
            if height * width != positions:
                break
        else:
            return grids
    return None


def pixels(size: Sequence[int]) -> str:
    """``width x height`` in pixels, as people write it."""
    return f"{size[1] * PIXELS}x{size[0] * PIXELS}"


def _sizes(positions: int, step: int) -> Iterator[Size]:
    """Sizes in steps, of at least ``positions``, at most three times as wide as high or as high as wide."""
    for height in range(step, _LONGEST + 1, step):
        for width in range(step, _LONGEST + 1, step):
            if height * width >= positions and width <= 3 * height and height <= 3 * width:
                yield height, width
