"""Which noise levels the training visits."""

from __future__ import annotations

GOLDEN = 0.6180339887498949


def spread(step: int, offset: float, low: float, high: float, focus: float = 1.0) -> float:
    """A percent in (low, high): the golden-ratio sequence, which covers the range evenly at every length.

    Even cover matters because the loss differs a hundredfold between levels; independent draws would make
    short trainings a matter of luck. offset in 0..1 comes from the seed. focus above 1 crowds the percents towards
    ``low``, the noisy end, where motion is decided: of the places below p in 0..1 there are then p ** (1 / focus).
    """
    return low + (high - low) * ((offset + (step + 0.5) * GOLDEN) % 1.0) ** focus
