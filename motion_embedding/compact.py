"""The values of an embedding in few bytes: small factors in four or eight bits a number, as close as asked."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .backbones import BACKBONES, Backbone
from .embedding import MotionEmbedding
from .low_rank import factorise, from_bytes, relative_error, to_bytes

VALUE, POSITIONS, CHANNELS, SCALES = PARTS = ("value", "positions", "channels", "scales")
_FOUR_BITS_FROM = 0.3
_ROUNDING = {4: 0.15, 8: 0.02}
"""Bits to what they cost, as an error of its own; closer than that nothing has to be kept."""

Parts = dict[str, torch.Tensor]


def error_of(family: str) -> float:
    """How far off the values of a compact file may be: what costs less than 2 % of motion fidelity, see
    ``benchmarks/RESULTS.md``, File size."""
    return next((b.bearable_error for b in BACKBONES if b.family == family), Backbone.bearable_error)


def packed(values: torch.Tensor, error: float) -> Parts:
    """``values [h, w, F, C]`` about ``error`` away, rounding included, as the parts of a file.

    Those that factors would not make smaller stay as they are.
    """
    bits = 4 if error >= _FOUR_BITS_FROM else 8
    truncation = max(error**2 - _ROUNDING[bits] ** 2, _ROUNDING[bits] ** 2) ** 0.5
    factors = factorise(values.float(), truncation)
    parts = dict(zip((POSITIONS, CHANNELS, SCALES), to_bytes(factors, bits), strict=True))
    return parts if sum(map(_bytes, parts.values())) < 2 * values.numel() else {VALUE: values}


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.itemsize


def unpacked(parts: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """``[h, w, F, C]`` of what :func:`packed` made, in float32."""
    if VALUE in parts:
        return parts[VALUE].float()
    return from_bytes(parts[POSITIONS], parts[CHANNELS], parts[SCALES]).values()


def parts_of(embedding: MotionEmbedding, error: float) -> tuple[dict[str, dict[str, Parts]], float]:
    """The parts by layer and attention, and how far their values are from what was learnt, measured on all of them.

    error: from what was learnt, as :func:`~.low_rank.relative_error` has it, for the values of every attention. Of an
        embedding that has been compact before only what is left of it is spent, so that saving again hardly costs any.
        0 leaves all values as they are.
    """
    if not error:
        whole_values = {n: {k: {VALUE: v} for k, v in layer.value.items()} for n, layer in embedding.layers.items()}
        return whole_values, embedding.values_error
    before = min(embedding.values_error, 0.99)
    left = max((error**2 - before**2) / (1 - before**2), 0.0) ** 0.5
    parts, lost, whole = {}, 0.0, 0.0
    for name, layer in embedding.layers.items():
        parts[name] = {attention: packed(value, left) for attention, value in layer.value.items()}
        for attention, value in layer.value.items():
            energy = float(value.double().square().sum())
            whole += energy
            lost += energy * relative_error(value.float(), unpacked(parts[name][attention])) ** 2
    now = lost / whole if whole else 0.0
    return parts, (embedding.values_error**2 + (1 - embedding.values_error**2) * now) ** 0.5
