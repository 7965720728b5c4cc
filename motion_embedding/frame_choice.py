"""Which frames of a clip stand for it where others are wanted than there are."""

from __future__ import annotations

import numpy as np


def nearest_frames(length: int, count: int) -> np.ndarray:
    """Which of a clip's ``length`` frames ``[count]`` are nearest to ``count`` instants from its first to its last."""
    return np.linspace(0, length - 1, count).round().astype(int)
