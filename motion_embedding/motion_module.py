"""AnimateDiff's motion modules: temporal transformers that sit between the blocks of an image UNet (design section 4).

The parameters are named as in the published files of version 2 and 3, so a file's state dict loads as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

POSITIONS = 32  # frames that the published positional encodings hold
HEADS = 8
_ATTENTIONS = 2  # self-attentions a block
_LARGEST_BATCH = 2**15  # CUDA's attention kernels cannot be launched for more than 65535


class PositionalEncoding(nn.Module):
    """Sines and cosines over the frames, as in "Attention is all you need"; a buffer, since the files hold it."""

    def __init__(self, width: int, positions: int, **factory: Any) -> None:
        super().__init__()
        angles = torch.arange(positions)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(1e4) / width))
        encoding = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]
        self.register_buffer("pe", encoding[None].to(**factory))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x [N, F, C]`` with the position of each frame added."""
        return x + self.pe[:, : x.shape[1]].to(x)


class TemporalAttention(nn.Module):
    """Self-attention over the frames, ``[N, F, C]`` to ``[N, F, C]``."""

    attention_mode = "Temporal"

    def __init__(self, width: int, positions: int, heads: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.heads = heads
        self.pos_encoder = PositionalEncoding(width, positions, **factory)
        self.to_q = operations.Linear(width, width, bias=False, **factory)
        self.to_k = operations.Linear(width, width, bias=False, **factory)
        self.to_v = operations.Linear(width, width, bias=False, **factory)
        self.to_out = nn.Sequential(operations.Linear(width, width, **factory))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pos_encoder(x)
        qkv = (rearrange(p(x), "n f (a c) -> n a f c", a=self.heads) for p in (self.to_q, self.to_k, self.to_v))
        split = zip(*(part.split(_LARGEST_BATCH) for part in qkv), strict=True)
        pieces = [F.scaled_dot_product_attention(*piece) for piece in split]
        mixed = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        return self.to_out(rearrange(mixed, "n a f c -> n f (a c)"))


class Gated(nn.Module):
    """GEGLU: one half of a projection times the GELU of the other."""

    def __init__(self, width: int, inner: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.proj = operations.Linear(width, 2 * inner, **factory)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        last = operations.Linear(4 * width, width, **factory)
        # The published numbering counts a dropout between the two, which does nothing in use.
        self.net = nn.Sequential(Gated(width, 4 * width, operations, **factory), nn.Identity(), last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


class TemporalBlock(nn.Module):
    """Self-attentions over the frames and a feed-forward, each on the normalised and added to what came in."""

    def __init__(self, width: int, positions: int, heads: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(
            TemporalAttention(width, positions, heads, operations, **factory) for _ in range(_ATTENTIONS)
        )
        self.norms = nn.ModuleList(operations.LayerNorm(width, **factory) for _ in range(_ATTENTIONS))
        self.ff = FeedForward(width, operations, **factory)
        self.ff_norm = operations.LayerNorm(width, **factory)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            x = attention(norm(x)) + x
        return self.ff(self.ff_norm(x)) + x


class TemporalTransformer(nn.Module):
    """What one motion module adds to the pictures it is given."""

    def __init__(self, width: int, positions: int, heads: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.norm = operations.GroupNorm(32, width, eps=1e-6, **factory)
        self.proj_in = operations.Linear(width, width, **factory)
        self.transformer_blocks = nn.ModuleList([TemporalBlock(width, positions, heads, operations, **factory)])
        self.proj_out = operations.Linear(width, width, **factory)
        # A motion module that has learnt nothing changes nothing.
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, x: torch.Tensor, frames: int) -> torch.Tensor:
        """``[(B F), C, h, w]``, the frames of one clip after another, to the same shape."""
        height, width = x.shape[-2:]
        tokens = self.proj_in(rearrange(self.norm(x), "(b f) c h w -> (b h w) f c", f=frames))
        for block in self.transformer_blocks:
            tokens = block(tokens)
        return rearrange(self.proj_out(tokens), "(b h w) f c -> (b f) c h w", h=height, w=width)


class MotionModule(nn.Module):
    """One place's temporal transformer with its residual."""

    def __init__(self, width: int, positions: int, heads: int, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.width = width
        self.temporal_transformer = TemporalTransformer(width, positions, heads, operations, **factory)

    def forward(self, x: torch.Tensor, frames: int, strength: float = 1.0) -> torch.Tensor:
        """``x [(B F), C, h, w]`` plus ``strength`` times what the transformer makes of it."""
        added = self.temporal_transformer(x, frames)
        return x + (added if strength == 1 else strength * added)


class Level(nn.Module):
    """The motion modules of one level of the UNet, on its way down, up, or in its middle."""

    def __init__(self, count: int, *args: Any, **factory: Any) -> None:
        super().__init__()
        self.motion_modules = nn.ModuleList(MotionModule(*args, **factory) for _ in range(count))


class MotionModel(nn.Module):
    """All motion modules of one UNet. Runs beside it, through ``motion_module_install.attached``.

    widths_down, widths_up: channels of the UNet's levels in order of use.
    blocks_down, blocks_up: motion modules a level.
    mid: whether there is one in the middle, as wide as the deepest level (version 2 of the published files).
    positions: the most frames it can take at once.
    operations: where layers come from, such as ``comfy.ops.manual_cast``.
    """

    def __init__(
        self,
        widths_down: Sequence[int],
        widths_up: Sequence[int],
        blocks_down: int = 2,
        blocks_up: int = 3,
        mid: bool = False,
        positions: int = POSITIONS,
        heads: int = HEADS,
        operations: Any = nn,
        **factory: Any,
    ) -> None:
        super().__init__()
        self.positions = positions
        shared = (positions, heads, operations)
        self.down_blocks = nn.ModuleList(Level(blocks_down, w, *shared, **factory) for w in widths_down)
        self.up_blocks = nn.ModuleList(Level(blocks_up, w, *shared, **factory) for w in widths_up)
        self.mid_block = Level(1, widths_down[-1], *shared, **factory) if mid else None

    @classmethod
    def from_state_dict(
        cls, state_dict: Mapping[str, torch.Tensor], heads: int = HEADS, operations: Any = nn, **factory: Any
    ) -> MotionModel:
        """The model that ``state_dict`` is of: widths, placement and positions are read from it.

        factory: dtype (that of the file unless given) and device.
        Raises ValueError when it has no motion modules, RuntimeError when keys or shapes do not fit together.
        """
        factory = {"dtype": next((t.dtype for t in state_dict.values() if t.is_floating_point()), None), **factory}
        encodings = {k: v for k, v in state_dict.items() if k.endswith("attention_blocks.0.pos_encoder.pe")}
        down, up = (_levels(encodings, side) for side in ("down_blocks", "up_blocks"))
        if not down or not up:
            raise ValueError("no motion modules for a UNet's way down and up in this state dict")
        model = cls(
            [widths[0] for widths in down],
            [widths[0] for widths in up],
            len(down[0]),
            len(up[0]),
            mid=any(k.startswith("mid_block.") for k in encodings),
            positions=next(iter(encodings.values())).shape[1],
            heads=heads,
            operations=operations,
            **factory,
        )
        model.load_state_dict(state_dict)
        return model

    def modules_down(self) -> Iterator[MotionModule]:
        """In order of use; likewise the others."""
        return (module for level in self.down_blocks for module in level.motion_modules)

    def modules_mid(self) -> Iterator[MotionModule]:
        return iter(() if self.mid_block is None else self.mid_block.motion_modules)

    def modules_up(self) -> Iterator[MotionModule]:
        return (module for level in self.up_blocks for module in level.motion_modules)


def _levels(encodings: Mapping[str, torch.Tensor], side: str) -> list[list[int]]:
    """The widths of the motion modules of each level of one side."""
    found: dict[int, dict[int, int]] = {}
    for key, encoding in encodings.items():
        if match := re.match(rf"{side}\.(\d+)\.motion_modules\.(\d+)\.", key):
            found.setdefault(int(match[1]), {})[int(match[2])] = encoding.shape[-1]
    return [list(found[level].values()) for level in sorted(found)]
