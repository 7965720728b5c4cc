"""Two clips side by side with their tracks drawn in: what a motion score has seen."""

from __future__ import annotations

import colorsys
from itertools import pairwise

import cv2
import numpy as np

from .tracks import resample_paths

_SIDE, _GAP, _TITLE = 320, 8, 28
_PAPER, _INK, _RESTING = (20, 22, 26), (225, 228, 232), (190, 190, 190)
_STILL = 0.002
_TRACKS = 64


def side_by_side(
    reference: np.ndarray, result: np.ndarray, reference_tracks: np.ndarray, result_tracks: np.ndarray
) -> np.ndarray:
    """Reference and result, frame by frame, every point with the trail of where it has been.

    A piece of trail has the colour of its direction, the same in both clips: right red, down green-yellow, left
    cyan, up violet; a point that rests is grey. Alike motion is alike coloured wherever it happens.

    Args:
        reference, result: uint8 ``[F, H, W, 3]`` and ``[G, H', W', 3]``. Of the reference, the frames nearest to the
            result's instants are shown, as the scores resample it.
        reference_tracks, result_tracks: ``[N, F, 2]`` and ``[M, G, 2]``; 64 of each are drawn.

    Returns:
        uint8 ``[G, height, width, 3]``; small clips are enlarged.
    """
    count = len(result)
    shown = np.linspace(0, len(reference) - 1, count).round().astype(int)
    left = _drawn(reference[shown], resample_paths(reference_tracks, count), "reference")
    right = _drawn(result, result_tracks, "result")
    height = max(left.shape[1], right.shape[1])
    picture = np.full((count, height, left.shape[2] + _GAP + right.shape[2], 3), _PAPER, np.uint8)
    picture[:, : left.shape[1], : left.shape[2]] = left
    picture[:, : right.shape[1], left.shape[2] + _GAP :] = right
    return picture


def direction_colour(step: np.ndarray) -> tuple[int, int, int]:
    """The colour of a displacement ``(x, y)`` by its direction."""
    turn = np.arctan2(step[1], step[0]) / (2 * np.pi) % 1
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(float(turn), 0.85, 1.0))


def _drawn(frames: np.ndarray, tracks: np.ndarray, title: str) -> np.ndarray:
    """Frames ``[F, H, W, 3]`` enlarged to a readable size, titled, with trails."""
    height, width = frames.shape[1:3]
    zoom = max(1.0, _SIDE / min(height, width))
    size = (round(width * zoom), round(height * zoom))
    still = _STILL * np.hypot(*size)
    # Pixel centres: (0, 0) is the middle of the first pixel in both sizes.
    tracks = (tracks[np.linspace(0, len(tracks) - 1, min(_TRACKS, len(tracks))).astype(int)] + 0.5) * zoom - 0.5
    pictures = []
    for index, frame in enumerate(frames):
        # A little darker, so that trails stand out on any picture.
        canvas = (cv2.resize(frame, size, interpolation=cv2.INTER_NEAREST) * 0.65).astype(np.uint8)
        for path in tracks[:, : index + 1]:
            _trail(canvas, path, still)
        canvas = cv2.copyMakeBorder(canvas, _TITLE, 0, 0, 0, cv2.BORDER_CONSTANT, value=_PAPER)
        caption = f"{title}   {index + 1}/{len(frames)}"
        cv2.putText(canvas, caption, (8, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
        pictures.append(canvas)
    return np.stack(pictures)


def _trail(canvas: np.ndarray, path: np.ndarray, still: float) -> None:
    """Draw where a point ``[F, 2]`` has been, and a dot where it is; pieces with a gap (NaN) are left out."""
    colour = _RESTING
    for before, now in pairwise(path):
        if not np.isfinite([before, now]).all():
            continue
        step = now - before
        colour = direction_colour(step) if np.hypot(*step) > still else _RESTING
        cv2.line(canvas, _pixel(before), _pixel(now), colour, 2, cv2.LINE_AA)
    if np.isfinite(path[-1]).all():
        cv2.circle(canvas, _pixel(path[-1]), 3, colour, -1, cv2.LINE_AA)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    return tuple(round(float(v)) for v in point)
