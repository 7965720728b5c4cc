"""Where a decoded picture lands on the output canvas: size, crop, letterbox, rotation, alpha, bit depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import av
import numpy as np

Resize = Literal["crop", "fit", "stretch"]


@dataclass(frozen=True)
class Canvas:
    """The output picture: its size in pixels, and how a source of another shape is brought onto it."""

    width: int
    height: int
    resize: Resize
    keeps_scale: bool = False
    """Never shrink when cropping: the size was not asked for, only trimmed to a multiple."""


def canvas_for(source: tuple[float, float], width: int, height: int, resize: Resize, multiple: int) -> Canvas:
    """The canvas for an upright source of ``(width, height)`` display pixels.

    ``width`` and ``height`` of 0 mean: both, the source's size (trimmed down to a multiple); one, what the
    source's shape gives. Asked sizes go to the nearest multiple, at least one.
    """
    source_width, source_height = source
    if not width and not height:
        return Canvas(
            max(multiple, int(source_width) // multiple * multiple),
            max(multiple, int(source_height) // multiple * multiple),
            resize,
            keeps_scale=True,
        )
    wanted = (width or height * source_width / source_height, height or width * source_height / source_width)
    across, down = (max(1, int(size / multiple + 0.5)) * multiple for size in wanted)
    return Canvas(across, down, resize)


def scaled_size(source: tuple[float, float], canvas: Canvas) -> tuple[int, int]:
    """Size in pixels of the whole scaled picture, of which the canvas shows the middle or which it surrounds."""
    across, down = canvas.width / source[0], canvas.height / source[1]
    if canvas.resize == "stretch":
        return canvas.width, canvas.height
    if canvas.resize == "crop":
        scale = max(across, down, 1.0 if canvas.keeps_scale else 0.0)
        return max(canvas.width, round(source[0] * scale)), max(canvas.height, round(source[1] * scale))
    scale = min(across, down)
    return (
        min(canvas.width, max(1, round(source[0] * scale))),
        min(canvas.height, max(1, round(source[1] * scale))),
    )


def upright_size(frame: av.VideoFrame, pixel_aspect: float) -> tuple[float, float]:
    """Display ``(width, height)`` of a frame once its pixels are square and its rotation flag is obeyed."""
    width, height = frame.width * pixel_aspect, float(frame.height)
    return (height, width) if _quarter_turns(frame) % 2 else (width, height)


def render(frame: av.VideoFrame, canvas: Canvas, pixel_aspect: float = 1.0) -> np.ndarray:
    """Scale, turn upright and place one frame: float32 ``[height, width, 3]`` in 0..1, black where it does not reach.

    ``pixel_aspect`` is the width of a stored pixel over its height.
    """
    turns = _quarter_turns(frame)
    across, down = scaled_size(upright_size(frame, pixel_aspect), canvas)
    stored = (down, across) if turns % 2 else (across, down)
    upright = np.rot90(_scaled_rgb(frame, *stored), turns)
    return _centred(upright, canvas)


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Counter-clockwise quarter turns that bring the stored picture upright, 0 to 3."""
    return round(frame.rotation / 90) % 4


def _scaled_rgb(frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
    """Float32 ``[height, width, 3]`` in 0..1; what is transparent is black."""
    deep = any(component.bits > 8 for component in frame.format.components)
    if frame.format.has_palette or any(component.is_alpha for component in frame.format.components):
        frame = _over_black(frame, deep)
    shrinks = width * height < frame.width * frame.height
    pixels = frame.to_ndarray(
        width=width,
        height=height,
        format="rgb48le" if deep else "rgb24",
        interpolation="AREA" if shrinks else "BICUBIC",
    )
    return pixels.astype(np.float32) / (65535 if deep else 255)


def _over_black(frame: av.VideoFrame, deep: bool) -> av.VideoFrame:
    """Opaque copy. Done before scaling, so that the hidden colour of transparent pixels cannot bleed in."""
    rgba = frame.to_ndarray(format="rgba64le" if deep else "rgba").astype(np.float32)
    top = 65535 if deep else 255
    rgb = np.rint(rgba[..., :3] * (rgba[..., 3:] / top))
    if deep:
        return av.VideoFrame.from_ndarray(rgb.astype(np.uint16), format="rgb48le")
    return av.VideoFrame.from_ndarray(rgb.astype(np.uint8), format="rgb24")


def _centred(picture: np.ndarray, canvas: Canvas) -> np.ndarray:
    """The picture in the middle of the canvas, cropped where it is larger, black where it is smaller."""
    height, width = picture.shape[:2]
    top, left = int((canvas.height - height) / 2), int((canvas.width - width) / 2)
    cropped = picture[max(0, -top) : max(0, -top) + canvas.height, max(0, -left) : max(0, -left) + canvas.width]
    if cropped.shape[:2] == (canvas.height, canvas.width):
        return np.ascontiguousarray(cropped)
    placed = np.zeros((canvas.height, canvas.width, 3), np.float32)
    top, left = max(0, top), max(0, left)
    placed[top : top + cropped.shape[0], left : left + cropped.shape[1]] = cropped
    return placed
