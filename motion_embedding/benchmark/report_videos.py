"""The videos of the report: which items get one, and small copies of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..video_writing import encode_h264
from .instruments import read_frames
from .scored import UNREADABLE, Row

_WIDEST = 256
# One thread: the same bytes on every machine. And no look ahead: in pictures of 64 pixels it varies from run to run.
_SMALL = {"crf": "24", "preset": "slow", "threads": "1", "x264-params": "rc-lookahead=0:mbtree=0"}
_USUAL_RATE = 8.0


@dataclass(frozen=True)
class SmallVideo:
    """An H.264 mp4 as base64 text, and its size in pixels."""

    base64: str
    width: int
    height: int


def choose(rows: Sequence[Row], most: int) -> list[int]:
    """Indices of the at most ``most`` rows that get a video: whole scenes, the best, the worst, and evenly between.

    A scene is a clip, prompt and seed with every method's result. Scenes are ranked by their mean motion fidelity
    (those without come last) and taken at even steps of the rank, first and last included.
    """
    scenes: dict[tuple[str, str, int], list[int]] = {}
    for index, row in enumerate(rows):
        if row.file is not None and row.status != UNREADABLE:
            scenes.setdefault(row.scene, []).append(index)
    if not scenes or most <= 0:
        return []
    # sorted() is stable: equal scenes stay in the benchmark's order.
    ranked = sorted(scenes.values(), key=lambda members: -_fidelity([rows[index] for index in members]))
    count = min(len(ranked), -(-most * len(ranked) // sum(map(len, ranked))))
    steps = np.linspace(0, len(ranked) - 1, count).round().astype(int).tolist()
    # The ends first, for where the last scene is cut by the limit.
    order = [steps[0], *reversed(steps[1:])]
    chosen = [index for step in order for index in ranked[step]]
    return sorted(chosen[:most])


def shrink(video: Path, widest: int = _WIDEST) -> SmallVideo:
    """A copy for the page, at most ``widest`` pixels wide, every frame kept.

    Raises:
        InputError: the file is not a video.
    """
    frames, rate = read_frames(video)
    height, width = frames.shape[1:3]
    scale = min(1.0, widest / width)
    # yuv420p halves colour: both sides must be even.
    size = tuple(max(2, round(side * scale / 2) * 2) for side in (width, height))
    if size != (width, height):
        frames = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])
    content = base64.b64encode(_encoded(frames, rate or _USUAL_RATE)).decode()
    return SmallVideo(content, *size)


def _fidelity(rows: Sequence[Row]) -> float:
    known = [value for row in rows if (value := row.values.get("motion_fidelity")) is not None]
    return sum(known) / len(known) if known else float("-inf")


def _encoded(frames: np.ndarray, rate: float) -> bytes:
    """Frames ``[F, H, W, 3]`` uint8 of even size as an mp4."""
    file = io.BytesIO()
    height, width = frames.shape[1:3]
    encode_h264(file, frames, (width, height), rate, _SMALL)
    return file.getvalue()
