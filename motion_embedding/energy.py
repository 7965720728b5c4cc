"""How much of a motion lies in which layer and frame."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import numpy as np
import torch

from .debias import QUERY_KEY_STRATEGIES, VALUE_STRATEGIES, difference_without_first
from .embedding import MotionEmbedding

Rows = Callable[[torch.Tensor], torch.Tensor]
QUERY_KEY, VALUE = PARTS = ("query-key", "values")
CHANGE = "change from the frame before"
ABSENT = -1.0
"""Where there is nothing to have energy: values a layer has not learnt, the frame before the first."""


def energies(motion: MotionEmbedding, part: str, rows: Rows) -> np.ndarray:
    """Root mean square ``[L, F]`` of what ``rows`` makes of a part's rows ``[..., F, C]``, per layer and frame.

    A layer's values are those of all its attentions together; :data:`ABSENT` where it has none.
    """
    return np.stack([_of_layer(layer, part, rows, motion.frames) for layer in motion.layers.values()])


def _of_layer(layer, part: str, rows: Rows, frames: int) -> np.ndarray:
    squares, count = torch.zeros(frames, dtype=torch.float64), 0
    for tensor in [layer.query_key] if part == QUERY_KEY else layer.value.values():
        found = rows(tensor.detach().float())
        others = [axis for axis in range(found.ndim) if axis != found.ndim - 2]
        squares += torch.linalg.vector_norm(found, dim=others).cpu().double().square()
        count += found.numel() // frames
    return (squares / count).sqrt().numpy() if count else np.full(frames, ABSENT)


def views(motion: MotionEmbedding, part: str) -> dict[str, np.ndarray]:
    """A part's energies ``[L, F]`` by what they are of: the rows as learnt, and as they are used.

    Rows that are used as learnt are shown by their change from the frame before instead.
    """
    strategy = motion.debias.query_key if part == QUERY_KEY else motion.debias.value
    strategies = QUERY_KEY_STRATEGIES if part == QUERY_KEY else VALUE_STRATEGIES
    plain = strategy == "plain"
    name = CHANGE if plain else f"as used: {strategy.replace('_', ' ')}"
    second = energies(motion, part, difference_without_first if plain else strategies[strategy])
    if plain:
        second[:, 0] = ABSENT
    return {"as learnt": energies(motion, part, lambda t: t), name: second}


def short_names(names: Iterable[str]) -> list[str]:
    """Layer names without what all have in common: ``down_blocks.1.temp_attentions.0...`` becomes ``down.1.0``.

    Never ambiguous: where two would look the same, all stay as they are.
    """
    names = list(names)
    pieces = [re.findall(r"[^.]+(?:\.\d+)*", name) for name in names]  # a word with the numbers behind it
    shared = set.intersection(*map(set, pieces)) if len(names) > 1 else set()
    words = [{piece.split(".")[0] for piece in each} for each in pieces]
    shared_words = set.intersection(*words) if len(names) > 1 else set()
    short = []
    for each in pieces:
        kept = [piece for piece in each if piece not in shared]
        kept = [piece.partition(".")[2] if piece.split(".")[0] in shared_words else piece for piece in kept]
        short.append(re.sub(r"_(block|attention)s?\b", "", ".".join(piece for piece in kept if piece)))
    return short if all(short) and len(set(short)) == len(short) else names
