"""Several clips beside each other at the same instants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..frame_choice import nearest_frames
from .picture import GAP, PAPER, SIDE, TITLE, drawn
from .tracks import resample_paths

_TALLEST, _WIDEST = 720, 2560
_IN_ONE_ROW = 3


def compared(
    clips: Sequence[np.ndarray], titles: Sequence[str], tracks: Sequence[np.ndarray] | None = None
) -> np.ndarray:
    """Clips in one row, or in two where there are more than three, in sync with the first.

    Every clip lasts as long as the first: at each of that one's frames stands the nearest frame of the others. All
    have the height of the tallest, 320 to 720 pixels or what makes the picture at most 2560 wide. Captions say which
    frame of its own a clip shows.

    Args:
        clips: uint8 ``[F_i, H_i, W_i, 3]``.
        tracks: ``[N, F_i, 2]`` for each clip in its pixels, whose trails are drawn; none leaves the frames as they are.

    Returns:
        uint8 ``[F_0, height, width, 3]``, height and width even.
    """
    count, columns = len(clips[0]), len(clips) if len(clips) <= _IN_ONE_ROW else -(-len(clips) // 2)
    rows = [range(first, min(first + columns, len(clips))) for first in range(0, len(clips), columns)]
    height = _height(clips, rows)
    placed = [
        _in_time(clip, title, count, height, None if tracks is None else tracks[index])
        for index, (clip, title) in enumerate(zip(clips, titles, strict=True))
    ]
    across = [sum(placed[i].shape[2] for i in row) + GAP * (len(row) - 1) for row in rows]
    down = (height + TITLE) * len(rows) + GAP * (len(rows) - 1)
    picture = np.full((count, down + down % 2, max(across) + max(across) % 2, 3), PAPER, np.uint8)
    for number, row in enumerate(rows):
        x, y = 0, number * (height + TITLE + GAP)
        for index in row:
            part = placed[index]
            picture[:, y : y + part.shape[1], x : x + part.shape[2]] = part
            x += part.shape[2] + GAP
    return picture


def laid_over(tracks: np.ndarray, size: tuple[int, int], clip: np.ndarray) -> np.ndarray:
    """Tracks ``[N, F, 2]`` of a clip of ``size`` (width, height), for another clip ``[G, H, W, 3]``: ``[N, G, 2]``."""
    scale = np.array(clip.shape[2:0:-1]) / np.array(size)
    return (resample_paths(tracks, len(clip)) + 0.5) * scale - 0.5


def _height(clips: Sequence[np.ndarray], rows: Sequence[range]) -> int:
    height = int(np.clip(max(clip.shape[1] for clip in clips), SIDE, _TALLEST))
    shapes = [sum(clips[i].shape[2] / clips[i].shape[1] for i in row) for row in rows]
    return min(height, int((_WIDEST - GAP * (max(map(len, rows)) - 1)) / max(shapes)))


def _in_time(clip: np.ndarray, title: str, count: int, height: int, tracks: np.ndarray | None) -> np.ndarray:
    """``[count, TITLE + height, width, 3]``; each frame that is shown is drawn once."""
    frames, where = np.unique(nearest_frames(len(clip), count), return_inverse=True)
    trails = None if tracks is None else tracks[:, frames]
    return drawn(clip[frames], trails, title, frames, len(clip), height)[where]
