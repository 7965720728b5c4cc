"""Fitting trained rows to another number of frames or another size (design section 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import interpolate

RESCALES = ("off", "total", "pace")


def resample_frames(rows: torch.Tensor, frames: int) -> torch.Tensor:
    """Rows ``[..., F, C]`` to ``[..., frames, C]``, linear in time with half-pixel centres."""
    if rows.shape[-2] == frames:
        return rows
    flat = rows.flatten(0, -3) if rows.ndim > 2 else rows[None]
    out = interpolate(flat.mT, size=frames, mode="linear", align_corners=False).mT
    return out.reshape(*rows.shape[:-2], frames, rows.shape[-1])


def resample_grid(values: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Values ``[h, w, F, C]`` to ``[height, width, F, C]``, bilinear with half-pixel centres."""
    if values.shape[:2] == (height, width):
        return values
    planes = values.permute(2, 3, 0, 1)
    return interpolate(planes, size=(height, width), mode="bilinear", align_corners=False).permute(2, 3, 0, 1)


def rescale_factor(trained: int, frames: int, rescale: str) -> float:
    """What to multiply frame differences by, taken after resampling ``trained`` rows to ``frames``.

    off: 1. The differences telescope, so more frames mean as many times smaller ones.
    total: so that they add up to the trained ``last - first``. Half-pixel centres reach both ends when frames are
        added and stop short of them when frames are dropped: 8 rows to 6 span 6 2/3 of the 7 steps. Measured in time
        and not per channel, where the sum may well be 0.
    pace: so that a difference within the clip is as large as it was trained.
    """
    if rescale not in RESCALES:
        raise ValueError(f"unknown rescale {rescale!r}, expected one of {RESCALES}")
    if rescale == "off" or frames < 2 or trained < 2:
        return 1.0
    if rescale == "pace":
        return frames / trained
    cut_off = max(0.5 * trained / frames - 0.5, 0.0)
    return (trained - 1) / (trained - 1 - 2 * cut_off)


def whole_grid(grid: tuple[int, int], size: tuple[int, int], picture: tuple[int, int]) -> tuple[int, int]:
    """The grid of the whole picture, where an area of it, ``size`` of ``picture`` in latent units, has ``grid``."""
    return tuple(max(g, round(p * g / s)) for g, s, p in zip(grid, size, picture, strict=True))


def crop_grid(
    rows: torch.Tensor,
    whole: tuple[int, int],
    grid: tuple[int, int],
    size: tuple[int, int],
    corners: Sequence[tuple[int, int]],
) -> torch.Tensor:
    """From rows ``[G, P, F, C]`` on the grid ``whole``, those of the area at each of ``corners``: ``[N, p, F, C]``.

    corners: (y, x) of the areas in latent units, in which they are ``size`` and on the grid ``grid``.
    """
    pictures, parts = rows.unflatten(1, whole).expand(len(corners), *[-1] * 4), []
    for picture, corner in zip(pictures, corners, strict=True):
        y, x = (min(round(c * g / s), w - g) for c, g, s, w in zip(corner, grid, size, whole, strict=True))
        parts.append(picture[y : y + grid[0], x : x + grid[1]].flatten(0, 1))
    return torch.stack(parts)
