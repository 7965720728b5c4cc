"""Latents as small pictures, without a decoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

_DARKEST, _BRIGHTEST = 0.02, 0.98  # quantiles that become black and white where a format has no colours
_SAMPLED = 20_000  # positions that decide about colours; more change nothing that is seen


def latent_frames(latents: torch.Tensor, latent_format: Any = None, like: torch.Tensor | None = None) -> np.ndarray:
    """The frames of the first clip of ``latents [B, C, F, h, w]``, one pixel per position: uint8 ``[F, h, w, 3]``.

    latents: as the model sees them, so after the format's ``process_in``.
    latent_format: the host's of that model. Its colour factors are used; where it has none for so many channels, the
        three directions in which the latents vary most become colours: shapes and motion show, true colours do not.
    like: ``[B, C, F, h, w]``, the clip whose directions those are, so that the pictures of several latents compare.
        The latents themselves without it.
    """
    video = latents[0].detach().float().nan_to_num(0, 0, 0)
    reshape = getattr(latent_format, "latent_rgb_factors_reshape", None)
    folded = video if reshape is None else reshape(video.movedim(1, 0)).movedim(0, 1)
    factors = getattr(latent_format, "latent_rgb_factors", None)
    if factors is not None and len(factors) == len(folded):
        bias = getattr(latent_format, "latent_rgb_factors_bias", None)
        colours = folded.movedim(0, -1) @ folded.new_tensor(factors)
        shown = (colours + (0 if bias is None else folded.new_tensor(bias)) + 1) / 2
    else:
        shown = _own_colours(video, video if like is None else like[0].detach().float().nan_to_num(0, 0, 0).to(video))
    return (shown.clamp(0, 1) * 255).round().byte().cpu().numpy()


def _own_colours(video: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """``video [C, F, h, w]`` along the main directions of ``like [C, F, h, w]``: ``[F, h, w, 3]``, mostly 0 to 1."""
    rows = like.flatten(1).T
    rows = rows[:: max(1, len(rows) // _SAMPLED)].double()
    centre = rows.mean(0)
    _, axes = torch.linalg.eigh((rows - centre).T @ (rows - centre))
    axes = axes.flip(1)[:, :3]  # the widest first
    axes = axes * torch.where(axes.sum(0) < 0, -1, 1)  # an axis has no sign of its own
    axes = torch.nn.functional.pad(axes, (0, 3 - axes.shape[1]))
    along = (rows - centre) @ axes
    # One scale for all three, or noise in the third direction would be as bright as the picture.
    low, high = (along.quantile(q, dim=0) for q in (_DARKEST, _BRIGHTEST))
    span = (high - low).max().clamp(min=1e-6)
    colours = (video.flatten(1).T.double() - centre) @ axes
    return ((colours - (low + high) / 2) / span + 0.5).float().unflatten(0, video.shape[1:])
