"""The motions in a folder, as a person browses them: what each file says of itself, without its tensors."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import files
from .embedding import video_frames
from .errors import InputError
from .thumbnail import Thumbnail


def motion_file(path: str | Path) -> dict[str, Any]:
    """What is known of the file, for JSON. A file that cannot be read is known by its ``trouble``.

    size: in bytes. changed: when, in milliseconds since 1970. family, frames (latent ones), video_frames, width and
    height (of the latent), fps (0 when unknown), prompt, pictures (of its thumbnail, 0 without).
    Raises :class:`OSError` where it has vanished.
    """
    return _known(*_state(path))[0]


def motion_thumbnail(path: str | Path) -> bytes | None:
    """The WebP strip of the file's thumbnail. Raises :class:`OSError` where the file has vanished."""
    return _known(*_state(path))[1]


def _state(path: str | Path) -> tuple[str, int, int]:
    status = Path(path).stat()
    return str(path), status.st_mtime_ns, status.st_size


@lru_cache(maxsize=4096)
def _known(path: str, changed: int, size: int) -> tuple[dict[str, Any], bytes | None]:
    known: dict[str, Any] = {"size": size, "changed": changed // 1_000_000, "trouble": None, "pictures": 0}
    try:
        document = files.read_metadata(path)
        frames, training = int(document["frames"]), document.get("training") or {}
        thumbnail = Thumbnail.read(document.get("thumbnail"))
        known |= {
            "family": str(document["backbone"]),
            "frames": frames,
            "video_frames": video_frames(frames, int(training.get("frames_each", 1))),
            "width": int(document["width"]),
            "height": int(document["height"]),
            "fps": _finite(document["fps"]),
            "prompt": str(training.get("prompt") or "").strip(),
            "pictures": thumbnail.pictures if thumbnail else 0,
        }
    except InputError as error:
        return known | {"trouble": f"{error.cause} {error.mend}"}, None
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        cause = f"the description in {Path(path).name} cannot be read ({error!r})."
        return known | {"trouble": f"{cause} Copy or train it again."}, None
    return known, thumbnail.strip if thumbnail else None


def _finite(number: float) -> float:
    """JSON as browsers read it knows no other numbers; Python's does."""
    if not math.isfinite(number):
        raise ValueError(f"{number} is no number")
    return float(number)
