"""Pictures of numbers, for nodes that show them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

_INK, _PALE, _GRID, _PAPER = (226, 122, 63), (196, 206, 222), (232, 234, 238), (255, 255, 255)
_TEXT = (70, 76, 86)


def smooth(values: Sequence[float], window: int) -> np.ndarray:
    """Centred running mean, ``[N]``, shorter at both ends."""
    padded = np.cumsum([0.0, *values])
    index = np.arange(len(values))
    low, high = np.maximum(index - window // 2, 0), np.minimum(index + window // 2 + 1, len(values))
    return (padded[high] - padded[low]) / (high - low)


def loss_curve(losses: Sequence[float], steps: int, width: int = 640, height: int = 360) -> np.ndarray:
    """Loss against step as a picture, uint8 ``[height, width, 3]``: each step pale, the running mean in colour."""
    picture = np.full((height, width, 3), _PAPER, np.uint8)
    left, right, top, bottom = 64, width - 16, 34, height - 34
    finite = [v for v in losses if np.isfinite(v)] or [0.0]
    low, high = min(finite), max(finite)
    high = high if high > low else low + max(abs(low), 1e-6)

    def points(values: np.ndarray) -> np.ndarray:
        x = left + (right - left) * (np.arange(len(values)) + 1) / max(steps, 1)
        y = bottom - (bottom - top) * (np.clip(values, low, high) - low) / (high - low)
        return np.round(np.stack([x, y], 1)).astype(np.int32)

    for part in np.linspace(0, 1, 5):
        y = int(bottom - part * (bottom - top))
        cv2.line(picture, (left, y), (right, y), _GRID, 1)
        _write(picture, f"{low + part * (high - low):.3g}", (6, y + 4))
    values = np.nan_to_num(np.array(losses, float), nan=high)
    if len(values) > 1:
        cv2.polylines(picture, [points(values)], False, _PALE, 1, cv2.LINE_AA)
        cv2.polylines(picture, [points(smooth(values, max(len(values) // 12, 5)))], False, _INK, 2, cv2.LINE_AA)
    title = f"step {len(values)} of {steps}"
    if len(values):
        title += f"   loss {np.mean(values[-max(len(values) // 12, 5) :]):.4g}"
    _write(picture, title, (left, 22), 0.5)
    _write(picture, "0", (left - 4, height - 12))
    _write(picture, str(steps), (right - 8 * len(str(steps)), height - 12))
    return picture


def _write(picture: np.ndarray, text: str, at: tuple[int, int], size: float = 0.4) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, _TEXT, 1, cv2.LINE_AA)
