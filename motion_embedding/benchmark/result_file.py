"""The video among the files that an output node wrote."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from .job_prompt import JobError

VIDEOS = frozenset({".mp4", ".webm", ".mkv", ".mov", ".avi", ".gif", ".webp"})
PICTURES = frozenset({".png", ".jpg", ".jpeg"})
_USUAL_RATE = 8.0


def read_result(files: Sequence[Path], clip: bytes) -> tuple[bytes, str]:
    """The bytes of the one video among ``files``, and its suffix; a series of pictures becomes an mp4 file.

    Pictures say nothing about time: they are shown at the rate of ``clip``, the reference. Raises :class:`JobError`
    where there is no video, more than one, a single picture, pictures of different sizes, or a file that was not
    written.
    """
    videos = [file for file in files if file.suffix.lower() in VIDEOS]
    pictures = [file for file in files if file.suffix.lower() in PICTURES]
    if missing := [file.name for file in [*videos, *pictures] if not file.is_file()]:
        raise JobError(f"The output node reports a file that it did not write: {missing[0]}.")
    if len(videos) > 1:
        raise JobError(f"The output node wrote {len(videos)} videos: {', '.join(file.name for file in videos)}.")
    if videos:
        return videos[0].read_bytes(), videos[0].suffix.lower()
    if len(pictures) > 1:
        return _encoded(pictures, _rate(clip)), ".mp4"
    written = ", ".join(file.name for file in files) or "nothing"
    raise JobError(f"The output node wrote no video, but {written}.")


def _encoded(pictures: Sequence[Path], rate: float) -> bytes:
    # Here and not above: few results need them, and a worker without them starts at once and takes 0.5 GB less.
    import numpy as np
    import torch
    from PIL import Image

    from ..video_writing import write_video

    frames = [np.asarray(Image.open(picture).convert("RGB")) for picture in pictures]
    if len({frame.shape for frame in frames}) > 1:
        raise JobError("The output node wrote pictures of different sizes.")
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "series.mp4"
        write_video(video, torch.from_numpy(np.stack(frames)).float() / 255, rate)
        return video.read_bytes()


def _rate(clip: bytes) -> float:
    """Frames per second of a video file."""
    from ..video_source import open_clip

    try:
        with open_clip(io.BytesIO(clip), "clip") as opened:
            return opened.rate or _USUAL_RATE
    except InputError:
        return _USUAL_RATE
