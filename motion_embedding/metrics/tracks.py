"""Point tracks: a Lucas-Kanade tracker that keeps only what it can follow there and back, and helpers for paths.

A set of tracks is a float array ``[N, F, 2]`` of (x, y) in pixels, NaN where a point is not followed; a single
path is ``[F, 2]``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np

Tracker = Callable[[np.ndarray], np.ndarray]
"""uint8 frames ``[F, H, W, 3]`` to tracks ``[N, F, 2]``, NaN where a point is not followed."""

LEAST_STEPS = 0.5
"""The share of a clip's steps that must be known of a track, or of two tracks together, to say something."""

_WORKING_SIDES = (256, 480)
_WINDOW = (21, 21)
_LEVELS = 4
_QUALITY = 0.01
_APART = 7
_BLOCK = 7
_GAINS = (2 / 3, 3 / 2)
_DARKNESS = 4


def track_points(frames: np.ndarray, points: int = 64, tolerance: float = 0.7) -> np.ndarray:
    """Follow corners of the first, the middle and the last frame through the clip, forwards and backwards.

    Pyramidal Lucas-Kanade (Bouguet 2000) with the forward-backward check of Kalal et al. 2010: a point is lost
    from the first step whose way back ends more than ``tolerance`` pixels from where the step began, or which
    leaves the frame. Corners (Shi and Tomasi 1994) are taken evenly over each starting frame, and not where a
    point that is already followed lies. So a fast pan, an occlusion or an object that enters late leaves tracks.
    Frames are scaled so that the shorter side is 256 to 480 pixels, since the window is 21 pixels wide;
    ``tolerance`` is in those pixels.

    Args:
        frames: uint8 ``[F, H, W, 3]``.
        points: the most tracks to return; scores depend on it, so compare only equal settings.

    Returns:
        float64 ``[N, F, 2]`` in pixels of the given frames, ``N <= points`` (0 when nothing can be followed),
        each known for at least half of the clip's steps and NaN elsewhere. Any first few of them are spread over
        the frame (see :func:`spread`).
    """
    grey, zoom = _working_frames(frames)
    last = len(grey) - 1
    tracks = np.zeros((0, len(grey), 2))
    for start in sorted({0, last // 2, last}):
        corners = _corners(grey[start], 2 * points, taken=tracks[:, start])
        tracks = np.concatenate([tracks, _follow(grey, start, corners, tolerance)])
    return (spread(tracks[lasting(tracks)], points) + 0.5) / zoom - 0.5


def known_steps(tracks: np.ndarray) -> np.ndarray:
    """Which steps ``[N, F - 1]`` from a frame to the next are known at both ends."""
    known = np.isfinite(tracks).all(-1)
    return known[:, 1:] & known[:, :-1]


def lasting(tracks: np.ndarray) -> np.ndarray:
    """Which tracks ``[N]`` are known for at least half of the clip's steps, and for one at least."""
    steps = known_steps(tracks)
    return steps.sum(1) >= max(1, LEAST_STEPS * steps.shape[1])


def spread(tracks: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` tracks, as far apart as can be, farthest first.

    From the first track on, each next one is that whose mean position is farthest from all chosen so far
    (Gonzalez 1985); ties go to the earlier in the list, so the order is deterministic.

    Args:
        tracks: ``[N, F, 2]``, each with a known frame.
    """
    if not len(tracks):
        return tracks
    places = np.nanmean(tracks, axis=1)
    chosen, distance = [0], np.full(len(tracks), np.inf)
    while len(chosen) < min(count, len(tracks)):
        distance = np.minimum(distance, np.linalg.norm(places - places[chosen[-1]], axis=1))
        distance[chosen[-1]] = -1  # even where two tracks share their place, none is chosen twice
        chosen.append(int(distance.argmax()))
    return tracks[chosen]


def resample_paths(paths: np.ndarray, frames: int) -> np.ndarray:
    """Paths ``[..., F, 2]`` at ``frames`` instants evenly spread from the first to the last, linearly.

    What lies between a known and a missing (NaN) frame is missing.
    """
    length = paths.shape[-2]
    if length == frames:
        return paths
    where = np.linspace(0, length - 1, frames)
    low = np.minimum(where.astype(int), max(length - 2, 0))
    high, part = np.minimum(low + 1, length - 1), (where - low)[:, None]
    # A weight of 0 must not let a NaN in.
    before, after = paths[..., low, :] * (1 - part), paths[..., high, :] * part
    return np.where(part < 1, before, 0) + np.where(part > 0, after, 0)


def relative(tracks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Tracks in percent of the diagonal of a frame of ``size`` (width, height), so that clips of any size compare."""
    return tracks * (100 / np.hypot(*size))


def fill_gaps(path: np.ndarray) -> np.ndarray:
    """A path ``[F, D]`` whose missing (NaN) frames are interpolated; the ends repeat the nearest known frame.

    Raises:
        ValueError: when no frame is known.
    """
    known = np.isfinite(path).all(-1)
    if not known.any():
        raise ValueError("the path has no known frame")
    instants = np.arange(len(path))
    return np.stack([np.interp(instants, instants[known], path[known, axis]) for axis in range(path.shape[1])], -1)


def _working_frames(frames: np.ndarray) -> tuple[list[np.ndarray], float]:
    """Grey frames that suit the tracker's window and its time, and the factor they were scaled by."""
    shorter = min(frames.shape[1:3])
    zoom = float(np.clip(shorter, *_WORKING_SIDES)) / shorter
    grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in frames]
    if zoom != 1:
        how = cv2.INTER_CUBIC if zoom > 1 else cv2.INTER_AREA
        size = [round(side * zoom) for side in frames.shape[2:0:-1]]
        grey = [cv2.resize(g, size, interpolation=how) for g in grey]
    return _evenly_lit(grey), zoom


def _evenly_lit(grey: list[np.ndarray]) -> list[np.ndarray]:
    """The frames as bright as the middle one, since Lucas-Kanade takes a change of light for motion.

    The gain is the median ratio of pixels, which an object or a pan does not sway as it does the ratio of means.
    """
    middle = grey[len(grey) // 2][::4, ::4].astype(np.float32) + _DARKNESS
    gains = [np.median(middle / (g[::4, ::4].astype(np.float32) + _DARKNESS)) for g in grey]
    return [cv2.convertScaleAbs(g, alpha=float(np.clip(gain, *_GAINS))) for g, gain in zip(grey, gains, strict=True)]


def _corners(grey: np.ndarray, count: int, taken: np.ndarray) -> np.ndarray:
    """At most ``count`` corners ``[N, 2]`` over all of a frame, none near a ``taken`` point.

    Those with the largest distance to any stronger corner (adaptive non-maximal suppression, Brown et al. 2005):
    strong ones first, yet not all in one place.
    """
    mask = np.full(grey.shape, 255, np.uint8)
    for x, y in taken[np.isfinite(taken).all(1)]:
        cv2.circle(mask, (round(x), round(y)), _APART, 0, -1)
    found = cv2.goodFeaturesToTrack(grey, 0, _QUALITY, _APART, mask=mask, blockSize=_BLOCK)
    if found is None:
        return np.zeros((0, 2))
    corners = found[:, 0].astype(np.float64)
    squares = [((corners[:i] - corners[i]) ** 2).sum(1).min(initial=np.inf) for i in range(len(corners))]
    return corners[np.argsort(squares, kind="stable")[::-1][:count]]


def _follow(grey: list[np.ndarray], start: int, corners: np.ndarray, tolerance: float) -> np.ndarray:
    """Tracks ``[N, F, 2]`` of the points ``[N, 2]`` of frame ``start``, to the end and to the beginning."""
    tracks = np.full((len(corners), len(grey), 2), np.nan)
    tracks[:, start] = corners
    for frames in (range(start, len(grey)), range(start, -1, -1)):
        alive = np.arange(len(corners))
        for now, after in pairwise(frames):
            if not len(alive):
                break
            moved, kept = _step(grey[now], grey[after], tracks[alive, now], tolerance)
            alive = alive[kept]
            tracks[alive, after] = moved[kept]
    return tracks


def _step(now: np.ndarray, after: np.ndarray, points: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Where points ``[N, 2]`` of one frame are in another, and which of them were surely found there ``[N]``."""
    points = points.astype(np.float32)
    moved, found, _ = _flow(now, after, points)
    back, found_back, _ = _flow(after, now, moved)
    inside = (moved >= 0).all(1) & (moved <= (now.shape[1] - 1, now.shape[0] - 1)).all(1)
    returned = np.linalg.norm(back - points, axis=1) < tolerance
    return moved, (found[:, 0] == 1) & (found_back[:, 0] == 1) & inside & returned


def _flow(now: np.ndarray, after: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return cv2.calcOpticalFlowPyrLK(now, after, points, None, winSize=_WINDOW, maxLevel=_LEVELS)
