"""The ablation's results as CSV, Markdown and a figure."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from .variants import Variant

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
    """Motion against leakage: the upper left corner is what everybody wants."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    groups = list(dict.fromkeys(line["group"] for line in table))
    fig, axes = plt.subplots(figsize=(9, 6), dpi=110)
    placed: list[tuple[float, float]] = []
    for group in groups:
        points = [line for line in table if line["group"] == group and line["track_n"]]
        x, y = [p["leak"] for p in points], [p["track"] for p in points]
        axes.scatter(x, y, s=46, label=group, zorder=3)
        for p, px, py in zip(points, x, y, strict=True):
            crowd = sum(abs(px - qx) < 0.09 and abs(py - qy) < 0.03 for qx, qy in placed)
            placed.append((px, py))
            axes.annotate(p["variant"], (px, py), (7, 3 - 10 * crowd), textcoords="offset points", fontsize=7.5)
    axes.set_xlabel("share of clips in which the reference's look shows")
    axes.set_ylabel("track correlation with the reference")
    axes.set_title("Motion against leakage, tiny model, 8 clips x 6 scenes x 2 seeds")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    fig.tight_layout()
    fig.savefig(path)
