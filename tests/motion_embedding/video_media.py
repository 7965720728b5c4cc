"""Clips made for tests: every frame carries its own number, readable after lossy coding."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

BITS = 8


def numbered(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """Bytes ``[height, width, 3]``: vertical black and white stripes, the bits of ``index`` from left to right."""
    bits = [(index >> (BITS - 1 - bit)) & 1 for bit in range(BITS)]
    row = np.repeat(np.array(bits, np.uint8) * 255, -(-width // BITS))[:width]
    return np.broadcast_to(row[None, :, None], (height, width, 3)).copy()


def numbers(frames: torch.Tensor) -> list[int]:
    """The numbers that the frames ``[F, H, W, 3]`` carry."""
    width = frames.shape[2]
    centres = [int((bit + 0.5) * width / BITS) for bit in range(BITS)]
    bits = (frames[:, frames.shape[1] // 2, centres].mean(-1) > 0.5).int()
    return [int("".join(map(str, row.tolist())), 2) for row in bits]


def make_clip(
    path: Path,
    count: int = 20,
    *,
    rate: int = 10,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: Iterable[float] | None = None,
    picture: Callable[[int], np.ndarray] = numbered,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    pixel_aspect: Fraction | None = None,
) -> Path:
    """Encode ``count`` pictures (uint8 rgb or rgba, or uint16 gray) at ``rate``, or shown at ``times`` (seconds)."""
    stamps = list(times) if times is not None else [index / rate for index in range(count)]
    formats = {(3, "uint8"): "rgb24", (4, "uint8"): "rgba", (1, "uint16"): "gray16le", (1, "uint8"): "gray"}
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = picture(0).shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        for index, stamp in enumerate(stamps):
            pixels = picture(index)
            channels = pixels.shape[2] if pixels.ndim == 3 else 1
            frame = av.VideoFrame.from_ndarray(pixels, format=formats[channels, pixels.dtype.name])
            frame.pts, frame.time_base = round(stamp * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode(None))
    return path


def make_animation(path: Path, count: int = 6, duration_ms: int | list[int] = 100, alpha: bool = False) -> Path:
    """A GIF or WebP, by the name's ending. With ``alpha`` the left half is transparent white, the right one red."""
    pictures = [Image.fromarray(numbered(index)) for index in range(count)]
    if alpha:
        pixels = np.full((48, 64, 4), (255, 0, 0, 255), np.uint8)
        pixels[:, :32] = (255, 255, 255, 0)
        pixels = [np.roll(pixels, index, axis=0) for index in range(count)]
        for index, one in enumerate(pixels):
            one[index, 60] = (0, 255, 0, 255)
        pictures = [Image.fromarray(one) for one in pixels]
    lossless = {"lossless": True, "exact": True} if path.suffix == ".webp" else {}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=duration_ms, loop=0, **lossless)
    return path


def quadrants(width: int, height: int) -> np.ndarray:
    """Bytes ``[height, width, 3]``: red, green over blue, white."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (255, 0, 0)
    pixels[: height // 2, width // 2 :] = (0, 255, 0)
    pixels[height // 2 :, : width // 2] = (0, 0, 255)
    pixels[height // 2 :, width // 2 :] = (255, 255, 255)
    return pixels


def rotate_flag(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write the display matrix ``(a, b, c, d)`` (x' = ax + cy, y' = bx + dy) into an mp4's track header."""
    content = bytearray(path.read_bytes())
    # Track header, version 0: its matrix starts 40 bytes after the end of the type (ISO 14496-12, 8.3.2).
    at = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (int(value * 65536).to_bytes(4, "big", signed=True) for value in matrix)
    zero = bytes(4)
    content[at : at + 36] = a + b + zero + c + d + zero + zero + zero + (1 << 30).to_bytes(4, "big")
    path.write_bytes(content)
    return path
