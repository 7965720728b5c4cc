"""One labelled picture of many clips: a row per clip, its frames from left to right."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from motion_embedding.atomic import replacing

_PAPER, _INK, _QUIET, _RULE, _ACCENT = "#ffffff", "#1c1f24", "#6b7280", "#e3e6ea", "#2563eb"
_TRACK = (255, 255, 255)
_TRACK_EDGE = (20, 22, 26)
_MARGIN, _GAP, _LABEL_WIDTH = 24, 5, 230
_LABEL_SIZE, _NOTE_SIZE, _HEADING_SIZE, _TITLE_SIZE = 16, 13, 15, 25
_HEADING_HEIGHT, _TITLE_HEIGHT = 40, 44
_OVERSAMPLING = 3


@dataclass(frozen=True)
class Row:
    """One clip: what it is called, a quiet second line, and the object's path over it.

    ``frames`` uint8 ``[F, H, W, 3]``; ``track [F, 2]`` (x, y) in pixels of those frames, NaN where unseen.
    """

    label: str
    frames: np.ndarray
    note: str = ""
    track: np.ndarray | None = None


def contact_sheet(rows: Sequence[Row | str], title: str = "", cell: int = 96) -> np.ndarray:
    """Lay clips out under one another.

    Args:
        rows: clips, and between them plain strings, which become section headings.
        title: a line above everything.
        cell: height of a frame in the picture; wider frames keep their shape.

    Returns:
        uint8 ``[H, W, 3]``.

    Raises:
        ValueError: when there is no clip at all.
    """
    clips = [row for row in rows if isinstance(row, Row)]
    if not clips:
        raise ValueError("a contact sheet needs at least one clip")
    widest = max(len(c.frames) * (_cell_width(c.frames, cell) + _GAP) - _GAP for c in clips)
    heights = [cell + _GAP if isinstance(row, Row) else _HEADING_HEIGHT for row in rows]
    top = _MARGIN + (_TITLE_HEIGHT if title else 0)
    size = (2 * _MARGIN + _LABEL_WIDTH + widest, top + sum(heights) - _GAP + _MARGIN)
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    if title:
        pen.text((_MARGIN, _MARGIN - 4), title, _INK, _font(_TITLE_SIZE))
    for row, height in zip(rows, heights, strict=True):
        if isinstance(row, Row):
            _draw_label(pen, row, top, cell)
            _paste_frames(sheet, row, top, cell)
        else:
            _draw_heading(pen, row, top, size[0])
        top += height
    return np.asarray(sheet)


def save_png(path: Path, image: np.ndarray) -> None:
    """Write uint8 ``[H, W, 3]``; a reader never sees half a file."""
    with replacing(path) as unfinished:
        Image.fromarray(image).save(unfinished, format="PNG", optimize=True)


def _draw_heading(pen: ImageDraw.ImageDraw, text: str, top: int, width: int) -> None:
    baseline = top + _HEADING_HEIGHT - 10
    pen.text((_MARGIN, baseline), text, _ACCENT, _font(_HEADING_SIZE), anchor="ls")
    start = _MARGIN + pen.textlength(text, _font(_HEADING_SIZE)) + 12
    pen.line([(start, baseline - 5), (width - _MARGIN, baseline - 5)], _RULE, 1)


def _draw_label(pen: ImageDraw.ImageDraw, row: Row, top: int, cell: int) -> None:
    """The label, wrapped, and the note below it, centred on the row's height."""
    lines = [(line, _LABEL_SIZE, _INK) for line in _wrapped(row.label, _LABEL_SIZE)]
    lines += [(line, _NOTE_SIZE, _QUIET) for line in _wrapped(row.note, _NOTE_SIZE)]
    y = top + (cell - sum(size + 5 for _, size, _ in lines)) / 2
    for line, size, colour in lines:
        pen.text((_MARGIN, y), line, colour, _font(size))
        y += size + 5


def _wrapped(text: str, size: int) -> list[str]:
    return textwrap.wrap(text, int((_LABEL_WIDTH - 14) / (0.52 * size)))


def _paste_frames(sheet: Image.Image, row: Row, top: int, cell: int) -> None:
    width = _cell_width(row.frames, cell)
    for i, frame in enumerate(row.frames):
        picture = Image.fromarray(frame)
        enlarging = cell >= picture.height
        picture = picture.resize((width, cell), Image.Resampling.BICUBIC if enlarging else Image.Resampling.BOX)
        if row.track is not None:
            picture = _with_track(picture, row.track[: i + 1] * (cell / frame.shape[0]))
        sheet.paste(picture, (_MARGIN + _LABEL_WIDTH + i * (width + _GAP), top))


def _with_track(picture: Image.Image, path: np.ndarray) -> Image.Image:
    """The path so far as a line that ends in a dot, light with a dark edge so that it shows on any colour."""
    k = _OVERSAMPLING
    large = picture.resize((picture.width * k, picture.height * k), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(large)
    points = [((x + 0.5) * k, (y + 0.5) * k) for x, y in path[np.isfinite(path).all(1)]]
    for colour, width, radius in ((_TRACK_EDGE, 4, 4), (_TRACK, 2, 3)):
        if len(points) > 1:
            pen.line(points, colour, width * k, joint="curve")
        if points and np.isfinite(path[-1]).all():
            x, y = points[-1]
            pen.ellipse([x - radius * k, y - radius * k, x + radius * k, y + radius * k], colour)
    return large.resize(picture.size, Image.Resampling.BOX)


def _cell_width(frames: np.ndarray, cell: int) -> int:
    return round(cell * frames.shape[2] / frames.shape[1])


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
