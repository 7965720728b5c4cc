"""The frames of a clip in one small JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from .frame_choice import nearest_frames

MOST_FRAMES = 24
_LARGEST = 128  # pixels along a frame's longer side
_QUALITIES = (88, 75, 55, 35, 15)


def picture_strip(clips: Sequence[np.ndarray], most_bytes: int) -> tuple[bytes, int]:
    """A JPEG of at most ``most_bytes``, and how many frames lie side by side in it; each clip is one row.

    clips: uint8 ``[F, h, w, 3]``, as many frames each, in the same form. Long clips lose frames, evenly, and large
        frames are made smaller.

    Raises :class:`ValueError` when no quality is poor enough.
    """
    count = min(len(clips[0]), MOST_FRAMES)
    chosen = nearest_frames(len(clips[0]), count)
    rows = [np.concatenate(list(clip[chosen]), axis=1) for clip in clips]
    strip = Image.fromarray(np.concatenate(rows, axis=0))
    part = min(1.0, _LARGEST / max(clips[0].shape[1:3]))
    while part > 0.1:
        # Each frame gets a whole number of pixels, so that a page can cut them out.
        size = [max(1, round(side * part)) for side in clips[0].shape[2:0:-1]]
        small = strip.resize((size[0] * count, size[1] * len(clips)), Image.Resampling.LANCZOS)
        for quality in _QUALITIES:
            file = BytesIO()
            small.save(file, "JPEG", quality=quality, subsampling=0)
            if file.tell() <= most_bytes:
                return file.getvalue(), count
        part *= 0.7
    raise ValueError(f"{count} frames do not fit into {most_bytes} bytes")
