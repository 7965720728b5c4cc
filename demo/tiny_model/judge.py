"""Say what a clip of the sprite world shows: colour, shape, background, and where the object is.

No learnt weights: colours by the nearest palette entry, shapes by comparing the object's silhouette, brought
to a fixed area, with the world's own shapes at every rotation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from . import world

_COLORS = np.array(list(world.COLORS.values()), np.float32)
_BACKGROUNDS = np.array(list(world.BACKGROUNDS.values()), np.float32)
_PALETTE = np.concatenate([_COLORS, _BACKGROUNDS, _BACKGROUNDS + world.PATTERN_CONTRAST])

_LEAST_AREA = 12
_CROP = 32
_CROP_AREA = 260.0
_ROTATIONS = {"circle": (1, 360), "square": (12, 90), "triangle": (16, 120), "cross": (12, 90), "star": (10, 72)}
_SCALES = (0.9, 0.95, 1.0, 1.05, 1.1)
_BLURS = (0.8, 1.6)
_PLAIN_DEVIATION = 9.0
_STRIPED_RATIO = 3.0


@dataclass(frozen=True)
class Verdict:
    """What is seen; ``None`` where there is no object to speak of.

    ``track [F, 2]`` is the object's centroid (x, y) in pixels of a 64x64 frame, NaN where unseen; ``area [F]``
    its pixels there; ``visible`` the share of frames in which it is seen.
    """

    color: str | None
    shape: str | None
    background: str
    pattern: str
    track: np.ndarray
    area: np.ndarray
    visible: float

    @property
    def coherent(self) -> bool:
        """Seen in every frame, and never more than twice as large in one frame as in another."""
        return self.visible == 1.0 and self.area.max() < 2 * self.area.min()


def judge(frames: np.ndarray, color: str | None = None) -> Verdict:
    """Judge a clip, uint8 ``[F, H, W, 3]`` (square, 64 or larger; reduced to 64 by area).

    The object is the largest blob of ``color``, or of whichever sprite colour covers most of the clip. With a
    colour given, ``Verdict.color`` still says which one covers most.
    """
    frames = reduce_frames(frames)
    labels = _nearest_palette(frames)
    counts = np.bincount(labels.ravel(), minlength=len(_PALETTE))
    sprites, grounds = counts[: len(_COLORS)], counts[len(_COLORS) :].reshape(2, -1).sum(0)
    dominant = list(world.COLORS)[int(sprites.argmax())] if sprites.max() >= _LEAST_AREA else None
    background = int(grounds.argmax())
    followed = color or dominant
    cover, blobs = np.zeros(frames.shape[:3], np.float32), np.zeros(frames.shape[:3], bool)
    if followed is not None:
        cover = _coverage(frames, np.array(world.COLORS[followed], np.float32), _BACKGROUNDS[background])
        blobs = np.stack([_largest_blob(m) for m in labels == list(world.COLORS).index(followed)])
    area = blobs.sum((1, 2))
    track = np.array([_centroid(b) if b.any() else (np.nan, np.nan) for b in blobs])
    return Verdict(
        color=dominant,
        shape=_shape(cover, blobs),
        background=list(world.BACKGROUNDS)[background],
        pattern=pattern_of(frames, labels < len(_COLORS)),
        track=track,
        area=area,
        visible=float((area > 0).mean()),
    )


def reduce_frames(frames: np.ndarray) -> np.ndarray:
    """uint8 frames ``[F, H, W, 3]`` at the world's size."""
    if frames.shape[1:3] == (world.SIZE, world.SIZE):
        return frames
    return np.stack([cv2.resize(f, (world.SIZE, world.SIZE), interpolation=cv2.INTER_AREA) for f in frames])


def sprite_mask(frames: np.ndarray) -> np.ndarray:
    """Which pixels ``[F, H, W]`` are closer to a sprite's colour than to any background's."""
    return _nearest_palette(frames) < len(_COLORS)


def _nearest_palette(frames: np.ndarray) -> np.ndarray:
    """Index ``[F, H, W]`` of the closest palette colour: sprites first, then dark and light backgrounds."""
    pixels = frames.astype(np.float32).reshape(-1, 3)
    distance = (_PALETTE**2).sum(1) - 2 * pixels @ _PALETTE.T
    return distance.argmin(1).reshape(frames.shape[:3])


def _coverage(frames: np.ndarray, color: np.ndarray, background: np.ndarray) -> np.ndarray:
    """How much of each pixel the sprite covers, ``[F, H, W]`` in [0, 1], over either tone of the background."""
    pixels = frames.astype(np.float32)
    best, cover = np.full(frames.shape[:3], np.inf, np.float32), np.zeros(frames.shape[:3], np.float32)
    for tone in (background, background + world.PATTERN_CONTRAST / 2, background + world.PATTERN_CONTRAST):
        axis = color - tone
        part = ((pixels - tone) @ axis / (axis @ axis)).clip(0, 1)
        error = np.square(pixels - tone - part[..., None] * axis).sum(-1)
        cover = np.where(error < best, part, cover)
        best = np.minimum(best, error)
    return cover


def _largest_blob(mask: np.ndarray) -> np.ndarray:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return np.zeros_like(mask)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return (labels == largest) & (stats[largest, cv2.CC_STAT_AREA] >= _LEAST_AREA)


def _centroid(weight: np.ndarray) -> tuple[float, float]:
    y, x = np.nonzero(weight)
    w = weight[y, x].astype(np.float64)
    return float((x * w).sum() / w.sum()), float((y * w).sum() / w.sum())


def _shape(cover: np.ndarray, blobs: np.ndarray) -> str | None:
    """The shape whose silhouettes match best over the clip; frames that cut the object count little."""
    names, templates = _templates()
    scores = np.zeros(len(world.SHAPES))
    for part, blob in zip(cover, blobs, strict=True):
        if not blob.any():
            continue
        near = cv2.dilate(blob.astype(np.uint8), np.ones((3, 3)))
        match = templates @ _normalised(part * near).ravel()
        cut = blob[0].any() or blob[-1].any() or blob[:, 0].any() or blob[:, -1].any()
        best = np.array([match[names == name].max() for name in world.SHAPES])
        scores += (best - best.mean()) * (0.05 if cut else 1.0) * np.sqrt(blob.sum())
    return world.SHAPES[int(scores.argmax())] if blobs.any() else None


@cache
def _templates() -> tuple[np.ndarray, np.ndarray]:
    """Shape names ``[T]`` and unit vectors ``[T, 32 * 32]``: each shape at each rotation, scale and softness."""
    names, vectors = [], []
    for shape, (turns, period) in _ROTATIONS.items():
        for i in range(turns):
            motion = world.Motion.still(1)
            motion.angle = motion.angle + np.deg2rad(period * i / turns)
            look = world.Look("red", shape, "black", size=44)
            cover = _coverage(world.render(look, motion), _COLORS[0], _BACKGROUNDS[0])[0]
            for scale in _SCALES:
                for blur in _BLURS:
                    names.append(shape)
                    vectors.append(cv2.GaussianBlur(_normalised(cover, scale, False), (0, 0), blur).ravel())
    stacked = np.stack([v - v.mean() for v in vectors])
    return np.array(names), stacked / np.linalg.norm(stacked, axis=1, keepdims=True)


def _normalised(cover: np.ndarray, scale: float = 1.0, unit: bool = True) -> np.ndarray:
    """A silhouette centred and brought to a fixed area, ``[32, 32]``; zero mean and norm 1 if ``unit``."""
    x, y = _centroid(cover)
    k = float(np.sqrt(cover.sum() / _CROP_AREA)) / scale
    mid = (_CROP - 1) / 2
    view = np.array([[k, 0, x - mid * k], [0, k, y - mid * k]], np.float32)
    crop = cv2.warpAffine(cover, view, (_CROP, _CROP), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    if unit:
        crop = crop - crop.mean()
        crop /= np.linalg.norm(crop) + 1e-6
    return crop


def pattern_of(frames: np.ndarray, sprite: np.ndarray) -> str:
    """Plain, checkered or striped, from how brightness varies where the object is not."""
    across, down, deviation = 0.0, 0.0, []
    for frame, mask in zip(frames, sprite, strict=True):
        seen = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7))) == 0
        grey = cv2.GaussianBlur(frame.astype(np.float32).mean(-1), (0, 0), 1.5)
        if seen.sum() < _LEAST_AREA:
            continue
        deviation.append(grey[seen].std())
        across += float(np.square(np.diff(grey, axis=1))[seen[:, 1:] & seen[:, :-1]].mean())
        down += float(np.square(np.diff(grey, axis=0))[seen[1:] & seen[:-1]].mean())
    if not deviation or np.median(deviation) < _PLAIN_DEVIATION:
        return "plain"
    return "striped" if across > _STRIPED_RATIO * down else "checkered"
