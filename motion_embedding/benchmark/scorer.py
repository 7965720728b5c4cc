"""Scoring one item after another against its reference and a few unrelated ones."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..metrics.transfer import Evidence, measure
from .columns import SCORE_KEYS
from .instruments import Instruments
from .manifest import MetricSettings
from .scored import Benchmark, Row, reference_tracks_path, write_json

log = logging.getLogger(__name__)

_UNRELATED = 8
_KEPT_TRACKS = 64


class Scorer:
    """Scores rows of one benchmark, keeping what several of them need.

    Rows of one clip should come together: a reference is then tracked and encoded once.
    """

    def __init__(self, benchmark: Benchmark, settings: MetricSettings) -> None:
        self._benchmark, self._settings = benchmark, settings
        names = list(benchmark.references)
        # One more than is used: a clip is not unrelated to itself. The same few for all, so that clips compare.
        where = np.linspace(0, len(names) - 1, min(len(names), _UNRELATED + 1)).round().astype(int)
        self._panel = [names[index] for index in where]
        self._gathered: dict[str, Evidence | Exception] = {}
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
            reference = self._reference(row.clip)
            result = instruments.gather(row.file)
            measured = measure(reference, result, self._text(row.prompt), list(self._others(row.clip)))
        except Exception as error:  # whatever one video does to decoder, tracker or encoder, the others go on
            log.warning("%s cannot be scored: %s", row.id, error, exc_info=not isinstance(error, ValueError))
            return {"error": str(error) or type(error).__name__}, None
        return {key: _number(measured[key]) for key in SCORE_KEYS}, drawable(result)

    def _reference(self, clip: str) -> Evidence:
        """A reference's evidence. Kept: those that stand for unrelated clips, and the latest of the others."""
        if clip not in self._gathered:
            if clip not in self._panel:
                self._gathered = {name: kept for name, kept in self._gathered.items() if name in self._panel}
            self._gathered[clip] = self._gather_reference(clip)
        found = self._gathered[clip]
        if isinstance(found, Exception):
            raise found
        return found

    def _gather_reference(self, clip: str) -> Evidence | Exception:
        reference = self._benchmark.references[clip]
        try:
            evidence = self._instruments.gather(reference.file)
        except Exception as error:  # the items of this clip report it as theirs
            log.warning("The reference %s cannot be used: %s", clip, error)
            return error
        write_json(reference_tracks_path(self._benchmark.folder, reference), drawable(evidence))
        return dataclasses.replace(evidence, frames=evidence.frames[:1].copy())  # of which only the size is needed now

    def _others(self, clip: str) -> Iterator[Evidence]:
        for name in self.unrelated(clip):
            try:
                other = self._reference(name)
            except Exception:  # said when it was gathered
                continue
            yield other


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


def _number(value: float | None) -> float | None:
    """``value`` as JSON can hold it."""
    return None if value is None or not math.isfinite(value) else value
