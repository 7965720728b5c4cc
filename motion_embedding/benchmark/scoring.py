"""Score every finished item of a results folder, once: ``score_folder``."""

from __future__ import annotations

import csv
import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..atomic import replacing
from .columns import SCORE_KEYS
from .instruments import digest, fingerprint, settings_of, versions
from .manifest import MetricSettings
from .scored import (
    FAILED,
    SCORED,
    Benchmark,
    Reference,
    Row,
    read_benchmark,
    read_rows,
    score_path,
    tracks_path,
    write_json,
)
from .scorer import Scorer
from .statistics import estimate
from .store import read_json

log = logging.getLogger(__name__)

OnProgress = Callable[[int, int], None]

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
    scorer = Scorer(benchmark, settings)
    # By clip, so that one reference at a time is in memory.
    pending = sorted(_pending(benchmark, scorer, print_of_settings), key=lambda job: (job[0].clip, job[0].prompt))
    if pending and settings.clip is None:
        also = "" if settings.appearance else ", and so does appearance leakage"
        log.warning("No CLIP is named: text similarity and temporal consistency stay empty%s.", also)
    for done, (row, settings_of_item) in enumerate(pending, start=1):
        score, tracks = scorer.score(row)
        if tracks is not None:
            write_json(tracks_path(folder, row.id), tracks)
        write_json(score_path(folder, row.id), {"id": row.id, "settings": settings_of_item, **score})
        if on_progress:
            on_progress(done, len(pending))
    rows = read_rows(benchmark)
    _write_table(folder / "scores.csv", rows)
    write_json(folder / "summary.json", summarise(benchmark, rows) | {"made_with": versions()})


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


def _pending(benchmark: Benchmark, scorer: Scorer, settings: str) -> list[tuple[Row, str]]:
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


def _write_table(path: Path, rows: Sequence[Row]) -> None:
    with replacing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*_ITEM_FIELDS, *SCORE_KEYS])
        for row in rows:
            table.writerow([getattr(row, name) for name in _ITEM_FIELDS] + [row.values.get(key) for key in SCORE_KEYS])
