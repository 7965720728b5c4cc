"""The camera's motion from point tracks, and how far two clips' cameras differ."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from .tracks import fill_gaps, known_steps, relative, resample_paths

_TOLERANCE = 0.3
_LEAST_POINTS = 6
_LEAST_EXTENT = 14.0
_LEAST_KNOWN = 0.5
_CONSISTENT = 0.5


@dataclass(frozen=True)
class Camera:
    """How the picture moves from each frame to the next, as a similarity about the middle of the frame.

    A point at ``x`` from the middle, in percent of the frame's diagonal, comes to ``exp(zoom) R(roll) x + pan``.
    This is the picture's motion: it goes left when the camera turns right.

    Attributes:
        pan: ``[F - 1, 2]``, percent of the diagonal, y downwards.
        zoom: ``[F - 1]``, natural logarithm of the scale; above 0 things grow.
        roll: ``[F - 1]``, degrees, clockwise on the screen.
        agreed: int ``[F - 1]``, how many tracks move so; 0 for a step that is interpolated.
    """

    pan: np.ndarray
    zoom: np.ndarray
    roll: np.ndarray
    agreed: np.ndarray

    def moved(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Where each step takes the points ``[..., F - 1, 2]`` that it finds, pixels of a frame of ``size``."""
        middle, diagonal = _middle(size), np.hypot(*size)
        x, y = np.moveaxis(points - middle, -1, 0)
        scale, angle = np.exp(self.zoom), np.radians(self.roll)
        cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
        turned = np.stack([cosine * x - sine * y, sine * x + cosine * y], -1)
        return turned + middle + self.pan * (diagonal / 100)


@dataclass(frozen=True)
class CameraErrors:
    """Mean differences per step: ``pan`` in % of the diagonal, ``zoom`` in % (100 x log), ``roll`` in degrees."""

    pan: float
    zoom: float
    roll: float


def camera_path(tracks: np.ndarray, size: tuple[int, int]) -> Camera | None:
    """The camera's path: the similarity that most of the tracks follow, step by step.

    Each step has its dominant similarity by RANSAC (Fischler and Bolles 1981; within 0.3 % of the diagonal). The
    points that follow it in at least half of their steps are the background, and each step is fitted again to those
    alone, so that an object that has the majority for a moment does not pass for the camera.

    A step is known when at least 6 points agree whose distances from their common middle are at least 14 % of the
    diagonal (root mean square): half of what points all over the frame have. So a small object before an empty
    background is not taken for the camera; one that fills most of the frame is, and no tracker could tell.
    Parallax beyond the tolerance shows as few agreeing points.

    Args:
        tracks: ``[N, F, 2]`` pixels, NaN where a point is not followed.
        size: width and height of the frame.

    Returns:
        None when fewer than half of the steps are known; the others are interpolated.
    """
    tracks = relative(tracks - _middle(size), size)
    fits = _fits(tracks)
    follows = np.array([_follows(tracks, t, fit) for t, fit in enumerate(fits)]).reshape(len(fits), len(tracks))
    fitted = known_steps(tracks).T & np.array([fit is not None for fit in fits], bool)[:, None]
    background = tracks[follows.sum(0) >= np.maximum(1, _CONSISTENT * fitted.sum(0))]
    fits = _fits(background)
    known = [fit is not None for fit in fits]
    if not known or np.mean(known) < _LEAST_KNOWN:
        return None
    agreed = [0 if fit is None else int(_follows(background, t, fit).sum()) for t, fit in enumerate(fits)]
    values = fill_gaps(np.array([[np.nan] * 4 if fit is None else _parameters(fit) for fit in fits]))
    return Camera(values[:, :2], values[:, 2], np.degrees(values[:, 3]), np.array(agreed))


def camera_errors(reference: Camera, result: Camera) -> CameraErrors:
    """How far the result's camera is from the reference's.

        pan = mean_t |p_t - q_t|,    zoom = 100 mean_t |log s_t - log r_t|,    roll = mean_t |angle difference|

    over the steps of the result. A reference of another length is resampled as a path: its summed pan, zoom and
    roll, so that both clips go from their beginning to their end. Sizes do not matter, since pans are shares of the
    clip's own diagonal.
    """
    difference = _values(result) - np.diff(resample_paths(_summed(reference), len(result.pan) + 1), axis=0)
    pan = np.linalg.norm(difference[:, :2], axis=1).mean()
    zoom, roll = np.abs(difference[:, 2:]).mean(0)
    return CameraErrors(float(pan), float(100 * zoom), float(roll))


def _fits(tracks: np.ndarray) -> list[np.ndarray | None]:
    """The dominant similarity ``[2, 3]`` of each step of tracks in percent about the middle, None where unknown."""
    return [_fit(now[ok], after[ok]) for now, after, ok in _steps(tracks)]


def _steps(tracks: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Per step: where the points are, where they go, and of which both is known."""
    return [(now, after, np.isfinite(now + after).all(1)) for now, after in pairwise(np.moveaxis(tracks, 1, 0))]


def _fit(now: np.ndarray, after: np.ndarray) -> np.ndarray | None:
    if len(now) < _LEAST_POINTS:
        return None
    fit, agree = cv2.estimateAffinePartial2D(now, after, ransacReprojThreshold=_TOLERANCE, confidence=0.999)
    if fit is None:
        return None
    agreeing = now[agree[:, 0] == 1]
    extent = np.sqrt(((agreeing - agreeing.mean(0)) ** 2).sum(1).mean())
    return fit if len(agreeing) >= _LEAST_POINTS and extent >= _LEAST_EXTENT else None


def _follows(tracks: np.ndarray, step: int, fit: np.ndarray | None) -> np.ndarray:
    """Which of the tracks follow a similarity in a step."""
    if fit is None:
        return np.zeros(len(tracks), bool)
    expected = tracks[:, step] @ fit[:, :2].T + fit[:, 2]
    return np.linalg.norm(tracks[:, step + 1] - expected, axis=1) <= _TOLERANCE


def _parameters(fit: np.ndarray) -> list[float]:
    """Pan x and y, logarithm of the scale, angle in radians."""
    return [*fit[:, 2], np.log(np.hypot(fit[0, 0], fit[1, 0])), np.arctan2(fit[1, 0], fit[0, 0])]


def _values(camera: Camera) -> np.ndarray:
    return np.column_stack([camera.pan, camera.zoom, camera.roll])


def _summed(camera: Camera) -> np.ndarray:
    """Pan x and y, zoom and roll ``[F, 4]`` since the first frame."""
    return np.concatenate([np.zeros((1, 4)), np.cumsum(_values(camera), axis=0)])


def _middle(size: tuple[int, int]) -> np.ndarray:
    return (np.array(size, float) - 1) / 2
