"""Write frames as an mp4 file that every player opens."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import torch
import torch.nn.functional as F

from .atomic import replacing

_BT709 = 1
_LIMITED_RANGE = 1
_GOOD = {"crf": "14", "preset": "medium"}
# One thread: the file depends on their number.
_LOSSLESS = {"qp": "0", "preset": "medium", "threads": "1"}


def write_video(path: str | Path, frames: torch.Tensor, fps: float, *, lossless: bool = False) -> None:
    """Write ``frames`` ``[F, H, W, 3]`` in 0..1 as H.264, yuv420p, mp4; the file appears only when complete.

    ``lossless`` keeps every sample of the yuv420p pictures; equal frames then give equal files. Odd sizes get their
    last row or column repeated once, which the pixel format needs. Missing folders are made. Raises ``ValueError``
    for another shape or a rate that is not positive, ``OSError`` where it cannot write.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise ValueError(f"frames must be [F, H, W, 3] with F >= 1, not {list(frames.shape)}")
    if not fps > 0:
        raise ValueError(f"fps must be positive, not {fps}")
    with replacing(path) as unfinished:
        height, width = (side + side % 2 for side in frames.shape[1:3])
        pictures = (_pixels(frame, height, width) for frame in frames)
        quality = _LOSSLESS if lossless else _GOOD
        encode_h264(str(unfinished), pictures, (width, height), fps, quality, {"movflags": "+faststart"})


def encode_h264(
    target: str | BinaryIO,
    pictures: Iterable[np.ndarray],
    size: tuple[int, int],
    fps: float,
    quality: dict[str, str],
    container_options: dict[str, str] | None = None,
) -> None:
    """Write ``pictures``, uint8 ``[height, width, 3]`` of an even ``size`` (width, height), to ``target`` as an mp4.

    ``quality`` are options of libx264, ``container_options`` of the mp4 writer.
    """
    width, height = size
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(target, mode="w", format="mp4", options=container_options or {}) as container:
        stream = container.add_stream("libx264", rate=rate, options=quality)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        # Untagged small videos are shown with the wrong matrix by players that assume high definition.
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        for pixels in pictures:
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(picture.reformat(format="yuv420p", dst_colorspace="ITU709")))
        container.mux(stream.encode(None))


def _pixels(frame: torch.Tensor, height: int, width: int) -> np.ndarray:
    """Bytes ``[height, width, 3]`` of one frame ``[H, W, 3]``, its border repeated up to the even size."""
    chw = frame.detach().float().cpu().permute(2, 0, 1)[None]
    padded = F.pad(chw, (0, width - chw.shape[-1], 0, height - chw.shape[-2]), mode="replicate")[0]
    return (padded.permute(1, 2, 0).clamp(0, 1) * 255).round().byte().contiguous().numpy()
