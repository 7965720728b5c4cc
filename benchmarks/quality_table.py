"""What ``time_to_quality`` found: its table, the passes until a quality is reached, and the figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from .quality_curves import CURVES, PRESETS, PUBLISHED
from .tables import Cells, Table

COLUMNS = (
    "model",
    "training",
    "steps",
    "passes",
    "clips",
    "track correlation",
    "worst clip",
    "fidelity",
    "leaked",
    "shape right",
    "device",
)
QUALITIES = (0.5, 0.9, 0.99)
TITLES = {"hard": "UNet, a scene that resists"}
_TABLE = Table(COLUMNS, 3)
_ORDER = [(curve.model, curve.name) for curve in CURVES]


@dataclass(frozen=True)
class Point:
    """A row: what was learnt after ``steps``, on average over so many clips; ``worst`` is the worst clip's track."""

    model: str
    training: str
    steps: int
    passes: int
    clips: int
    track: float
    worst: float
    fidelity: float
    leak: float
    shape: float
    device: str = ""

    @property
    def cells(self) -> Cells:
        return tuple(f"{value:.3f}" if isinstance(value, float) else str(value) for value in astuple(self))

    @classmethod
    def of(cls, cells: Cells) -> Point:
        kinds = {"str": str, "int": int, "float": float}
        return cls(*(kinds[field.type](cell) for field, cell in zip(fields(cls), cells, strict=True)))


def merged(points: Sequence[Point], page: str) -> Table:
    """The rows of ``page`` with those of ``points`` in the place of the same model, training and steps, by curve.

    What was measured on fewer clips than the row that is there does not take its place.
    """
    new = _TABLE.with_rows(point.cells for point in points)
    whole = new.over(_TABLE.found(page), lambda now, before: Point.of(now).clips >= Point.of(before).clips)
    return whole.with_rows(sorted(whole.rows, key=_place))


def _place(row: Cells) -> tuple[int, int]:
    """In the order of the curves, by steps; those that are no more at the end."""
    return _ORDER.index(row[:2]) if row[:2] in _ORDER else len(_ORDER), int(row[2])


def curves(table: Table) -> dict[tuple[str, str], list[Point]]:
    """The points of every model and training."""
    found: dict[tuple[str, str], list[Point]] = {}
    for row in table.rows:
        found.setdefault(row[:2], []).append(Point.of(row))
    return found


def reached(curve: Sequence[Point], quality: float, leak: float) -> int | None:
    """The passes after which track correlations are at least ``quality`` and stay so, with leaks at most ``leak``."""
    for i, point in enumerate(curve):
        if all(p.track >= quality for p in curve[i:]) and point.leak <= leak:
            return point.passes
    return None


def allowed_leak(found: dict[tuple[str, str], list[Point]], model: str) -> float:
    """No more than the published recipe leaks on that model at its worst; nothing where it was not run."""
    published = [p.leak for (of, name), curve in found.items() if of == model and _is_published(name) for p in curve]
    return max(published, default=0.0)


def reach(table: Table) -> Table:
    """Passes until each of :data:`QUALITIES`, to the digits that ``table`` has, leaking no more than the published.

    Beside the published recipe's, its multiple of what the presets need; where it was not reached, of what it was run.
    """
    found, rows = curves(table), []
    for (model, name), curve in found.items():
        leak, cells = allowed_leak(found, model), []
        for quality in QUALITIES:
            passes, ours = reached(curve, quality, leak), reached(found.get((model, PRESETS), []), quality, leak)
            cell, of = ("", passes) if passes is not None else ("> ", curve[-1].passes)
            more = f" ({cell}{of / ours:.1f} x the presets)" if ours and _is_published(name) else ""
            cells.append(f"{cell}{of}{more}")
        rows.append((model, name, str(min(point.clips for point in curve)), *cells))
    return Table(("model", "training", "clips", *(f"passes to {q:g}" for q in QUALITIES)), 2, tuple(rows))


def _is_published(name: str) -> bool:
    return name.startswith(PUBLISHED)


def figure(table: Table, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    found = curves(table)
    models = list(dict.fromkeys(model for model, _ in found))
    fig, grid = plt.subplots(len(models), 1, figsize=(9.4, 4.2 * len(models)), dpi=90, squeeze=False)
    for axes, model in zip(grid[:, 0], models, strict=True):
        shown = [(name, curve) for (of, name), curve in found.items() if of == model]
        for (name, curve), color in zip(shown, plt.get_cmap("tab20").colors, strict=False):
            style = {"ls": "--" if _is_published(name) else "-", "lw": 2.5 if name == PRESETS else 1.2}
            places = [[p.passes for p in curve], [p.track for p in curve]]
            axes.plot(*places, marker="o", ms=3, color=color, label=name, **style)
        axes.set(
            xscale="log",
            ylim=(-0.25, 1.03),
            title=TITLES.get(model, model),
            xlabel="passes of the model (forward 1, backward 2)",
        )
        axes.set_ylabel("track correlation")
        axes.set_xticks(ticks := [30, 60, 120, 240, 480, 960], ticks)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    fig.tight_layout()
    fig.savefig(path)
    plt.close(fig)
