"""A results folder as scoring and the report read it: the benchmark's facts, and a row for every item that ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..atomic import replacing
from ..errors import InputError
from .store import read_json

SCORED, UNREADABLE, FAILED, UNSCORED = "scored", "unreadable", "failed", "not scored"

_LEVELS = ("easy", "medium", "hard")


@dataclass(frozen=True)
class Reference:
    """A prepared clip: its file in the results folder, what it shows, its group of rows."""

    name: str
    file: Path
    look: str = ""
    group: str = ""


@dataclass(frozen=True)
class Row:
    """One item: what was asked, what became of it (``status``), its scores where there are some.

    ``file`` is the video, None where there is none; ``error`` is why ``status`` is not "scored".
    """

    id: str
    method: str
    clip: str
    group: str
    prompt: str
    seed: int
    status: str
    values: Mapping[str, float | None] = field(default_factory=dict)
    error: str = ""
    seconds: float | None = None
    file: Path | None = None
    sha256: str = ""

    @property
    def scene(self) -> tuple[str, str, int]:
        """What methods are compared on: (clip, prompt, seed)."""
        return self.clip, self.prompt, self.seed


@dataclass(frozen=True)
class Benchmark:
    """What ``benchmark.json`` says, in its order."""

    folder: Path
    name: str
    methods: tuple[str, ...]
    references: Mapping[str, Reference]
    items: tuple[str, ...]
    facts: Mapping[str, Any]

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that clips are in, easy to hard, then others by name; empty where there are none."""
        found = {reference.group for reference in self.references.values() if reference.group}
        return tuple(sorted(found, key=lambda g: (_LEVELS.index(g) if g in _LEVELS else len(_LEVELS), g)))


def read_benchmark(folder: Path) -> Benchmark:
    """Read ``folder/benchmark.json``.

    Raises:
        InputError: the folder holds no results, or results in another format.
    """
    facts = read_json(folder / "benchmark.json")
    if not isinstance(facts, dict) or facts.get("format") != 1:
        raise InputError(
            "folder",
            f"{str(folder)!r} has no benchmark.json of this version.",
            "Name a folder that `python -m motion_embedding.benchmark run` wrote.",
        )
    references = {
        name: Reference(name, folder / clip["file"], clip.get("look", ""), clip.get("group", ""))
        for name, clip in facts["clips"].items()
    }
    return Benchmark(folder, facts["name"], tuple(facts["methods"]), references, tuple(facts["items"]), facts)


def read_rows(benchmark: Benchmark) -> list[Row]:
    """A row for every item of the benchmark that is finished or has failed, in the benchmark's order."""
    return [row for id in benchmark.items if (row := _row(benchmark, id)) is not None]


def score_path(folder: Path, id: str) -> Path:
    return folder / "scores" / f"{id}.json"


def tracks_path(folder: Path, id: str) -> Path:
    """Where the tracks of a result are kept."""
    return folder / "scores" / f"{id}.tracks.json"


def reference_tracks_path(folder: Path, reference: Reference) -> Path:
    """Where the tracks of a reference are kept."""
    return folder / "scores" / "references" / f"{reference.file.stem}.tracks.json"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` so that nobody sees half of it. Raises :class:`OSError` where it cannot."""
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def _row(benchmark: Benchmark, id: str) -> Row | None:
    folder = benchmark.folder
    if item := read_json(folder / "items" / f"{id}.json"):
        score = read_json(score_path(folder, id)) or {"error": "It has not been scored yet.", "status": UNSCORED}
        status = score.get("status", UNREADABLE) if score.get("error") else SCORED
        file = folder / (item.get("file") or f"items/{id}.mp4")
        return _filled(benchmark, item, status, score.get("error", ""), score, file)
    if item := read_json(folder / "failed" / f"{id}.json"):
        return _filled(benchmark, item, FAILED, item.get("error") or "The cause was not recorded.", {}, None)
    return None


def _filled(
    benchmark: Benchmark,
    item: Mapping[str, Any],
    status: str,
    error: str,
    score: Mapping[str, Any],
    file: Path | None,
) -> Row:
    asked = {key: item[key] for key in ("id", "method", "clip", "prompt", "seed")}
    # The benchmark's word, not the item's: clips may have been grouped anew since.
    reference = benchmark.references.get(item["clip"])
    return Row(
        **asked,
        group=reference.group if reference else "",
        status=status,
        values=score if status == SCORED else {},
        error=error,
        seconds=item.get("seconds"),
        file=file,
        sha256=item.get("sha256", ""),
    )
