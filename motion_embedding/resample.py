"""Fitting trained rows to another number of frames or another size (design section 1)."""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate


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
