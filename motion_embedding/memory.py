"""How much memory a training needs, for the person to know before it starts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from .backbones import Backbone, Call, TemporalAttention
from .backbones.joint import JointTokens
from .checkpointing import Checkpoints
from .learnt_factors import rank_of
from .spatial import DEGREES, polynomial_basis

_BYTES_PER_VALUE = 16  # itself, its gradient and two moments of AdamW, in float32
_PEAK = 32  # as large as its input: what a transformer's block keeps (11 to 22 in memory_on_paper), and gradients
_USABLE = 0.9  # of the free memory; the rest is for what is made and dropped on the way


def of_values(values: int) -> int:
    """Bytes that so many trained values take while they are learnt."""
    return _BYTES_PER_VALUE * values


def learnt_values(value_form: str, grid: tuple[int, int], frames: int, width: int) -> int:
    """How many numbers are learnt for the values ``[h, w, F, C]`` of one attention, as ``TrainableMotion`` does."""
    height, columns = grid
    rows = height * columns * frames
    if rank := rank_of(value_form):
        return min(rank, rows, width) * (rows + width)
    if value_form in DEGREES:
        return polynomial_basis(height, columns, DEGREES[value_form]).shape[1] * frames * width
    return rows * width


def usable(free: int) -> int:
    """Bytes to plan with where ``free`` are free."""
    return int(_USABLE * free)


def to_have(size: int) -> int:
    """Bytes that have to be free for ``size`` of them to be planned with."""
    return math.ceil(size / _USABLE)


def learning(blocks: Sequence[nn.Module], chosen: Sequence[TemporalAttention]) -> list[nn.Module]:
    """From the first of ``blocks`` that learns on; ``backward`` never comes to those before it."""
    queries = {attention.query for attention in chosen}
    first = next((i for i, block in enumerate(blocks) if queries & set(block.modules())), 0)
    return list(blocks[first:])


def expected(
    backbone: Backbone,
    call: Call,
    chosen: Sequence[TemporalAttention],
    blocks: int,
    itemsize: int,
    value_form: str = "full",
) -> int | None:
    """Bytes to have ready before the model is loaded; None where only a run of the model can tell.

    blocks: how many are in the graph. What they need to run again, what one of them keeps, and the motion.
    value_form: as ``TrainableMotion`` takes it; what is learnt is counted, not the values that follow from it.
    """
    if not isinstance(backbone, JointTokens) or not chosen:
        return None
    rows, columns = backbone.tokens(call)
    hidden = call.frames * rows * columns * chosen[0].width * itemsize
    grid = backbone.grid_of(call)
    learnt = sum(learnt_values(value_form, grid, call.frames, a.width) + call.frames * a.width for a in chosen)
    return hidden * (blocks + _PEAK) + of_values(learnt)


def needs(own: int, kept: int, checkpoints: Checkpoints, free: int) -> str:
    """In words: ``own`` bytes for the motion, ``kept`` for ``backward``, and ``free`` there are."""
    return (
        f"Training needs about {_gigabytes(own + kept)} beside the model: {_gigabytes(own)} for the motion, "
        f"{_gigabytes(kept)} for what backward needs ({len(checkpoints.again)} of {len(checkpoints.blocks)} blocks run "
        f"again). {_gigabytes(free)} are free."
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size < 1e10 else f"{size / 1e9:.0f} GB"
