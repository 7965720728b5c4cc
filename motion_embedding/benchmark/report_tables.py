"""The tables of the report, as HTML. Everything that comes from outside is escaped here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape

from ..metrics.table import FEW_TRACKS
from .columns import COLUMNS, Column
from .comparison import Comparison
from .scored import SCORED, Row
from .statistics import FEWEST_CLIPS, Estimate

COLOURS = 8
"""Methods have colours ``m0`` to ``m7`` in the style sheet, then again from the first."""

_LISTED_FAILURES = 20

_DIFFERENCES_NOTE = (
    '<p class="note">Mean of the other method minus the chosen one over clip, prompt and seed that both have. Coloured '
    'where the interval excludes zero: <span class="better">better</span>, <span class="worse">worse</span>.</p>'
)


def verdict(comparison: Comparison) -> str:
    """One sentence: which method carries the motion best, and whether that is beyond doubt."""
    column = COLUMNS[0]
    best = comparison.best(column)
    if best is None:
        return "Nothing has been scored yet."
    found = comparison.mean(best, column.key)
    number = f"{column.text(found.mean)}{_in_words(column, found, comparison.mean(best, 'motion_fidelity_chance'))}"
    name = f"<strong>{escape(best)}</strong>"
    silent = [method for method in comparison.methods if not comparison.mean(method, column.key)]
    rest = f" Nothing of {_listed(silent)} has been scored." if silent else ""
    rivals = [method for method in comparison.methods if method not in (best, *silent)]
    if not rivals:
        return f"{name} has a motion fidelity of {number}.{rest}"
    unequal = any(comparison.scenes(method, column.key) != comparison.scenes(best, column.key) for method in rivals)
    on = ", on the scenes that they share" if unequal else ""
    others = _listed(rivals) if silent else "every other method"
    if comparison.leader(column):
        return f"{name} carries the motion best: {number}, clearly ahead of {others}{on}.{rest}"
    doubt = f"but is not clearly ahead of {others}{on}"
    if found.clips < FEWEST_CLIPS:
        doubt = f"but from {found.clips} clip{'s' * (found.clips != 1)}; it takes {FEWEST_CLIPS} to tell methods apart"
    return f"{name} has the highest motion fidelity, {number}, {doubt}.{rest}"


def _listed(methods: Sequence[str]) -> str:
    """Names of methods in a sentence."""
    names = [f"<strong>{escape(method)}</strong>" for method in methods]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def methods_table(sections: Mapping[str, Comparison]) -> str:
    """Methods x metrics, one block of rows per section ("all", then groups)."""
    columns = next(iter(sections.values())).shown()
    if not columns:
        return '<p class="note">There are no scores.</p>'
    body = "".join(_section(name, comparison, columns, len(sections) > 1) for name, comparison in sections.items())
    return _table(columns, ["method", "n"], body)


def few_tracks(rows: Sequence[Row]) -> str:
    """How many scores rest on almost no tracks, as a sentence; empty where none do."""
    scored = [row for row in rows if row.status == SCORED]
    thin = sum(
        min(row.values.get(key) or 0 for key in ("tracks_reference", "tracks_result")) < FEW_TRACKS for row in scored
    )
    if not thin:
        return ""
    return (
        f"In {thin} of {len(scored)} items the tracker followed fewer than {FEW_TRACKS} points in one of the two clips."
    )


def differences_tables(comparison: Comparison, baseline: str) -> str:
    """One table per baseline, the chosen one shown: each other method minus the baseline on the same scenes."""
    columns = comparison.shown()
    if len(comparison.methods) < 2 or not columns:
        return '<p class="note">There is only one method, or no score: nothing to compare.</p>'
    options = "".join(
        f'<option value="{index}"{" selected" * (method == baseline)}>{escape(method)}</option>'
        for index, method in enumerate(comparison.methods)
    )
    tables = "".join(
        f'<div class="against" data-baseline="{index}"{" hidden" * (method != baseline)}>'
        f"{_differences(comparison, method, columns)}</div>"
        for index, method in enumerate(comparison.methods)
    )
    return f'<label class="pick">against <select id="baseline">{options}</select></label>{tables}{_DIFFERENCES_NOTE}'


def failures(rows: Sequence[Row], missing: int) -> str:
    """What has no score, by cause, the most frequent first."""
    causes: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.status != SCORED:
            causes[row.status, row.error].append(row)
    entries = [
        f"<details><summary><b>{len(members)}</b> {escape(status)}: <q>{escape(error[:600])}</q></summary>"
        f"<ul>{''.join(_failed_item(row) for row in members[:_LISTED_FAILURES])}{_more(len(members))}</ul></details>"
        for (status, error), members in sorted(causes.items(), key=lambda cause: -len(cause[1]))
    ]
    if missing:
        entries.append(f"<p>{missing} item{'s' * (missing != 1)} not made yet.</p>")
    return "".join(entries) or '<p class="note">None: every item was made and scored.</p>'


def _section(name: str, comparison: Comparison, columns: Sequence[Column], titled: bool) -> str:
    leaders = {column.key: comparison.leader(column) for column in columns}
    rows = []
    for index, method in enumerate(comparison.methods):
        count = comparison.count(method)
        cells = "".join(_cell(comparison, method, column, count, leaders[column.key] == method) for column in columns)
        rows.append(f"<tr>{_name(comparison, index)}<td class=n>{count}</td>{cells}</tr>")
    title = f'<tr class="group"><th colspan="{len(columns) + 2}" scope="rowgroup">{escape(name)}</th></tr>'
    return f"<tbody>{title * titled}{''.join(rows)}</tbody>"


def _cell(comparison: Comparison, method: str, column: Column, count: int, leads: bool) -> str:
    found = comparison.mean(method, column.key)
    if found is None:
        return f"<td>{column.text(None)}</td>"
    number = f"<b>{column.text(found.mean)}</b>" if leads else f"<span>{column.text(found.mean)}</span>"
    notes = [_interval(column, found)]
    if found.n != count:
        notes.append(f"<small>n {found.n}</small>")
    if column.key == "motion_fidelity":
        ends = [comparison.mean(method, f"motion_fidelity_{end}") for end in ("chance", "chance_turned", "ceiling")]
        chance, turned, ceiling = (column.text(end.mean if end else None) for end in ends)
        notes.append(f"<small>chance {chance}, turned {turned} · ceiling {ceiling}</small>")
    return f"<td>{number}{''.join(notes)}</td>"


def _differences(comparison: Comparison, baseline: str, columns: Sequence[Column]) -> str:
    rows = []
    for index, method in enumerate(comparison.methods):
        if method == baseline:
            continue
        cells, n = [], 0
        for column in columns:
            found = comparison.difference(method, baseline, column.key)
            n = max(n, found.n if found else 0)
            cells.append(_difference_cell(column, found))
        rows.append(f"<tr>{_name(comparison, index)}<td class=n>{n}</td>{''.join(cells)}</tr>")
    return _table(columns, [f"minus {baseline}", "n pairs"], f"<tbody>{''.join(rows)}</tbody>")


def _difference_cell(column: Column, found: Estimate | None) -> str:
    if found is None:
        return f"<td>{column.text(None)}</td>"
    kind = ""
    if found.excludes_zero:
        kind = ' class="better"' if (found.mean > 0) == column.higher else ' class="worse"'
    return f"<td{kind}><span>{column.text(found.mean, signed=True)}</span>{_interval(column, found, signed=True)}</td>"


def _interval(column: Column, found: Estimate, signed: bool = False) -> str:
    if found.low is None:
        return "<small>one clip</small>"
    low, high = (column.text(end, signed) for end in (found.low, found.high))
    if found.trusted:
        return f"<small>{low} to {high}</small>"
    return f'<small class="weak" title="{found.clips} clips: too few for 95 %">{low} to {high} °</small>'


def _in_words(column: Column, found: Estimate, chance: Estimate | None) -> str:
    words = []
    if found.low is not None:
        words.append(f"95 % interval {column.text(found.low)} to {column.text(found.high)}")
    if chance:
        words.append(f"chance {column.text(chance.mean)}")
    return f" ({', '.join(words)})" if words else ""


def _table(columns: Sequence[Column], first: Sequence[str], body: str) -> str:
    heads = "".join(f'<th scope="col">{escape(text)}</th>' for text in first)
    heads += "".join(
        f'<th scope="col" title="{escape(column.formula)}">{escape(column.label)}&nbsp;'
        f'<span class="arrow" title="{"higher" if column.higher else "lower"} is better">{column.arrow}</span>'
        f"<small>{escape(column.unit)}</small></th>"
        for column in columns
    )
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>{body}</table></div>'


def _name(comparison: Comparison, index: int) -> str:
    swatch = f'<i class="swatch m{index % COLOURS}"></i>'
    return f'<th scope="row">{swatch}{escape(comparison.methods[index])}</th>'


def _failed_item(row: Row) -> str:
    return f"<li>{escape(row.method)} · {escape(row.clip)} · {escape(row.prompt)} · seed {row.seed}</li>"


def _more(count: int) -> str:
    hidden = count - _LISTED_FAILURES
    return f"<li>and {hidden} more, in scores.csv</li>" if hidden > 0 else ""
