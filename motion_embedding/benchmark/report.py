"""The report of a results folder: one page that needs nothing but itself. ``write_report``.

``report.html`` is a :class:`string.Template` that the style sheet, the script, the data and the videos are put into.
Text from outside (prompts, names, errors) reaches the page escaped, or as JSON that the script shows as text only. The
page forbids itself every request and every script but its own (Content-Security-Policy).
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from ..atomic import replacing
from ..errors import InputError
from .columns import COLUMNS
from .comparison import Comparison
from .report_scatter import across, scatter
from .report_tables import differences_tables, failures, few_tracks, methods_table, verdict
from .report_videos import SmallVideo, choose, shrink
from .scored import SCORED, Benchmark, Row, read_benchmark, read_rows, reference_tracks_path, tracks_path
from .statistics import FEWEST_CLIPS
from .store import read_json

log = logging.getLogger(__name__)

_HERE = Path(__file__).parent

VIDEOS = 200
"""The most results whose video is put into a page, unless said otherwise."""


def write_report(folder: Path, videos: int = VIDEOS, baseline: str = "") -> Path:
    """Write ``report.html`` into a results folder, from its scores as they are; returns its path.

    Args:
        folder: a results folder; unscored and failed items are listed as such.
        videos: the most results whose video is put into the page (references come on top).
        baseline: the method that others are compared with at first; the benchmark's first unless given.

    Raises:
        InputError: the folder has no results, or there is no method of that name.
        OSError: the page cannot be written.
    """
    benchmark = read_benchmark(folder)
    baseline = baseline or benchmark.methods[0]
    if baseline not in benchmark.methods:
        raise InputError(
            "--baseline", f"there is no method {baseline!r}.", f"Name one of {', '.join(benchmark.methods)}."
        )
    rows = read_rows(benchmark)
    media = _Media(benchmark, rows, videos)
    everything = Comparison(benchmark.methods, rows)
    sections = {"all": everything} | {
        group: Comparison(benchmark.methods, [row for row in rows if row.group == group]) for group in benchmark.groups
    }
    script = (_HERE / "report.js").read_text(encoding="utf-8")
    page = Template((_HERE / "report.html").read_text(encoding="utf-8")).substitute(
        title=escape(benchmark.name),
        style=(_HERE / "report.css").read_text(encoding="utf-8"),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        verdict=verdict(everything),
        facts=_entries(_facts(benchmark, rows)),
        methods=methods_table(sections),
        fewest=FEWEST_CLIPS,
        few_tracks=few_tracks(rows),
        differences=differences_tables(everything, baseline),
        across=escape(across(everything)),
        scatter=scatter(everything, rows),
        videos_note=_videos_note(media, rows),
        failures=failures(rows, len(benchmark.items) - len(rows)),
        how=_entries(_how(benchmark)),
        data=_json(_data(benchmark, rows, media)),
        media=media.blocks(),
    )
    path = folder / "report.html"
    with replacing(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    log.info("%s: %s, %d videos", path, _bytes(len(page)), len(media.results))
    return path


class _Media:
    """The small videos of a page: ``results`` by index of the row, ``references`` by the clip's name."""

    def __init__(self, benchmark: Benchmark, rows: Sequence[Row], most: int) -> None:
        self._benchmark, self._rows, self.most = benchmark, rows, most
        self.results = _shrunk({index: rows[index].file for index in choose(rows, most)})
        clips = {rows[index].clip for index in self.results}
        self.references = _shrunk({n: r.file for n, r in benchmark.references.items() if n in clips})

    @property
    def size(self) -> int:
        """Bytes that the videos take in the page."""
        return sum(len(video.base64) for video in [*self.results.values(), *self.references.values()])

    def blocks(self) -> str:
        """Data blocks for the script: videos as base64 text, and tracks where there are some."""
        folder, names = self._benchmark.folder, list(self._benchmark.references)
        parts = [
            *(_block(f"video-{index}", video.base64) for index, video in self.results.items()),
            *(_block(f"clip-{names.index(name)}", video.base64) for name, video in self.references.items()),
        ]
        tracks = {f"tracks-{index}": tracks_path(folder, self._rows[index].id) for index in self.results} | {
            f"clip-tracks-{names.index(name)}": reference_tracks_path(folder, self._benchmark.references[name])
            for name in self.references
        }
        parts += [_block(id, _json(drawn)) for id, path in tracks.items() if (drawn := read_json(path))]
        return "\n".join(parts)


def _shrunk(files: Mapping[Any, Path]) -> dict[Any, SmallVideo]:
    """Small copies of what can be read."""
    small = {}
    for key, file in files.items():
        try:
            small[key] = shrink(file)
        except InputError as error:
            log.warning("No video in the report: %s `run` makes again what is missing.", error.cause)
    return small


def _data(benchmark: Benchmark, rows: Sequence[Row], media: _Media) -> dict[str, Any]:
    """What the script needs of every item, small: names by index, scores rounded to what is shown."""
    clips, prompts = list(benchmark.references), list(dict.fromkeys(row.prompt for row in rows))
    clip_index, prompt_index = ({name: index for index, name in enumerate(names)} for names in (clips, prompts))
    return {
        "columns": [{"label": c.label, "higher": c.higher, "decimals": c.decimals} for c in COLUMNS],
        "methods": benchmark.methods,
        "groups": benchmark.groups,
        "prompts": prompts,
        "clips": [
            {"name": name, "look": r.look, "group": r.group, "size": _size(media.references.get(name))}
            for name, r in benchmark.references.items()
        ],
        "items": [
            [
                benchmark.methods.index(row.method),
                clip_index[row.clip],
                prompt_index[row.prompt],
                str(row.seed),  # seeds have up to 64 bits, numbers in a browser 53
                row.status,
                row.error[:300],
                _size(media.results.get(index)),
                [row.values.get(key) for key in ("tracks_reference", "tracks_result")],
                *(_rounded(row.values.get(column.key), column.decimals) for column in COLUMNS),
            ]
            for index, row in enumerate(rows)
        ],
    }


def _facts(benchmark: Benchmark, rows: Sequence[Row]) -> dict[str, str]:
    """The benchmark in numbers, already escaped."""
    statuses = [row.status for row in rows]
    seeds = benchmark.facts.get("seeds") or sorted({row.seed for row in rows})
    pairs = len({(row.clip, row.prompt) for row in rows})
    facts = {
        "methods": str(len(benchmark.methods)),
        "clips": str(len(benchmark.references)),
        "pairs of clip and prompt": str(pairs),
        "seeds": escape(", ".join(map(str, seeds[:8])) + (" …" if len(seeds) > 8 else "")),
        "scored": f"{statuses.count(SCORED)} of {len(benchmark.items)} items",
    }
    if timed := _seconds(benchmark, rows):
        facts["seconds an item, median"] = timed
    return facts


def _seconds(benchmark: Benchmark, rows: Sequence[Row]) -> str:
    """How long each method took, where it was noted."""
    words = []
    for method in benchmark.methods:
        times = sorted(row.seconds for row in rows if row.method == method and row.seconds and row.file)
        if times:
            words.append(f"{escape(method)}: {times[len(times) // 2]:.3g}")
    return ", ".join(words)


def _how(benchmark: Benchmark) -> dict[str, str]:
    """Formulas, settings and versions in words, already escaped."""
    summary = read_json(benchmark.folder / "summary.json") or {}
    settings = {key: value for key, value in (benchmark.facts.get("metrics") or {}).items() if value}
    versions = summary.get("made_with", {})
    listed = {key: facts for key in ("manifest", "format") if (facts := benchmark.facts.get(key)) not in (None, 1)}
    how = {column.label: column.formula for column in COLUMNS}
    how |= {
        "intervals": "95 %, expanded percentile bootstrap: whole clips are drawn with replacement, 4000 times, each "
        "with all its items, since items of one clip are not independent; the quantiles are widened for the small "
        "number of clips (Hesterberg 2015). Differences are taken between results for the same clip, prompt and seed. "
        "Nothing is corrected for the number of comparisons.",
        "unrelated clips": "chance and leakage compare a result with at most eight other references, spread evenly "
        "over the benchmark, the same for every method.",
        "settings": ", ".join(f"{key}: {value}" for key, value in settings.items()) or "the defaults",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()) or "not noted",
    }
    how |= {key: str(value) for key, value in listed.items()}
    return {key: escape(value) for key, value in how.items()}


def _videos_note(media: _Media, rows: Sequence[Row]) -> str:
    shown, made = len(media.results), sum(row.file is not None for row in rows)
    if not shown:
        return "This page holds no videos."
    which, spread = f"all {made}" if made > 1 else "the", ""
    if shown < made:
        which = f"{shown} of {made}"
        spread = " Chosen by motion fidelity: the best scene, the worst, and evenly between." * (shown >= media.most)
    return (
        f"The page holds the videos of {which} result{'s' * (made > 1)} and their references, at most 256 pixels wide: "
        f"{_bytes(media.size)}.{spread} Videos of one scene are shown over the same length of time, as they "
        "are compared."
    )


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _entries(entries: Mapping[str, str]) -> str:
    """The inside of a definition list; values are HTML."""
    return "".join(f"<div><dt>{escape(key)}</dt><dd>{value}</dd></div>" for key, value in entries.items())


def _block(id: str, text: str) -> str:
    return f'<script type="text/plain" id="{id}">{text}</script>'


def _json(content: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _size(video: SmallVideo | None) -> list[int] | None:
    return [video.width, video.height] if video else None


def _rounded(value: float | None, decimals: int) -> float | None:
    return None if value is None else round(value, decimals)
