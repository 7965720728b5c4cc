"""How complex a clip's motion is, and from that which clips are easy, medium and hard.

The field ranks methods on "DAVIS easy / medium / hard" without publishing which clips are which. This is our
rule; it needs no annotation and anyone can apply it:

    complexity of a path = sum_t |v_(t+1) - v_t| / mean_t |v_t|

the total variation of the velocity over the mean speed, 0 for a straight path at constant speed and free of the
path's size, place and number of frames. Turning and changing speed both count, in one unit: a turn by angle a at
constant speed adds 2 sin(a / 2), so a full circle has 2 pi and every reversal adds 2; a start from rest to a constant
speed adds 1 or more. A clip's complexity is that of its object, seen from the scene, plus that of its camera, in whose
path zooming and rolling are two more directions. Terciles of the benchmark's clips are easy, medium and hard.

What the rule does not see: how many objects move differently, how they deform, and occlusion.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .camera import Camera, camera_path
from .tracks import fill_gaps, known_steps, relative, resample_paths

CLASSES = ("easy", "medium", "hard")
_INSTANTS = 13
_LEAST_LENGTH = 6.0
_FOLLOWS_CAMERA = 0.3
_MEAN_RADIUS = 29.0


def trajectory_complexity(path: np.ndarray, least_length: float = _LEAST_LENGTH) -> float:
    """Total variation of a path's velocity over its mean speed.

        complexity = T sum_t |v_(t+1) - v_t| / max(sum_t |v_t|, least_length),    v_t the T steps of the path

    of the path at no more than 13 instants, so that it is the motion's form that counts and not its tremor.

    Args:
        path: ``[F, D]``: (x, y), or with depth or other directions in the same unit; NaN where unknown.
        least_length: a path shorter than this is taken for rest, in proportion; for paths in percent of the frame's
            diagonal (:func:`.tracks.relative`).

    Returns:
        0 for straight and constant motion, and for fewer than 3 frames; about 6 for a circle.

    Raises:
        ValueError: when no frame is known.
    """
    path = resample_paths(fill_gaps(path), min(len(path), _INSTANTS))
    velocity = np.diff(path, axis=0)
    length = np.linalg.norm(velocity, axis=1).sum()
    return float(len(velocity) * np.linalg.norm(np.diff(velocity, axis=0), axis=1).sum() / max(length, least_length))


def clip_complexity(tracks: np.ndarray, size: tuple[int, int], mask_path: np.ndarray | None = None) -> float | None:
    """Complexity of a clip's object, seen from the scene, plus that of its camera.

    The object is what does not follow the camera in most of its steps (by 0.3 % of the diagonal); its step is the
    median of theirs, less what the camera does there. Where no camera can be told it is taken to rest.

    Args:
        tracks: ``[N, F, 2]`` pixels, NaN where a point is not followed.
        size: width and height of the frame.
        mask_path: ``[F, 2]`` pixels: the object's path where it is known, as from the masks of DAVIS, NaN where
            it is not seen. It takes the place of the tracks that do not follow the camera.

    Returns:
        None when there is neither a track nor a mask path.
    """
    objects = tracks if mask_path is None else np.asarray(mask_path, float)[None]
    if not np.isfinite(objects).any():
        return None
    camera = camera_path(tracks, size) if len(tracks) else None
    path = _object_path(objects, size, camera, sift=mask_path is None)
    return trajectory_complexity(path) + (trajectory_complexity(_camera_path(camera)) if camera else 0.0)


def split(complexities: Mapping[str, float]) -> dict[str, str]:
    """Name -> "easy", "medium" or "hard": the terciles of the complexities. Equal ones are in one class, the easier."""
    values = np.array(list(complexities.values()), float)
    return {name: CLASSES[3 * int((values < value).sum()) // len(values)] for name, value in complexities.items()}


def _object_path(tracks: np.ndarray, size: tuple[int, int], camera: Camera | None, sift: bool) -> np.ndarray:
    """The path ``[F, 2]`` of what moves in the scene, percent of the diagonal, at rest where nothing is seen to."""
    expected = tracks[:, :-1] if camera is None else camera.moved(tracks[:, :-1], size)
    steps = relative(tracks[:, 1:] - expected, size)
    if sift:
        away = (np.linalg.norm(steps, axis=-1) > _FOLLOWS_CAMERA).sum(1)
        steps = steps[away > known_steps(tracks).sum(1) / 2]
    seen = np.isfinite(steps).all(-1).any(0)
    path = np.zeros((tracks.shape[1], 2))
    if seen.any():
        step = np.full((len(seen), 2), np.nan)
        step[seen] = np.nanmedian(steps[:, seen], axis=0)
        path[1:] = np.cumsum(fill_gaps(step), axis=0)
    return path


def _camera_path(camera: Camera) -> np.ndarray:
    """Pan, zoom and roll ``[F, 4]`` in percent of the diagonal by which a point of mean distance is moved."""
    steps = np.column_stack([camera.pan, _MEAN_RADIUS * camera.zoom, _MEAN_RADIUS * np.radians(camera.roll)])
    return np.concatenate([np.zeros((1, 4)), np.cumsum(steps, axis=0)])
