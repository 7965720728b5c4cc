"""Score every finished item of a results folder, once: ``score_folder``."""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import replacing
from ..metrics.transfer import Evidence, measure
from .columns import SCORE_KEYS
from .instruments import Instruments, digest, fingerprint, settings_of, versions
from .manifest import MetricSettings
from .scored import (
    FAILED,
    SCORED,
    Benchmark,
    Reference,
    Row,
    read_benchmark,
    read_json,
    read_rows,
    reference_tracks_path,
    score_path,
    tracks_path,
)
from .statistics import estimate

log = logging.getLogger(__name__)

OnProgress = Callable[[int, int], None]

_UNRELATED = 8
_KEPT_TRACKS = 64
_ITEM_FIELDS = ("id", "method", "clip", "group", "prompt", "seed", "status", "seconds", "error")


def score_folder(folder: Path, settings: MetricSettings | None = None, on_progress: OnProgress | None = None) -> None:
    """Bring ``scores/``, ``scores.csv`` and ``summary.json`` of a results folder up to date.

    An item is scored when it has no score, an error, or a score that other settings, other code, another video or
    other references gave. Every score is written at once, so that a killed run goes on where it was. What cannot be
    read or measured gets its error as its score, and the rest goes on. Each reference is tracked and encoded once;
    memory holds one result, one reference and the few references that stand for unrelated clips.

    Args:
        folder: a results folder, as ``run`` writes it.
        settings: encoders and tracker; those of the benchmark unless given.
        on_progress: called with (items done, items to score) after every item; it may raise to stop.

    Raises:
        InputError: the folder has no results, or an encoder or tracker cannot be loaded.
        OSError: a score cannot be written.
    """
    benchmark = read_benchmark(folder)
    settings = settings or settings_of(benchmark.facts)
    print_of_settings = fingerprint(settings)
    scorer = _Scorer(benchmark, settings)
    # By clip, so that one reference at a time is in memory.
    pending = sorted(_pending(benchmark, scorer, print_of_settings), key=lambda job: (job[0].clip, job[0].prompt))
    if pending and settings.clip is None:
        log.warning("No CLIP is named under metrics: text similarity and temporal consistency stay empty.")
    for done, (row, settings_of_item) in enumerate(pending, start=1):
        score, tracks = scorer.score(row)
        if tracks is not None:
            _write_json(tracks_path(folder, row.id), tracks)
        _write_json(score_path(folder, row.id), {"id": row.id, "settings": settings_of_item, **score})
        if on_progress:
            on_progress(done, len(pending))
    rows = read_rows(benchmark)
    _write_table(folder / "scores.csv", rows)
    _write_json(folder / "summary.json", summarise(benchmark, rows) | {"made_with": versions()})


def summarise(benchmark: Benchmark, rows: Sequence[Row]) -> dict[str, Any]:
    """Counts, and means with intervals per method ("methods") and per group and method ("groups")."""
    statuses = [row.status for row in rows]
    groups = {group: [row for row in rows if row.group == group] for group in benchmark.groups}
    return {
        "format": 1,
        "name": benchmark.name,
        "items": len(benchmark.items),
        "scored": statuses.count(SCORED),
        "failed": statuses.count(FAILED),
        "missing": len(benchmark.items) - len(rows),
        "methods": _by_method(benchmark, rows),
        "groups": {group: _by_method(benchmark, members) for group, members in groups.items()},
    }


class _Scorer:
    """Scores rows of one benchmark, keeping what several of them need."""

    def __init__(self, benchmark: Benchmark, settings: MetricSettings) -> None:
        self._benchmark, self._settings = benchmark, settings
        names = list(benchmark.references)
        # One more than is used: a clip is not unrelated to itself. The same few for all, so that clips compare.
        where = np.linspace(0, len(names) - 1, min(len(names), _UNRELATED + 1)).round().astype(int)
        self._panel = [names[index] for index in where]
        self._current = functools.lru_cache(maxsize=1)(self._gather_reference)
        self._standing = functools.lru_cache(maxsize=None)(self._gather_standing)
        self._text = functools.lru_cache(maxsize=64)(lambda prompt: self._instruments.text(prompt))

    @functools.cached_property
    def _instruments(self) -> Instruments:
        return Instruments.load(self._settings)

    def unrelated(self, clip: str) -> list[str]:
        """The clips whose references stand for "unrelated" when ``clip`` is scored, at most eight."""
        return [name for name in self._panel if name != clip][:_UNRELATED]

    def score(self, row: Row) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """The score of one finished item, and its tracks; ``{"error": cause}`` and None where there is none."""
        # Loaded before the try: an encoder that is missing stops everything.
        instruments = self._instruments
        try:
            reference = self._current(row.clip)
            result = instruments.gather(row.file)
            others = [seen for name in self.unrelated(row.clip) if (seen := self._standing(name)) is not None]
            measured = measure(reference, result, self._text(row.prompt), others)
        except Exception as error:  # whatever one video does to decoder, tracker or encoder, the others go on
            log.warning("%s cannot be scored: %s", row.id, error, exc_info=not isinstance(error, ValueError))
            return {"error": str(error) or type(error).__name__}, None
        return {key: _number(measured[key]) for key in SCORE_KEYS}, drawable(result)

    def _gather_reference(self, clip: str) -> Evidence:
        reference = self._benchmark.references[clip]
        evidence = self._instruments.gather(reference.file)
        _write_json(reference_tracks_path(self._benchmark.folder, reference), drawable(evidence))
        return evidence

    def _gather_standing(self, clip: str) -> Evidence | None:
        try:
            return self._instruments.gather(self._benchmark.references[clip].file)
        except Exception as error:  # the items of that clip report it as theirs
            log.warning("The reference %s is left out as an unrelated clip: %s", clip, error)
            return None


def drawable(evidence: Evidence) -> dict[str, Any]:
    """Tracks to draw: ``{"width", "height", "tracks": N x F x [x, y]}`` in tenths of a pixel, None where not seen."""
    tracks = evidence.tracks
    if len(tracks) > _KEPT_TRACKS:
        tracks = tracks[np.linspace(0, len(tracks) - 1, _KEPT_TRACKS).round().astype(int)]
    height, width = evidence.frames.shape[1:3]
    tenths = [[_tenths(point) for point in track] for track in tracks]
    return {"width": int(width), "height": int(height), "tracks": tenths}


def _tenths(point: np.ndarray) -> list[int] | None:
    return [round(10 * value) for value in point.tolist()] if np.isfinite(point).all() else None


def _pending(benchmark: Benchmark, scorer: _Scorer, settings: str) -> list[tuple[Row, str]]:
    """Rows to score, each with the digest of all that decides its score."""
    references = {name: _file_digest(reference) for name, reference in benchmark.references.items()}
    panels = {name: [references[other] for other in scorer.unrelated(name)] for name in references}
    pending = []
    for row in read_rows(benchmark):
        if row.status == FAILED:
            continue
        wanted = digest(settings, references.get(row.clip), panels.get(row.clip), row.prompt, row.sha256)
        score = read_json(score_path(benchmark.folder, row.id)) or {}
        if score.get("settings") != wanted or "error" in score:
            pending.append((row, wanted))
    return pending


def _file_digest(reference: Reference) -> str:
    """SHA-256 of a reference's file; empty where it cannot be read, which its items will report."""
    try:
        return hashlib.sha256(reference.file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _by_method(benchmark: Benchmark, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    keys = [key for key in SCORE_KEYS if not key.startswith("tracks_")]
    summary = {}
    for method in benchmark.methods:
        own = [row for row in rows if row.method == method and row.status == SCORED]
        clips = [row.clip for row in own]
        estimates = {key: estimate([row.values.get(key) for row in own], clips) for key in keys}
        summary[method] = {key: vars(found) if found else None for key, found in estimates.items()}
    return summary


def _number(value: float | None) -> float | None:
    """``value`` as JSON can hold it."""
    return None if value is None or not math.isfinite(value) else value


def _write_table(path: Path, rows: Sequence[Row]) -> None:
    with replacing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*_ITEM_FIELDS, *SCORE_KEYS])
        for row in rows:
            table.writerow([getattr(row, name) for name in _ITEM_FIELDS] + [row.values.get(key) for key in SCORE_KEYS])


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False), encoding="utf-8")
