"""An embedding in use: fitted to the clip, debiased, scaled, and placed on the right part of the batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .backbones import Call, TemporalAttention
from .backbones.base import POSITIVE
from .debias import DIFFERENCES, QUERY_KEY_STRATEGIES, VALUE_STRATEGIES
from .embedding import MotionEmbedding
from .install import Projection
from .resample import resample_frames, resample_grid, rescale_factor


def query_key_rows(
    embedding: MotionEmbedding, layer: str, frames: int, device: torch.device | None = None
) -> torch.Tensor:
    """``[frames, C]``: resampled in time, then debiased; on ``device``, else where they lie."""
    rows = resample_frames(embedding.layers[layer].query_key.to(device).float(), frames)
    return QUERY_KEY_STRATEGIES[embedding.debias.query_key](rows)


def value_rows(
    embedding: MotionEmbedding,
    layer: str,
    attention: str,
    frames: int,
    height: int,
    width: int,
    device: torch.device | None = None,
) -> torch.Tensor | None:
    """``[h, w, frames, C]``: resampled in space and time, then debiased; on ``device``, else where they lie.

    None where nothing was trained.
    """
    trained = embedding.layers[layer].value.get(attention)
    if trained is None or embedding.debias.value == "camera":
        return None
    rows = resample_frames(resample_grid(trained.to(device).float(), height, width), frames)
    rows = VALUE_STRATEGIES[embedding.debias.value](rows)
    if embedding.debias.value in DIFFERENCES:
        rows[..., 1:, :] *= rescale_factor(embedding.frames, frames, embedding.debias.rescale)
    return rows


@dataclass(frozen=True, eq=False)
class Applied:
    """A :class:`~motion_embedding.install.Source`: one embedding at given strengths.

    strength_query_key, strength_value: factors; 1 as trained, 0 off, negative reverses the push.
    positive_only: leave the negative half of classifier-free guidance alone (the paper pushes both).
    whole: stretch the motion over the whole clip where context windows cut it up; else every window has all of it.
    """

    embedding: MotionEmbedding
    strength_query_key: float = 1.0
    strength_value: float = 1.0
    positive_only: bool = False
    whole: bool = True

    settled = True

    def addition(
        self,
        site: TemporalAttention,
        projection: Projection,
        grid: tuple[int, int],
        call: Call,
        device: torch.device | None = None,
    ) -> torch.Tensor | None:
        if site.layer not in self.embedding.layers:
            return None
        frames = call.length if self.whole else call.frames
        if projection == "query_key":
            strength = self.strength_query_key
            rows = query_key_rows(self.embedding, site.layer, frames, device)[None]
        else:
            strength = self.strength_value
            rows = value_rows(self.embedding, site.layer, site.name, frames, *grid, device)
            rows = None if rows is None else rows.flatten(0, 1)
        if rows is None or strength == 0:
            return None
        rows = rows[None] if strength == 1 else strength * rows[None]
        if self.positive_only and any(g != POSITIVE for g in call.groups):
            pushed = torch.tensor([g == POSITIVE for g in call.groups], dtype=rows.dtype, device=rows.device)
            rows = pushed.view(-1, 1, 1, 1) * rows
        return rows
