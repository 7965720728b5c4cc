"""What the video transformers have in common: each self-attention sees all tokens of the clip, ``[B, F h w, C]``.

The paper has none of them. Its form carries over frame by frame: the query-key row of a frame goes to every token of
that frame, and values lie on a grid of at most :data:`LONGEST` positions a side, brought to the tokens' own grid where
they are used, since one row per token would outweigh the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import nn
from torch.nn.functional import interpolate

from .base import Backbone, Call, TemporalAttention, video_call

LONGEST = 16


def capped(grid: tuple[int, int], longest: int = LONGEST) -> tuple[int, int]:
    """``grid`` in its proportions, at most ``longest`` on the longer side."""
    scale = min(1.0, longest / max(grid))
    return tuple(max(1, round(n * scale)) for n in grid)


def frame_major(addition: torch.Tensor, own: tuple[int, int], grid: tuple[int, int]) -> torch.Tensor:
    """Rows ``[G, F h w, C]`` on ``grid`` of ``addition [G, P, F, C]`` on the grid ``own``, or one for all positions."""
    groups, positions, frames, _ = addition.shape
    if positions == 1:
        spread = addition.transpose(1, 2).expand(-1, -1, grid[0] * grid[1], -1)
        return spread.flatten(1, 2)
    if own == grid:
        return rearrange(addition, "g p f c -> g (f p) c")
    planes = rearrange(addition, "g (h w) f c -> (g f) c h w", h=own[0]).contiguous(memory_format=torch.channels_last)
    planes = interpolate(planes, size=grid, mode="bilinear", align_corners=False)
    return rearrange(planes, "(g f) c h w -> g (f h w) c", g=groups, f=frames)


def inner(attentions: Sequence[TemporalAttention]) -> list[TemporalAttention]:
    """The middle half: as much motion as all of them on the tiny Wan, for half the values (``transformer_form``)."""
    count = len(attentions)
    return list(attentions[count // 4 : count - count // 4])


class JointTokens(Backbone):
    """Families whose latents are ``[B, C, F, h, w]`` and whose tokens are ``[B, (leading) F h w (trailing), C]``.

    patch: height and width of the latent's part that one token stands for.
    longest: positions of the longer side of the grid that values lie on.
    """

    patch: tuple[int, int]
    longest = LONGEST
    presets = {
        "paper": inner,
        "paper + next level": inner,
        "paper + next level + mid": inner,
        "recommended": inner,
        "all": list,
    }

    def call(
        self, x: torch.Tensor, groups: Sequence[int], name: str = "latent_image", frames: int | None = None
    ) -> Call:
        return video_call(x, groups, name)

    def tokens(self, call: Call) -> tuple[int, int]:
        """Rows and columns of a frame's tokens; what the patches do not divide is padded."""
        return -(-call.height // self.patch[0]), -(-call.width // self.patch[1])

    def grid_of(self, call: Call) -> tuple[int, int]:
        """Of the values."""
        return capped(self.tokens(call), self.longest)

    def grid(self, x: torch.Tensor, call: Call) -> tuple[int, int]:
        return self.grid_of(call)

    def add(self, x: torch.Tensor, addition: torch.Tensor, call: Call) -> torch.Tensor:
        own, grid = self.grid_of(call), self.tokens(call)
        groups, positions, frames, _ = addition.shape
        if x.shape[1] == frames * grid[0] * grid[1] and (positions == 1 or own == grid):
            # Spread as it is added: copied to all tokens first, a row per frame would be moved as often as they are.
            tokens = x.unflatten(1, (frames, -1)).unflatten(0, (groups, -1))
            return (tokens + addition.transpose(1, 2)[:, None]).view_as(x)
        rows = frame_major(addition, own, grid)
        own = slice(call.leading, call.leading + rows.shape[1])
        if rows.shape[1] == x.shape[1]:
            return (x.unflatten(0, (len(rows), -1)) + rows[:, None]).flatten(0, 1)
        out = x.clone()
        out.unflatten(0, (len(rows), -1))[:, :, own] += rows[:, None]
        return out


def fused(layer: str, module: nn.Module) -> TemporalAttention:
    """An attention whose query, key and value, in this order, are the first that one module gives, each as wide as
    what it is given."""
    width = module.in_features
    parts = slice(0, 2 * width), slice(2 * width, 3 * width)
    return TemporalAttention(layer, "attn", module, module, module, parts=parts)
