"""Motion fidelity against text similarity (or what there is in its place) as an SVG picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from .columns import COLUMNS, Column
from .comparison import Comparison
from .report_tables import COLOURS
from .scored import Row
from .statistics import Estimate

_WIDTH, _HEIGHT = 960, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 16, 52
_MOST_DOTS, _MANY_DOTS = 3000, 500
_BY_KEY = {column.key: column for column in COLUMNS}


def across(comparison: Comparison) -> str:
    """The name of what motion fidelity is set against."""
    column = _across(comparison)
    return column.label if column else "text"


def scatter(comparison: Comparison, rows: Sequence[Row]) -> str:
    """One dot per item of ``rows`` (``data-item`` is its index there), one cross per method at its mean.

    Of more than 3000 items an even choice is drawn, and said so.
    """
    right = _across(comparison)
    if right is None:
        return (
            '<p class="note">Neither text similarity nor appearance leakage was measured (the benchmark names no CLIP '
            "under <code>metrics</code>), so there is nothing to set motion against.</p>"
        )
    up = _BY_KEY["motion_fidelity"]
    dots = [
        (index, row, row.values[right.key], row.values[up.key])
        for index, row in enumerate(rows)
        if row.values.get(right.key) is not None and row.values.get(up.key) is not None
    ]
    frame = _Frame([x for *_, x, _ in dots], [y for *_, y in dots])
    drawn = dots
    if len(dots) > _MOST_DOTS:
        drawn = [dots[index] for index in np.linspace(0, len(dots) - 1, _MOST_DOTS).round().astype(int)]
    radius = 4.5 if len(drawn) < _MANY_DOTS else 3
    parts = [frame.grid(right, up), _chance(comparison, frame)]
    parts += [
        f'<circle class="dot m{_colour(comparison, row)}" data-item="{index}" '
        f'cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="{radius}"/>'
        for index, row, x, y in drawn
    ]
    parts += [_cross(comparison, index, right, up, frame) for index in range(len(comparison.methods))]
    picture = (
        f'<div class="scroll"><svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(up.label)} against {escape(right.label)}">{"".join(parts)}</svg></div>'
    )
    notes = f"{len(drawn)} of {len(dots)} items are drawn. " if len(drawn) < len(dots) else ""
    if right.key != "text_similarity":
        notes += "Text similarity was not measured; appearance leakage stands in its place."
    return _legend(comparison) + picture + (f'<p class="note">{notes}</p>' if notes else "")


class _Frame:
    """The plot's area and its two scales."""

    def __init__(self, across: Sequence[float], up: Sequence[float]) -> None:
        self.xs, self.ys = _ticks(min(across), max(across)), _ticks(min(up), max(up))

    def x(self, value: float) -> float:
        share = (value - self.xs[0]) / (self.xs[-1] - self.xs[0])
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.ys[0]) / (self.ys[-1] - self.ys[0])
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def grid(self, across: Column, up: Column) -> str:
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        parts = []
        for value in self.xs:
            at = f"{self.x(value):.1f}"
            parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{_TOP}" y2="{bottom}"/>')
            parts.append(f'<text class="tick" x="{at}" y="{bottom + 18}" text-anchor="middle">{value:.10g}</text>')
        for value in self.ys:
            at = f"{self.y(value):.1f}"
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at}" y2="{at}"/>')
            parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{at}" dy="4" text-anchor="end">{value:.10g}</text>')
        middle_x, middle_y = (_LEFT + right) / 2, (_TOP + bottom) / 2
        words = {
            column.key: f"{column.label} ({'higher' if column.higher else 'lower'} is better)" for column in COLUMNS
        }
        parts.append(
            f'<text class="axis" x="{middle_x}" y="{_HEIGHT - 8}" text-anchor="middle">{words[across.key]}</text>'
        )
        parts.append(
            f'<text class="axis" transform="translate(20 {middle_y}) rotate(-90)" text-anchor="middle">'
            f"{words[up.key]}</text>"
        )
        return "".join(parts)


def _across(comparison: Comparison) -> Column | None:
    """What goes across: text similarity, else appearance leakage, else nothing."""
    measured = {column.key for column in comparison.shown()}
    keys = [key for key in ("text_similarity", "appearance_leakage") if key in measured]
    return _BY_KEY[keys[0]] if keys and "motion_fidelity" in measured else None


def _ticks(low: float, high: float) -> list[float]:
    """Five or so round numbers that reach from below ``low`` to above ``high``."""
    span = max(high - low, 1e-3)
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if factor * step >= span / 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(index * step, 10) for index in range(first, max(last, first + 1) + 1)]


def _chance(comparison: Comparison, frame: _Frame) -> str:
    """A line at the mean chance level of all methods, where it lies within the plot."""
    levels = [
        found.mean for method in comparison.methods if (found := comparison.mean(method, "motion_fidelity_chance"))
    ]
    if not levels or not frame.ys[0] <= (level := sum(levels) / len(levels)) <= frame.ys[-1]:
        return ""
    at = f"{frame.y(level):.1f}"
    return (
        f'<line class="chance" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>'
        f'<text class="tick" x="{_WIDTH - _RIGHT - 4}" y="{at}" dy="-5" text-anchor="end">chance</text>'
    )


def _cross(comparison: Comparison, index: int, across: Column, up: Column, frame: _Frame) -> str:
    """A method's means with their intervals as a cross."""
    x, y = (comparison.mean(comparison.methods[index], column.key) for column in (across, up))
    if x is None or y is None:
        return ""
    left, right = (frame.x(end) for end in _ends(x))
    bottom, top = (frame.y(end) for end in _ends(y))
    at_x, at_y = frame.x(x.mean), frame.y(y.mean)
    lines = f"M{left:.1f} {at_y:.1f}H{right:.1f}M{at_x:.1f} {bottom:.1f}V{top:.1f}"
    return (
        f'<g class="mean m{index % COLOURS}"><path class="halo" d="{lines}"/><path d="{lines}"/>'
        f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="7"/></g>'
    )


def _ends(found: Estimate) -> tuple[float, float]:
    return (found.mean, found.mean) if found.low is None else (found.low, found.high)


def _legend(comparison: Comparison) -> str:
    entries = "".join(
        f'<li><i class="swatch m{index % COLOURS}"></i>{escape(method)}</li>'
        for index, method in enumerate(comparison.methods)
    )
    return f'<ul class="legend">{entries}</ul>'


def _colour(comparison: Comparison, row: Row) -> int:
    return comparison.methods.index(row.method) % COLOURS
