"""What several nodes share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from threading import Lock
from typing import Any

import folder_paths
from comfy_api.latest import io

from ..motion_embedding.errors import InputError

FOLDER = "motion_embeddings"
CATEGORY = "motion embedding"
Motion = io.Custom("MOTION_EMBEDDING")
naming = Lock()
"""Held from the search for a free name until a file has it: a graph may save while a page uploads."""


def register_folder(name: str = FOLDER, extensions: Collection[str] = (".safetensors",)) -> None:
    """Make ``models/<name>`` known to the host, also when other paths were configured for it."""
    default = str(Path(folder_paths.models_dir) / name)
    paths, _ = folder_paths.folder_names_and_paths.get(name, ([], set()))
    folder_paths.folder_names_and_paths[name] = (list(dict.fromkeys([*paths, default])), set(extensions))


def file_names(folder: str = FOLDER) -> list[str]:
    """The files in ``models/<folder>`` as its lists offer them, also after a person has removed a folder there."""
    try:
        return folder_paths.get_filename_list(folder)
    except FileNotFoundError:
        # The host asks every folder that it once listed whether it has changed.
        folder_paths.filename_list_cache.pop(folder, None)
        return folder_paths.get_filename_list(folder)


def verdict(check: Callable[..., object], *inputs: Any) -> bool | str:
    """The answer of a node's ``validate_inputs``: True, or what :class:`InputError` ``check(*inputs)`` raised.

    An input that is None is wired from another node and known only when the graph runs: nothing is checked then.
    """
    if None in inputs:
        return True
    try:
        check(*inputs)
    except InputError as error:
        return str(error)
    return True


def target_path(filename: str) -> Path:
    """Where ``filename`` is to be saved; :class:`InputError` unless it is a plain relative name in the folder."""
    folder = Path(folder_paths.get_folder_paths(FOLDER)[0]).resolve()
    name = filename.strip().removesuffix(".safetensors")
    path = (folder / f"{name.replace(chr(0), '')}.safetensors").resolve()
    if (
        not name
        or not name.isprintable()
        or any(letter in name for letter in '<>:"|?*')  # which Windows does not take
        or len(path.name.encode()) > 200
        or name.endswith(("/", "\\"))
        or folder not in path.parents
    ):
        raise InputError(
            "filename", f"{filename!r} is not a name inside {folder}.", "Use a plain name such as 'roundabout'."
        )
    return path


def check_writable(path: Path) -> None:
    """Raise :class:`InputError` unless a file can be made where ``path`` is to be."""
    folder = next(p for p in path.parents if p.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            "filename", f"{folder} cannot be written to ({error.strerror}).", "Free or unlock it, or choose another."
        ) from error


def unused(path: Path) -> Path:
    """``path``, or the first of ``path_2``, ``path_3``, ... that does not exist, so that nothing is overwritten."""
    count, free = 2, path
    while os.path.lexists(free):
        free = path.with_name(f"{path.stem}_{count}{path.suffix}")
        count += 1
    return free
