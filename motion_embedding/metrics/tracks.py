"""Point tracks: a Lucas-Kanade tracker that keeps only points it can follow there and back.

A set of tracks is a float array ``[N, F, 2]`` of (x, y) in pixels; a single path is ``[F, 2]``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np

Tracker = Callable[[np.ndarray], np.ndarray]
"""uint8 frames ``[F, H, W, 3]`` to tracks ``[N, F, 2]``, NaN where a point is not followed."""

_WORKING_SIDE = 256
_WINDOW = (21, 21)
_LEVELS = 3


def track_points(frames: np.ndarray, points: int = 64, tolerance: float = 1.0) -> np.ndarray:
    """Follow the strongest corners of the first frame through the clip.

    Pyramidal Lucas-Kanade (Bouguet 2000) with the forward-backward check of Kalal et al. 2010: a point is
    kept when tracking each step back lands within ``tolerance`` pixels of where it started. Frames whose
    shorter side is below 256 are upscaled first, since the window is 21 pixels wide; ``tolerance`` is in
    upscaled pixels.

    Args:
        frames: uint8 ``[F, H, W, 3]``.
        points: the most tracks to return; scores depend on it, so compare only equal settings.

    Returns:
        float64 ``[N, F, 2]`` in pixels of the given frames, strongest corner first, ``N <= points``
        (0 when nothing can be followed).
    """
    grey, zoom = _working_frames(frames)
    corners = cv2.goodFeaturesToTrack(grey[0], 2 * points, 0.02, 5)
    if corners is None:
        return np.zeros((0, len(frames), 2))
    positions, followed = [corners], np.ones(len(corners), bool)
    for now, after in pairwise(grey):
        moved, found = _flow(now, after, positions[-1])
        back, found_back = _flow(after, now, moved)
        error = np.linalg.norm(back - positions[-1], axis=-1)[:, 0]
        inside = (moved[:, 0] >= 0).all(1) & (moved[:, 0] <= (now.shape[1] - 1, now.shape[0] - 1)).all(1)
        followed &= found & found_back & inside & (error < tolerance)
        positions.append(moved)
    tracks = np.concatenate(positions, axis=1)[followed][:points].astype(np.float64)
    return (tracks + 0.5) / zoom - 0.5


def resample_paths(paths: np.ndarray, frames: int) -> np.ndarray:
    """Paths ``[..., F, 2]`` at ``frames`` instants evenly spread from the first to the last, linearly."""
    length = paths.shape[-2]
    if length == frames:
        return paths
    where = np.linspace(0, length - 1, frames)
    low = np.minimum(where.astype(int), max(length - 2, 0))
    high, part = np.minimum(low + 1, length - 1), (where - low)[:, None]
    return paths[..., low, :] * (1 - part) + paths[..., high, :] * part


def fill_gaps(path: np.ndarray) -> np.ndarray:
    """A path ``[F, 2]`` whose missing (NaN) frames are interpolated; the ends repeat the nearest known frame.

    Raises:
        ValueError: when no frame is known.
    """
    known = np.isfinite(path).all(-1)
    if not known.any():
        raise ValueError("the path has no known frame")
    instants = np.arange(len(path))
    return np.stack([np.interp(instants, instants[known], path[known, axis]) for axis in (0, 1)], -1)


def _working_frames(frames: np.ndarray) -> tuple[list[np.ndarray], float]:
    """Grey frames large enough for the tracker's window, and the factor they were enlarged by."""
    zoom = max(1.0, _WORKING_SIDE / min(frames.shape[1:3]))
    grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in frames]
    if zoom > 1:
        grey = [cv2.resize(g, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC) for g in grey]
    return grey, zoom


def _flow(now: np.ndarray, after: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where points ``[N, 1, 2]`` of one frame are in another, and which were found ``[N]``."""
    moved, found, _ = cv2.calcOpticalFlowPyrLK(now, after, points, None, winSize=_WINDOW, maxLevel=_LEVELS)
    return moved, found[:, 0] == 1
