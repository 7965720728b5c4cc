"""What the camera does in a clip of the sprite world: pan, zoom and roll, read off the background's texture."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from . import judge, world

_HALF = (world.SIZE - 1) / 2
_BLURS = (3.0, 1.5)
_ITERATIONS = 25
_MARGIN = 7  # pixels around the sprite that its blurred edge reaches


def true_flow(motion: world.Motion) -> np.ndarray:
    """How the background moves on screen, ``[F - 1, 4]``: see :func:`camera_flow`."""
    steps = []
    for f in range(len(motion.x) - 1):
        grow = motion.camera_zoom[f + 1] / motion.camera_zoom[f]
        turn = motion.camera_roll[f] - motion.camera_roll[f + 1]
        a, b = grow * np.cos(turn), grow * np.sin(turn)
        pan = np.array([motion.camera_x[f] - motion.camera_x[f + 1], motion.camera_y[f] - motion.camera_y[f + 1]])
        shift = motion.camera_zoom[f + 1] * world.rotation(-motion.camera_roll[f + 1]) @ pan
        steps.append([a - 1, b, *shift])
    return np.array(steps)


def camera_flow(frames: np.ndarray) -> np.ndarray | None:
    """The similarity that carries each frame's background to the next, ``[F - 1, 4]``; None unless it is checkered.

    ``(a, b, u, v)`` moves a point (x, y) from the frame's centre by ``(a x - b y + u, b x + a y + v)``: a is growth,
    b rotation, (u, v) shift in pixels of a 64x64 frame. Least squares on blurred brightness (Gauss-Newton from rest,
    coarse to fine), the sprite masked. Stripes do not show what goes along them, so they do not count.
    """
    frames = judge.reduce_frames(frames)
    sprites = judge.sprite_mask(frames)
    if judge.pattern_of(frames, sprites) != "checkered":
        return None
    kernel = np.ones((_MARGIN, _MARGIN), np.uint8)
    seen = [cv2.dilate(s.astype(np.uint8), kernel) == 0 for s in sprites]
    grey = [frame.astype(np.float32).mean(-1) for frame in frames]
    return np.array([_align(a, b, u, v) for (a, b), (u, v) in zip(pairwise(grey), pairwise(seen), strict=True)])


def camera_error(reference: np.ndarray, result: np.ndarray | None) -> float:
    """Mean length of the difference of two flows over the frame, relative to the reference's own mean length.

    Arguments as :func:`camera_flow` gives them. 0 is the same camera, 1 as wrong as a camera at rest; NaN where the
    result shows no texture to tell by.
    """
    if result is None:
        return float("nan")
    y, x = np.mgrid[4 : world.SIZE : 8, 4 : world.SIZE : 8] - _HALF
    wanted, found = _field(reference, x, y), _field(result, x, y)
    return float(np.linalg.norm(found - wanted, axis=-1).mean() / np.linalg.norm(wanted, axis=-1).mean())


def _field(flow: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Displacements ``[F - 1, points..., 2]``."""
    a, b, u, v = (part[:, None, None] for part in flow.T)
    return np.stack([a * x - b * y + u, b * x + a * y + v], -1)


def _align(before: np.ndarray, after: np.ndarray, seen: np.ndarray, seen_after: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[0 : world.SIZE, 0 : world.SIZE].astype(np.float32)
    cx, cy = x - _HALF, y - _HALF
    p = np.zeros(4)
    for blur in _BLURS:
        first, second = (cv2.GaussianBlur(image, (0, 0), blur) for image in (before, after))
        down, right = np.gradient(second)
        for _ in range(_ITERATIONS):
            a, b, u, v = p
            to_x, to_y = (x + a * cx - b * cy + u).astype(np.float32), (y + b * cx + a * cy + v).astype(np.float32)

            def there(image: np.ndarray, to_x: np.ndarray = to_x, to_y: np.ndarray = to_y) -> np.ndarray:
                return cv2.remap(image.astype(np.float32), to_x, to_y, cv2.INTER_LINEAR, borderValue=0.0)

            valid = seen & (there(seen_after.astype(np.float32)) > 0.99)
            gx, gy, error = there(right)[valid], there(down)[valid], (there(second) - first)[valid]
            if valid.sum() < 100:
                break
            px, py = cx[valid], cy[valid]
            jacobian = np.stack([gx * px + gy * py, gy * px - gx * py, gx, gy], -1).astype(np.float64)
            # Scaled so that all four are pixels at the frame's edge; the ridge holds what the texture cannot tell.
            scale = np.array([_HALF, _HALF, 1, 1])
            scaled = jacobian / scale
            normal = scaled.T @ scaled
            ridge = 1e-3 * np.trace(normal) / 4 * np.eye(4)
            step = np.linalg.solve(normal + ridge, -scaled.T @ error) / scale
            p = p + step
            if np.abs(step * scale).max() < 1e-3:
                break
    return p
