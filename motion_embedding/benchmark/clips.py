"""Readers: from a folder on disk to clips. A reader looks at names and texts only; it decodes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from .document import Section, suggestion
from .items import Clip

VIDEOS = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif"})
PICTURES = frozenset({".jpg", ".jpeg", ".png"})
DIFFICULTIES = ("easy", "medium", "hard")
_COMMON = ("reader", "path", "include", "start")
"""Keys of ``clips`` that every reader has; the manifest deals with them."""

_DAVIS = "Unpack DAVIS 2016 or 2017 there, so that it holds JPEGImages/480p/<clip>/00000.jpg."
_MTBENCH = "Download MTBench there, so that it holds <clip>/eval_prompts.txt and <clip>/videos/<clip>.mp4."
_DAVIS_RATE = 24.0

Reader = Callable[[Path, Mapping[str, Any]], list[Clip]]
"""``(path, options)`` to clips in a fixed order; ``options`` is the manifest's ``clips``. Raises InputError."""


def read_folder(path: Path, options: Mapping[str, Any]) -> list[Clip]:
    """Every video in a folder.

    ``<name>.txt`` beside a video: its first line says the look, further lines are prompts.
    """
    Section("clips", options, _COMMON)
    mend = f"Put videos there ({', '.join(sorted(suffix[1:] for suffix in VIDEOS))})."
    files = [f for f in _entries(path, mend) if f.suffix.lower() in VIDEOS and f.is_file()]
    if not files:
        raise InputError("clips.path", f"there is no video in {path}.", mend)
    return [Clip(file.stem, file, *_look_and_prompts(file.with_suffix(".txt"))) for file in files]


def read_davis(path: Path, options: Mapping[str, Any]) -> list[Clip]:
    """The frame folders of DAVIS 2016 or 2017, at ``fps`` (24).

    ``resolution`` (480p) names the folder in ``JPEGImages``; ``split`` (all clips) a list in ``ImageSets``, as
    ``2017/val``. Masks are found where the annotations are there.
    """
    section = Section("clips", options, (*_COMMON, "resolution", "split", "fps"))
    resolution, fps = section.text("resolution", "480p"), section.number("fps", _DAVIS_RATE)
    if not fps > 0:
        raise InputError("clips.fps", f"{fps:g} is no rate.", "Write the frames per second, or leave it away.")
    folders = {f.name: f for f in _entries(path / "JPEGImages" / resolution, _DAVIS) if f.is_dir()}
    if not folders:
        raise InputError("clips.path", f"there is no clip in {path / 'JPEGImages' / resolution}.", _DAVIS)
    names = _davis_split(path, section.text("split")) if "split" in section else list(folders)
    missing = [name for name in names if name not in folders]
    if missing:
        raise InputError("clips.path", f"{path} lacks {', '.join(missing)} of the split.", _DAVIS)
    annotations = path / "Annotations" / resolution
    return [Clip(name, folders[name], fps=fps, masks=_if_folder(annotations / name)) for name in names]


def read_mtbench(path: Path, options: Mapping[str, Any]) -> list[Clip]:
    """MTBench: every folder, at any depth, with ``eval_prompts.txt``.

    Beside it ``prompts.txt`` says the look, ``videos.txt`` names the video (else ``videos/<clip>.mp4``), ``masks``
    may hold the object. A folder above whose name ends in easy, medium or hard is the group.
    """
    Section("clips", options, _COMMON)
    _entries(path, _MTBENCH)
    lists = sorted(path.rglob("eval_prompts.txt"))
    if not lists:
        raise InputError("clips.path", f"there is no eval_prompts.txt in {path}.", _MTBENCH)
    return [_mtbench_clip(file.parent, tuple(dict.fromkeys(_lines(file)))) for file in lists]


READERS: dict[str, Reader] = {"folder": read_folder, "davis": read_davis, "mtbench": read_mtbench}


def in_order(files: Iterable[Path]) -> list[Path]:
    """Files in the order of the numbers in their names: 2 before 10."""

    def parts(file: Path) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file.name)]

    return sorted(files, key=lambda file: (parts(file), file.name))


def _entries(folder: Path, mend: str) -> list[Path]:
    """What a folder holds, but for hidden files."""
    if not folder.is_dir():
        raise InputError("clips.path", f"there is no folder {folder}.", mend)
    return in_order(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _lines(file: Path) -> list[str]:
    """The lines of a text file that are not blank; none where there is no file."""
    if not file.is_file():
        return []
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("clips.path", f"{file} cannot be read: {error}.", "Save it as UTF-8 text.") from error


def _look_and_prompts(file: Path) -> tuple[str, tuple[str, ...]]:
    look, *prompts = _lines(file) or [""]
    return look, tuple(dict.fromkeys(prompts))


def _if_folder(path: Path) -> Path | None:
    return path if path.is_dir() else None


def _davis_split(path: Path, split: str) -> list[str]:
    """Names of a list in ``ImageSets``: one per line (2017), or a line per frame that begins with its file (2016)."""
    lists = path / "ImageSets"
    file = lists / f"{split}.txt"
    if not file.is_file():
        found = [str(each.relative_to(lists).with_suffix("")) for each in lists.rglob("*.txt")]
        mend = suggestion(split, found) if found else _DAVIS
        raise InputError("clips.split", f"there is no list {file}.", mend)
    firsts = [line.split()[0].strip("/").split("/") for line in _lines(file)]
    names = list(dict.fromkeys(parts[-2] if len(parts) > 1 else parts[0] for parts in firsts))
    if not names:
        raise InputError("clips.split", f"{file} is empty.", _DAVIS)
    return names


def _mtbench_clip(folder: Path, prompts: tuple[str, ...]) -> Clip:
    named = [folder / line for line in _lines(folder / "videos.txt")[:1]]
    video = next((v for v in [*named, folder / "videos" / f"{folder.name}.mp4"] if v.is_file()), None)
    if video is None:
        raise InputError("clips.path", f"there is no video {folder / 'videos' / folder.name}.mp4.", _MTBENCH)
    look = next(iter(_lines(folder / "prompts.txt")), "")
    group = folder.parent.name.lower().rpartition("_")[2]
    masks = _if_folder(folder / "masks" / folder.name)
    return Clip(folder.name, video, look, prompts, group if group in DIFFICULTIES else "", masks=masks)
