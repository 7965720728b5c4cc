"""The references of a benchmark, prepared once: ``clips/<clip>.mp4``, and beside each what it was made from."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..errors import InputError
from ..video import VideoRequest
from .items import Clip, canonical, file_stem
from .manifest import Manifest
from .reference import prepare_reference, reference_digest
from .store import Results, read_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reference:
    """A clip as every method gets it. ``error`` says why there is none: then ``digest`` is empty.

    ``complexity`` is that of its motion, where the benchmark asks for it (:mod:`.groups`).
    """

    clip: Clip
    file: Path
    digest: str = ""
    error: str = ""
    complexity: float | None = None


def prepare_references(manifest: Manifest, results: Results) -> Iterator[Reference]:
    """The reference of every clip, made where it is missing or its source or the format has changed.

    A clip that cannot be read does not stop the others. Raises :class:`BenchmarkError` where the folder cannot be
    written.
    """
    for clip in manifest.clips:
        reference = Reference(clip, results.folder / "clips" / f"{file_stem(clip.name)}.mp4")
        try:
            yield replace(reference, digest=_digest(reference, manifest.format, results))
        except (InputError, OSError) as error:
            log.warning("%s cannot be prepared: %s", clip.name, error)
            yield replace(reference, error=str(error))


def _digest(reference: Reference, form: VideoRequest, results: Results) -> str:
    note = reference.file.with_suffix(".json")
    origin = _origin(reference.clip, form)
    known = read_json(note) if reference.file.is_file() else None
    if isinstance(known, dict) and known.get("origin") == origin:
        return known["digest"]
    note.unlink(missing_ok=True)  # first: it must never stand beside another file than the one it is about
    with results.explaining():
        prepare_reference(reference.clip, form, reference.file)
    digest = reference_digest(reference.file)
    results.write_json(f"clips/{note.name}", {"origin": origin, "digest": digest})
    return digest


def _origin(clip: Clip, form: VideoRequest) -> str:
    """A digest of what decides a prepared reference; of the source, names, sizes and times stand for the content."""
    files = sorted(clip.source.iterdir()) if clip.source.is_dir() else [clip.source]
    stats = [(file.name, status.st_size, status.st_mtime_ns) for file in files if (status := file.stat())]
    decisive = {"files": stats, "start": clip.start, "fps": clip.fps, "format": asdict(form)}
    return hashlib.sha256(canonical(decisive).encode()).hexdigest()
