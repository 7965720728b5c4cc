"""Values as the product of two small factors: ``values [h, w, F, C] = positions [h, w, F, r] x channels [r, C]``."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_STEPS = {8: (127, 1e6), 4: (7, 2.75)}
"""Bits to steps on either side of zero, and to where these end, in root mean squares: of few none may be far out."""


@dataclass(frozen=True, eq=False)
class Factors:
    """positions: ``[h, w, F, r]``. channels: ``[r, C]``."""

    positions: torch.Tensor
    channels: torch.Tensor

    @property
    def rank(self) -> int:
        return self.channels.shape[0]

    def values(self) -> torch.Tensor:
        """``[h, w, F, C]``."""
        return self.positions @ self.channels


def relative_error(values: torch.Tensor, close: torch.Tensor) -> float:
    """The root mean square of the difference, as a share of that of ``values``; 0 where both are 0."""
    return float((values - close).norm() / values.norm().clamp(min=torch.finfo(values.dtype).tiny))


def factorise(values: torch.Tensor, error: float = 0.0, rank: int | None = None) -> Factors:
    """The closest product of factors to ``values [h, w, F, C]`` that is at most ``error`` away, or of ``rank``.

    error: as :func:`relative_error` has it; 0 keeps every direction.

    The leading singular vectors, by falling strength: orthonormal rows of ``channels``, or columns of ``positions``
    where that is the smaller side. Rank is at least 1 and at most the smaller side.
    """
    matrix = values.flatten(0, 2)
    tall = matrix.shape[0] > matrix.shape[1]
    strengths, vectors = torch.linalg.eigh(matrix.T @ matrix if tall else matrix @ matrix.T)
    strengths, vectors = strengths.clamp(min=0).flip(0), vectors.flip(1)
    if rank is None:
        missing = strengths.flip(0).cumsum(0).flip(0)  # the squared error without this direction and those behind it
        rank = int((missing > error**2 * missing[0]).sum()) if error else len(strengths)
    kept = vectors[:, : max(rank, 1)]
    positions, channels = (matrix @ kept, kept.T) if tall else (kept, kept.T @ matrix)
    return Factors(positions.unflatten(0, values.shape[:3]), channels)


def to_bytes(factors: Factors, bits: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Positions and channels in few bits a number, and the scale of every direction, ``[r]``, float32.

    bits: 8, or 4, where two directions share a byte: ``[..., (r + 1) // 2]`` and ``[(r + 1) // 2, ...]``, uint8.
    """
    steps, clip = _STEPS[bits]
    positions, scale = _rounded(factors.positions.float().movedim(-1, 0), steps, clip)
    channels, other = _rounded(factors.channels.float(), steps, clip)
    if bits == 4:
        positions, channels = _paired(positions), _paired(channels)
    return positions.movedim(0, -1).contiguous(), channels, scale * other


def from_bytes(positions: torch.Tensor, channels: torch.Tensor, scales: torch.Tensor) -> Factors:
    """What :func:`to_bytes` was given, up to rounding; float32."""
    if positions.dtype == torch.uint8:
        positions, channels = _apart(positions.movedim(-1, 0)).movedim(0, -1), _apart(channels)
    rank = len(scales)
    return Factors(positions[..., :rank].float() * scales, channels[:rank].float())


def _rounded(rows: torch.Tensor, steps: int, clip: float) -> tuple[torch.Tensor, torch.Tensor]:
    """``rows [r, ...]`` in whole steps, int8, and the step of each row; what is beyond ``clip`` times a row's root mean
    square is cut to that."""
    flat = rows.flatten(1)
    reach = torch.minimum(flat.abs().amax(1), clip * flat.square().mean(1).sqrt())
    step = reach.clamp(min=torch.finfo(torch.float32).tiny) / steps
    return (flat / step[:, None]).round().clamp(-steps, steps).to(torch.int8).view_as(rows), step


def _paired(rows: torch.Tensor) -> torch.Tensor:
    """Two rows of four bits, -7 to 7, to a row of bytes; a last row without a partner gets zeros."""
    rows = (rows + 8).to(torch.uint8)
    even, odd = rows[0::2], rows[1::2]
    odd = torch.cat([odd, torch.full_like(even[: len(even) - len(odd)], 8)])
    return even | odd << 4


def _apart(rows: torch.Tensor) -> torch.Tensor:
    """The rows that :func:`_paired` was given, and zeros where there was no partner."""
    both = torch.stack([rows & 15, rows >> 4], 1).flatten(0, 1)
    return both.to(torch.int8) - 8
