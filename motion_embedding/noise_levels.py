"""Which noise levels the training visits."""

from __future__ import annotations

GOLDEN = 0.6180339887498949


def spread(step: int, offset: float, low: float, high: float) -> float:
    """A point of (low, high): the golden-ratio sequence, which covers the range evenly at every length.

    Even cover matters because the loss differs a hundredfold between levels; independent draws would make
    short trainings a matter of luck. offset in 0..1 comes from the seed.
    """
    return low + (high - low) * ((offset + (step + 0.5) * GOLDEN) % 1.0)
