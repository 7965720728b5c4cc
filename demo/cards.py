"""The pictures in the editor's list of templates: what a run gave, or, where no model could be run, its graph."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from motion_embedding.frame_choice import nearest_frames

SIDE = 512
_MARGIN, _GAP, _LABEL, _BELOW = 16, 8, 24, 12
_PAPER, _INK, _QUIET = "#16181d", "#e8eaed", "#9aa0a8"
_NODE, _NOTE, _LINK = "#353535", "#653", "#7d8590"
_LARGEST = 60_000


@dataclass(frozen=True)
class Strip:
    """A row of the card: a label, and under it ``shown`` of the uint8 frames ``[F, H, W, 3]``, evenly taken."""

    label: str
    frames: np.ndarray
    shown: int = 4

    @property
    def pictures(self) -> list[Image.Image]:
        return [Image.fromarray(self.frames[i]) for i in nearest_frames(len(self.frames), self.shown)]


def strips_card(strips: Sequence[Strip]) -> Image.Image:
    """The strips under one another, as large as they fit into ``SIDE x SIDE``, centred."""
    height = (SIDE - 2 * _MARGIN - len(strips) * _LABEL - (len(strips) - 1) * _BELOW) // len(strips)
    tall = len(strips) * (_LABEL + height) + (len(strips) - 1) * _BELOW
    cells = [min(height, _across(strip.shown)) for strip in strips]
    tall -= sum(height - cell for cell in cells)
    card = Image.new("RGB", (SIDE, SIDE), _PAPER)
    y = (SIDE - tall) // 2
    for strip, cell in zip(strips, cells, strict=True):
        y = _draw_strip(card, strip, y, cell) + _BELOW
    return card


def graph_card(strip: Strip, workflow: Mapping[str, Any]) -> Image.Image:
    """A strip of the reference, and below it the workflow's nodes and links, notes left out."""
    card = Image.new("RGB", (SIDE, SIDE), _PAPER)
    y = _draw_strip(card, strip, _MARGIN, _across(strip.shown)) + _BELOW
    pen = ImageDraw.Draw(card)
    pen.text((_MARGIN, y), "the graph", _QUIET, _font())
    _draw_graph(pen, workflow, (_MARGIN, y + _LABEL, SIDE - _MARGIN, SIDE - _MARGIN))
    return card


def encoded(card: Image.Image) -> bytes:
    """The card as a JPEG of at most 60 kB, as good as that allows."""
    for quality in range(92, 40, -4):
        buffer = io.BytesIO()
        card.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
        if buffer.tell() <= _LARGEST:
            break
    return buffer.getvalue()


def _across(count: int) -> int:
    return (SIDE - 2 * _MARGIN - (count - 1) * _GAP) // count


def _draw_strip(card: Image.Image, strip: Strip, y: int, cell: int) -> int:
    """Draw it from ``y`` down; returns where it ends."""
    pictures = strip.pictures
    width = len(pictures) * (cell + _GAP) - _GAP
    left = (SIDE - width) // 2
    ImageDraw.Draw(card).text((left, y), strip.label, _INK, _font())
    for i, picture in enumerate(pictures):
        card.paste(_square(picture, cell), (left + i * (cell + _GAP), y + _LABEL))
    return y + _LABEL + cell


def _square(picture: Image.Image, cell: int) -> Image.Image:
    """The middle of the picture, ``cell x cell``. Repeating pixels first keeps the edges of small sprites sharp."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    large = side * -(-2 * cell // side)
    picture = picture.crop((left, top, left + side, top + side)).resize((large, large), Image.Resampling.NEAREST)
    return picture.resize((cell, cell), Image.Resampling.BOX)


def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(17)


def _draw_graph(pen: ImageDraw.ImageDraw, workflow: Mapping[str, Any], box: tuple[int, int, int, int]) -> None:
    """The nodes as rectangles in their colours, ours with their titles, and the links as lines, fitted into ``box``."""
    nodes = {node["id"]: node for node in workflow["nodes"] if node["type"] != "MarkdownNote"}
    places = {key: np.array([*node["pos"], *node["size"]], float) for key, node in nodes.items()}
    corners = np.array([[x, y, x + w, y + h] for x, y, w, h in places.values()])
    low, high = corners[:, :2].min(0), corners[:, 2:].max(0)
    scale = min((box[2] - box[0]) / (high[0] - low[0]), (box[3] - box[1]) / (high[1] - low[1]))
    start = (np.array(box[:2]) + np.array(box[2:]) - scale * (low + high)) / 2

    def at(x: float, y: float) -> tuple[float, float]:
        return tuple(start + scale * np.array([x, y]))

    for _, origin, output, target, slot, _ in workflow["links"]:
        (x, y, width, _), (left, top, *_) = places[origin], places[target]
        pen.line([at(x + width, y + 14 + 20 * output), at(left, top + 14 + 20 * slot)], _LINK, 1)
    for key, (x, y, width, height) in places.items():
        pen.rounded_rectangle([*at(x, y), *at(x + width, y + height)], 4, nodes[key].get("bgcolor", _NODE), _PAPER)
