"""A motion embedding as a picture: what is known of it, where its energy lies, and how its clip moves."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from .embedding import MotionEmbedding
from .energy import PARTS, QUERY_KEY, short_names, views
from .lettering import clipped, line_height, text_width, wrapped, write
from .metrics.picture import arrows
from .motion_facts import facts

WIDTH = 880
_MARGIN, _GAP = 20, 16
_PAPER, _INK, _PALE, _TROUBLE, _NONE = (255, 255, 255), (40, 44, 52), (112, 118, 128), (214, 39, 40), (225, 227, 232)
_TITLE, _BODY, _SMALL = 30, 23, 20
_NAMES, _LEGEND, _ROW = 140, 70, 32
_LOWEST, _HIGHEST = 60, 540
_TICKS = 8
_BETWEEN, _HIGHEST_PICTURE = 6, 128
_MOMENTS = 3
_EXPLAINED = {QUERY_KEY: "which frames attend to each other", PARTS[1]: "what they take from each other"}


def motion_picture(
    motion: MotionEmbedding, frames: np.ndarray | None = None, tracks: np.ndarray | None = None
) -> np.ndarray:
    """uint8 ``[height, 880, 3]``: facts, heat maps of query-keys and values (layers down, frames across), arrows.

    Without the clip itself, the small pictures of it that the motion brings along stand in for the arrows.

    Args:
        frames: uint8 ``[F, H, W, 3]`` of the reference clip, at least two; no arrows without it.
        tracks: ``[N, F, 2]`` followed in it; in pixels, NaN where a point is not seen.
    """
    rows = [_facts(facts(motion))]
    names = short_names(motion.layers)
    rows += [_energy(part, views(motion, part), names) for part in PARTS]
    if frames is not None and tracks is not None:
        rows.append(_motion(frames, tracks))
    elif (small := _thumbnail(motion)) is not None:
        rows.insert(1, small)
    space = _sheet(_GAP)
    return np.concatenate([space, *(part for row in rows for part in (row, space))])


def _sheet(height: int) -> np.ndarray:
    return np.full((height, WIDTH, 3), _PAPER, np.uint8)


def _facts(found: dict[str, str]) -> np.ndarray:
    column = _MARGIN + max(text_width(name, _BODY) for name in found) + _GAP
    lines = [(name, wrapped(text, _BODY, WIDTH - column - _MARGIN, 3)) for name, text in found.items()]
    step, top = line_height(_BODY) + 3, line_height(_TITLE) + 10
    sheet, y = _sheet(top + step * sum(len(text) for _, text in lines)), top
    write(sheet, "Motion embedding", (_MARGIN, 0), _TITLE, _INK)
    for name, text in lines:
        write(sheet, name, (_MARGIN, y), _BODY, _PALE)
        for line in text:
            write(sheet, line, (column, y), _BODY, _TROUBLE if name == "trouble" else _INK)
            y += step
    return sheet


def _thumbnail(motion: MotionEmbedding) -> np.ndarray | None:
    """The pictures in the motion's file, side by side and as large as the row lets them be."""
    try:
        pictures = motion.thumbnail.frames() if motion.thumbnail else []
    except (OSError, ValueError):  # a shared file may hold anything
        return None
    if not len(pictures):
        return None
    height, width = pictures.shape[1:3]
    across = (WIDTH - 2 * _MARGIN - (len(pictures) - 1) * _BETWEEN) // len(pictures)
    scale = min(across / width, _HIGHEST_PICTURE / height)
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    head = line_height(_BODY) + 6
    sheet = _sheet(head + height)
    write(sheet, "its clip, in the small pictures that it brings along", (_MARGIN, 0), _BODY, _INK)
    for number, picture in enumerate(pictures):
        x = _MARGIN + number * (width + _BETWEEN)
        sheet[head:, x : x + width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
    return sheet


def _energy(part: str, shown: dict[str, np.ndarray], names: list[str]) -> np.ndarray:
    """A part's heat maps beside each other on one scale, with layer names on the left and a legend on the right."""
    if all((values < 0).all() for values in shown.values()):
        sheet = _sheet(line_height(_BODY))
        write(sheet, f"{part}: none in this motion", (_MARGIN, 0), _BODY, _INK)
        return sheet
    layers = len(names)
    cell = max(int(np.clip(_HIGHEST // layers, 4, _ROW)), -(-_LOWEST // layers))
    head, foot = line_height(_BODY) + line_height(_SMALL) + 12, 2 * line_height(_SMALL) + 8
    sheet = _sheet(head + cell * layers + foot)
    write(sheet, f"{part}: {_EXPLAINED[part]}", (_MARGIN, 0), _BODY, _INK)
    high = max((float(v[np.isfinite(v)].max(initial=0)) for v in shown.values()), default=0.0)
    left, width = _MARGIN + _NAMES, (WIDTH - 2 * _MARGIN - _NAMES - _LEGEND - _GAP * len(shown)) // len(shown)
    write(sheet, "layer", (left - 8, head - line_height(_SMALL) - 4), _SMALL, _PALE, align=1)
    every = -(-line_height(_SMALL) // cell)
    for index in range(0, layers, every):
        y = head + round((index + 0.5) * cell) - line_height(_SMALL) // 2
        write(sheet, clipped(names[index], _SMALL, _NAMES - 10), (left - 8, y), _SMALL, _INK, align=1)
    for number, (title, values) in enumerate(shown.items()):
        x = left + number * (width + _GAP)
        write(sheet, title, (x, head - line_height(_SMALL) - 4), _SMALL, _PALE)
        place = sheet[head : head + cell * layers, x : x + width]
        place[:] = cv2.resize(colours(values, high), place.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        _frame_axis(sheet[head + cell * layers :, x : x + width], values.shape[1])
    _legend(sheet[head : head + cell * layers, WIDTH - _MARGIN - _LEGEND :], high)
    return sheet


def colours(values: np.ndarray, high: float) -> np.ndarray:
    """uint8 ``[..., 3]`` of energies: dark for 0, yellow for ``high``, grey for nothing, red for no number."""
    part = np.nan_to_num(values, nan=0, posinf=0) / (high or 1.0)
    levels = (np.clip(part, 0, 1) * 255).round().astype(np.uint8)
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]
    picture = table[levels]
    picture[values < 0] = _NONE
    picture[~np.isfinite(values)] = _TROUBLE
    return picture


def _frame_axis(place: np.ndarray, frames: int) -> None:
    every = -(-frames // _TICKS)
    for frame in range(0, frames, every):
        at = round((frame + 0.5) * place.shape[1] / frames)
        write(place, str(frame + 1), (at, 2), _SMALL, _INK, align=0.5)
    write(place, "frame", (place.shape[1] // 2, line_height(_SMALL)), _SMALL, _PALE, align=0.5)


def _legend(place: np.ndarray, high: float) -> None:
    height = place.shape[0]
    bar = np.linspace(high or 1.0, 0, height)[:, None].repeat(14, axis=1)
    place[:, :14] = colours(bar, high)
    write(place, f"{high:.2g}", (20, 0), _SMALL, _INK)
    write(place, "0", (20, height - line_height(_SMALL)), _SMALL, _INK)
    if height > 4 * line_height(_SMALL):
        write(place, "rms", (20, (height - line_height(_SMALL)) // 2), _SMALL, _PALE)


def _motion(frames: np.ndarray, tracks: np.ndarray) -> np.ndarray:
    """The clip in a few moments, each with arrows to where its points are in the next."""
    width = (WIDTH - 2 * _MARGIN - (_MOMENTS - 1) * _GAP) // _MOMENTS
    stops = np.unique(np.linspace(0, len(frames) - 1, _MOMENTS + 1).round().astype(int))
    moments = [arrows(frames[a], tracks, a, b, width) for a, b in pairwise(stops)]
    head, below = line_height(_BODY) + 6, line_height(_SMALL) + 4
    sheet = _sheet(head + moments[0].shape[0] + below)
    title = f"the clip's motion, {len(tracks)} points followed over {len(frames)} frames"
    write(sheet, title if len(tracks) else "in the clip nothing could be followed", (_MARGIN, 0), _BODY, _INK)
    for number, (moment, a, b) in enumerate(zip(moments, stops, stops[1:], strict=False)):
        x = _MARGIN + number * (width + _GAP)
        sheet[head : head + moment.shape[0], x : x + width] = moment
        caption = f"frame {a + 1} to {b + 1}"
        write(sheet, caption, (x + width // 2, head + moment.shape[0] + 2), _SMALL, _PALE, align=0.5)
    return sheet
