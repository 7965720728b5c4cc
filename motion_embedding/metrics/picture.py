"""Clips with their tracks drawn in: two side by side, which is what a motion score has seen, and parts for others."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from ..frame_choice import nearest_frames
from ..lettering import clipped, text_width, write
from .tracks import resample_paths

SIDE, GAP, TITLE = 320, 8, 28
PAPER, _INK, _RESTING = (20, 22, 26), (225, 228, 232), (190, 190, 190)
_STILL = 0.002
_TRACKS = 64
_LETTERS = 16


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
    shown = nearest_frames(len(reference), count)
    left = drawn(reference[shown], resample_paths(reference_tracks, count), "reference", range(count), count)
    right = drawn(result, result_tracks, "result", range(count), count)
    height = max(left.shape[1], right.shape[1])
    picture = np.full((count, height, left.shape[2] + GAP + right.shape[2], 3), PAPER, np.uint8)
    picture[:, : left.shape[1], : left.shape[2]] = left
    picture[:, : right.shape[1], left.shape[2] + GAP :] = right
    return picture


def direction_colour(step: np.ndarray) -> tuple[int, int, int]:
    """The colour of a displacement ``(x, y)`` by its direction."""
    turn = np.arctan2(step[1], step[0]) / (2 * np.pi) % 1
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(float(turn), 0.85, 1.0))


def drawn(
    frames: np.ndarray,
    tracks: np.ndarray | None,
    title: str,
    numbers: Sequence[int],
    of: int,
    height: int | None = None,
) -> np.ndarray:
    """Each frame with the trails of its tracks, under the title and its number.

    Args:
        frames: uint8 ``[F, H, W, 3]``.
        tracks: ``[N, F, 2]`` in their pixels, of which 64 are drawn; None leaves the frames as they are.
        numbers: of each frame, from 0, in a clip of ``of``.
        height: of the frames in the picture; small clips are enlarged to a readable size where it is None.

    Returns:
        uint8 ``[F, TITLE + height, width, 3]``.
    """
    zoom = max(1.0, SIDE / min(frames.shape[1:3])) if height is None else height / frames.shape[1]
    trails = None if tracks is None else placed(tracks, zoom)
    pictures = []
    for index, (frame, number) in enumerate(zip(frames, numbers, strict=True)):
        canvas = enlarged(frame, zoom)
        if trails is not None:
            canvas = darker(canvas)
            still = _STILL * np.hypot(*canvas.shape[:2])
            for path in trails[:, : index + 1]:
                _trail(canvas, path, still)
        canvas = cv2.copyMakeBorder(canvas, TITLE, 0, 0, 0, cv2.BORDER_CONSTANT, value=PAPER)
        right = canvas.shape[1] - 8
        write(canvas, f"{number + 1}/{of}", (right, 4), _LETTERS, _RESTING, align=1)
        left = right - text_width(f" {of}/{of}", _LETTERS) - 8
        write(canvas, clipped(title, _LETTERS, max(0, left)), (8, 4), _LETTERS, _INK)
        pictures.append(canvas)
    return np.stack(pictures)


def arrows(frame: np.ndarray, tracks: np.ndarray, start: int, end: int, width: int) -> np.ndarray:
    """A frame ``[H, W, 3]`` scaled to ``width``, with an arrow from where each point is at ``start`` to its ``end``.

    A point that is lost before ``end`` points to where it was seen last; one that rests is a grey dot, one not seen at
    ``start`` is left out.

    Args:
        tracks: ``[N, F, 2]`` in pixels of the frame, of which 64 are drawn.
    """
    zoom = width / frame.shape[1]
    canvas = darker(enlarged(frame, zoom))
    still = _STILL * np.hypot(*canvas.shape[:2])
    for path in placed(tracks, zoom)[:, start : end + 1]:
        seen = np.flatnonzero(np.isfinite(path).all(-1))
        if not len(seen) or seen[0] != 0:
            continue
        step = path[seen[-1]] - path[0]
        length = float(np.hypot(*step))
        if length <= still:
            cv2.circle(canvas, _pixel(path[0]), 2, _RESTING, -1, cv2.LINE_AA)
            continue
        ends, head = (_pixel(path[0]), _pixel(path[seen[-1]])), min(0.5, 9 / length)
        cv2.arrowedLine(canvas, *ends, direction_colour(step), 2, cv2.LINE_AA, tipLength=head)
    return canvas


def enlarged(frame: np.ndarray, zoom: float) -> np.ndarray:
    """A frame ``[H, W, 3]`` at ``zoom`` times its size; pixels of small clips stay squares."""
    size = [max(1, round(side * zoom)) for side in frame.shape[1::-1]]
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_NEAREST if zoom >= 2 else cv2.INTER_LINEAR
    return cv2.resize(frame, size, interpolation=how)


def darker(canvas: np.ndarray) -> np.ndarray:
    """A little, so that trails stand out on any picture."""
    return (canvas * 0.65).astype(np.uint8)


def placed(tracks: np.ndarray, zoom: float) -> np.ndarray:
    """At most 64 of the tracks, in pixels of the clip at ``zoom`` times its size."""
    # Pixel centres: (0, 0) is the middle of the first pixel in both sizes.
    return (tracks[np.linspace(0, len(tracks) - 1, min(_TRACKS, len(tracks))).astype(int)] + 0.5) * zoom - 0.5


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
