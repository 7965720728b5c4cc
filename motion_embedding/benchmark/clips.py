"""Readers: from a folder on disk to clips. A reader looks at names only; it decodes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from .document import Section
from .items import Clip

VIDEOS = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif"})
PICTURES = frozenset({".jpg", ".jpeg", ".png"})
COMMON = ("reader", "path", "include", "start")

Reader = Callable[[Path, Mapping[str, Any]], list[Clip]]


def read_folder(path: Path, options: Mapping[str, Any]) -> list[Clip]:
    """Every video in a folder, in the order of the names.

    ``<name>.txt`` beside a video: its first line says the look, further lines are prompts.
    """
    Section("clips", options, COMMON)
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in VIDEOS and f.is_file() and f.name[0] != ".")
    if not files:
        endings = ", ".join(sorted(s[1:] for s in VIDEOS))
        raise InputError("clips.path", f"there is no video in {path}.", f"Put videos there ({endings}).")
    return [Clip(file.stem, file, *_sidecar(file.with_suffix(".txt"))) for file in files]


def _sidecar(file: Path) -> tuple[str, tuple[str, ...]]:
    """Look and prompts from a text file, as far as there is one."""
    if not file.is_file():
        return "", ()
    look, *prompts = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()] or [""]
    return look, tuple(prompt for prompt in prompts if prompt)


READERS: dict[str, Reader] = {"folder": read_folder}
