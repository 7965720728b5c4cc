"""The ablation's results as CSV, Markdown and a figure."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .variants import VARIANTS, Variant

Limits = tuple[float, float, float, float]
_CORNER: Limits = (-0.008, 0.16, 0.9, 1.006)
COLUMNS = {
    "track": "track correlation",
    "fidelity": "motion fidelity",
    "color": "colour",
    "shape": "shape",
    "background": "background",
    "leak": "leaked",
    "camera_error": "camera error",
    "camera_leak": "leaked, camera clips",
}


def spread(results: Sequence[Sequence[dict]], column: str) -> tuple[float, float, int]:
    """Mean over all samples, standard deviation of the clips' means, and the number of samples.

    results: one list of samples per clip. Samples whose metric does not apply (NaN) do not count.
    """
    clips = [[r[column] for r in clip if not math.isnan(r[column])] for clip in results]
    clips = [c for c in clips if c]
    values = [v for c in clips for v in c]
    if not values:
        return math.nan, math.nan, 0
    return float(np.mean(values)), float(np.std([np.mean(c) for c in clips])), len(values)


def summarise(rows: Iterable[tuple[Variant, Sequence[Sequence[dict]], Sequence[Sequence[dict]]]]) -> list[dict]:
    """One dictionary per variant: ``group``, ``variant``, and per column its mean, spread and count.

    rows: a variant and its samples, one list per clip: of clips whose object moves, and of those whose camera does.
    """
    table = []
    for variant, paths, cameras in rows:
        line = {"group": variant.group, "variant": variant.name}
        for column in COLUMNS:
            clips, metric = (cameras, column) if column.startswith("camera") else (paths, column)
            mean, sd, count = spread(clips, "leak" if column == "camera_leak" else metric)
            line |= {column: mean, f"{column}_sd": sd, f"{column}_n": count}
        table.append(line)
    return table


def write_csv(table: Sequence[dict], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in line.items()} for line in table)


def read_csv(path: Path) -> list[dict]:
    """What :func:`write_csv` wrote; nothing where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: _value(name, cell) for name, cell in line.items()} for line in csv.DictReader(file)]


def _value(name: str, cell: str) -> Any:
    return cell if name in ("group", "variant") else int(cell) if name.endswith("_n") else float(cell)


def merged(table: Sequence[dict], older: Sequence[dict]) -> list[dict]:
    """Both, in the order of the variants; a line of fewer samples in any column leaves the older one as it is."""
    lines = {(line["group"], line["variant"]): line for line in older}
    for line in table:
        before = lines.get(key := (line["group"], line["variant"]))
        if before is None or all(line[f"{column}_n"] >= before[f"{column}_n"] for column in COLUMNS):
            lines[key] = line
    groups = list(dict.fromkeys([v.group for v in VARIANTS] + [group for group, _ in lines]))
    order = [(variant.group, variant.name) for variant in VARIANTS]
    keys = sorted(lines, key=lambda k: (groups.index(k[0]), order.index(k) if k in order else len(order)))
    return [lines[key] for key in keys]


def needs_matplotlib() -> None:
    """Ends the program where the figure could not be drawn, before hours go into what is to be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        extra = f"{sys.executable} -m pip install 'matplotlib>=3.8'"
        raise SystemExit(f"The figure needs matplotlib, the pack's extra 'ablation': {extra}") from None


def markdown(table: Sequence[dict]) -> str:
    """Mean and, small, the spread over clips. A dash where a metric does not apply."""
    lines = ["| | " + " | ".join(COLUMNS.values()) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    group = None
    for line in table:
        if line["group"] != group:
            group = line["group"]
            lines.append(f"| **{group}** |" + " |" * len(COLUMNS))
        cells = [_cell(line[c], line[f"{c}_sd"], line[f"{c}_n"]) for c in COLUMNS]
        lines.append(f"| {line['variant']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(mean: float, sd: float, count: int) -> str:
    return f"{mean:.2f} ± {sd:.2f}" if count else "-"


def figure(table: Sequence[dict], path: Path) -> None:
    """Motion against leakage, whole and zoomed in on the upper left corner, which is what everybody wants."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    points = [line for line in table if line["track_n"]]
    groups = list(dict.fromkeys(line["group"] for line in points))
    fig, (whole, corner, names) = plt.subplots(1, 3, figsize=(13, 5.6), dpi=100, width_ratios=(5, 5, 3.4))
    numbered = list(enumerate(points, 1))
    for axes, limits in ((whole, (-0.02, 0.52, 0.0, 1.04)), (corner, _CORNER)):
        for colour, group in enumerate(groups):
            of_group = [line for line in points if line["group"] == group]
            places = [(line["leak"], line["track"]) for line in of_group]
            axes.scatter(*zip(*places, strict=True), s=34, color=f"C{colour}", zorder=3)
        _number(axes, [n for n in numbered if axes is corner or not _inside(n[1], _CORNER)], limits)
        axes.set(xlim=limits[:2], ylim=limits[2:], xlabel="share of clips in which the reference's look shows")
        axes.grid(alpha=0.3)
    whole.set(ylabel="track correlation with the reference", title="Motion against leakage")
    corner.set_title("its upper left corner")
    names.axis("off")
    for row, line in enumerate(points):
        colour = f"C{groups.index(line['group'])}"
        names.text(0, 1 - row / len(points), f"{row + 1}  {line['variant']}", fontsize=8, color=colour, va="top")
    fig.tight_layout()
    fig.savefig(path)


def _inside(line: dict, limits: Limits) -> bool:
    left, right, low, high = limits
    return left <= line["leak"] <= right and low <= line["track"] <= high


def _number(axes: Any, numbered: Sequence[tuple[int, dict]], limits: Limits) -> None:
    """Write each point's number beside it, those of points that fall together in one row."""
    *_, low, high = limits
    together: dict[tuple[float, int], list[tuple[int, float]]] = {}
    for number, line in numbered:
        if _inside(line, limits):
            place = (line["leak"], round((line["track"] - low) / (high - low) * 25))
            together.setdefault(place, []).append((number, line["track"]))
    for (x, _), members in together.items():
        text = ", ".join(str(number) for number, _ in members)
        axes.annotate(text, (x, members[0][1]), (5, -9), textcoords="offset points", fontsize=8)
