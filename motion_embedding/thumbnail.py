"""The small picture of a clip that travels with its motion: frames of it side by side, as WebP."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from .frame_choice import nearest_frames

MOST_BYTES = 6000  # 8 kB as the text it is in a file
_MOST_PICTURES = 8
_BOX = (96, 64)
_QUALITIES = (70, 50, 30, 15, 5)
_LARGEST_READ = 65_536


@dataclass(frozen=True)
class Thumbnail:
    """strip: a WebP of ``pictures`` equally wide pictures side by side, in the order of time."""

    strip: bytes
    pictures: int

    @classmethod
    def of(cls, frames: np.ndarray) -> Thumbnail | None:
        """Of a clip uint8 ``[F, H, W, 3]``: at most 8 frames spread over it, at most 6000 bytes.

        Frames are made smaller where they are larger than 96x64, never larger. None of a clip of no frames.
        """
        if not frames.size:
            return None
        for most in (_MOST_PICTURES, 4, 2, 1):
            small = [_fitted(frame) for frame in frames[nearest_frames(len(frames), min(len(frames), most))]]
            for quality in _QUALITIES:
                strip = _webp(np.concatenate(small, axis=1), quality)
                if len(strip) <= MOST_BYTES:
                    return cls(strip, len(small))
        return None

    @classmethod
    def read(cls, document: Any) -> Thumbnail | None:
        """What :meth:`document` gave; None where it is anything else, since a picture is no reason to refuse a file."""
        try:
            strip, pictures = base64.b64decode(document["webp"], validate=True), int(document["pictures"])
        except (KeyError, TypeError, ValueError, OverflowError, binascii.Error):
            return None
        is_webp = strip[:4] == b"RIFF" and strip[8:12] == b"WEBP" and len(strip) <= _LARGEST_READ
        return cls(strip, pictures) if is_webp and 1 <= pictures <= _MOST_PICTURES else None

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"webp": base64.b64encode(self.strip).decode(), "pictures": self.pictures}

    def frames(self) -> np.ndarray:
        """Its pictures: uint8 ``[n, h, w, 3]``. Raises ``OSError`` where the strip is no readable picture."""
        try:
            with Image.open(BytesIO(self.strip)) as picture:
                strip = np.asarray(picture.convert("RGB"))
        except Image.DecompressionBombError as error:
            raise OSError(str(error)) from error
        width = strip.shape[1] // self.pictures
        return strip[:, : width * self.pictures].reshape(len(strip), self.pictures, width, 3).swapaxes(0, 1)

    def edited(self, edit: Callable[[np.ndarray], np.ndarray]) -> Thumbnail | None:
        """That of the clip that ``edit`` makes of its pictures ``[n, h, w, 3]``."""
        try:
            return Thumbnail.of(edit(self.frames()))
        except (OSError, ValueError):
            return None


def _fitted(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    scale = min(1, _BOX[0] / width, _BOX[1] / height)
    if scale == 1:
        return frame
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS))


def _webp(picture: np.ndarray, quality: int) -> bytes:
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "WEBP", quality=quality, method=6)
    return file.getvalue()
