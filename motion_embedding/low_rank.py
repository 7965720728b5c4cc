"""Values as the product of two small factors.

``values [h, w, F, C] = sum over r of positions[..., r] * channels[r, ...]``, in one of two splits: directions in the
channels, ``[h, w, F, r] x [r, C]``, or whole courses over the frames, ``[h, w, r] x [r, F, C]``. Which one is smaller
at the same error depends on the shape: with many positions and frames it may be the second.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

_STEPS = 127  # of eight bits with a sign


@dataclass(frozen=True, eq=False)
class Factors:
    """positions: ``[h, w, F, r]`` or ``[h, w, r]``. channels: ``[r, C]`` or ``[r, F, C]``."""

    positions: torch.Tensor
    channels: torch.Tensor

    @property
    def rank(self) -> int:
        return self.channels.shape[0]

    @property
    def numbers(self) -> int:
        return self.positions.numel() + self.channels.numel()

    def values(self) -> torch.Tensor:
        """``[h, w, F, C]``."""
        return torch.tensordot(self.positions, self.channels, 1)


def relative_error(values: torch.Tensor, close: torch.Tensor) -> float:
    """The root mean square of the difference, as a share of that of ``values``; 0 where both are 0."""
    return float((values - close).norm() / values.norm().clamp(min=torch.finfo(values.dtype).tiny))


def factorise(values: torch.Tensor, error: float = 0.0, rank: int | None = None, courses: bool = False) -> Factors:
    """The closest product of factors to ``values [h, w, F, C]`` that is at most ``error`` away, or of ``rank``.

    courses: split between positions and courses over the frames, not between positions in a frame and channels.
    error: as :func:`relative_error` has it; 0 keeps every direction.

    The leading singular vectors, by falling strength: orthonormal rows of ``channels``, or columns of ``positions``
    where that is the smaller side. Rank is at least 1 and at most the smaller side.
    """
    matrix = values.flatten(0, 1).flatten(1) if courses else values.flatten(0, 2)
    tall = matrix.shape[0] > matrix.shape[1]
    strengths, vectors = torch.linalg.eigh(matrix.T @ matrix if tall else matrix @ matrix.T)
    strengths, vectors = strengths.clamp(min=0).flip(0), vectors.flip(1)
    if rank is None:
        missing = (
            strengths.flip(0).cumsum(0).flip(0)
        )  # squared error when this direction and all behind it are left out
        rank = int((missing > error**2 * missing[0]).sum()) if error else len(strengths)
    kept = vectors[:, : max(rank, 1)]
    positions, channels = (matrix @ kept, kept.T) if tall else (kept, kept.T @ matrix)
    height, width, frames, width_of_rows = values.shape
    if courses:
        return Factors(positions.unflatten(0, (height, width)), channels.unflatten(1, (frames, width_of_rows)))
    return Factors(positions.unflatten(0, (height, width, frames)), channels)


def smallest(values: torch.Tensor, error: float) -> Factors:
    """Of both splits of ``values [h, w, F, C]`` the one with fewer numbers at most ``error`` away."""
    return min((factorise(values, error, courses=courses) for courses in (False, True)), key=lambda f: f.numbers)


def to_bytes(factors: Factors) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Positions and channels in eight bits a number, and the scale of every direction, ``[r]``, float32."""
    across = tuple(range(factors.positions.ndim - 1))
    along = tuple(range(1, factors.channels.ndim))
    largest = factors.positions.abs().amax(across), factors.channels.abs().amax(along)
    of_positions, of_channels = (m.float().clamp(min=torch.finfo(torch.float32).tiny) / _STEPS for m in largest)
    channels = factors.channels / of_channels.view(-1, *[1] * len(along))
    positions = (factors.positions / of_positions).round().to(torch.int8)
    return positions, channels.round().to(torch.int8), of_positions * of_channels


def from_bytes(positions: torch.Tensor, channels: torch.Tensor, scales: torch.Tensor) -> Factors:
    """What :func:`to_bytes` was given, up to rounding; float32."""
    return Factors(positions.float() * scales, channels.float())
