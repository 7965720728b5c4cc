"""What has to be there before a run begins, all said at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .items import Method
from .job_prompt import JobError
from .manifest import MetricSettings
from .methods import blank_prompt
from .work import HostOptions

LEAST_ROOM = 16 * 2**20
"""Bytes below which a run does not begin."""


def problems_of_folder(folder: Path) -> Iterator[str]:
    """Why results cannot be written to ``folder``, which need not exist yet."""
    if folder.exists() and not folder.is_dir():
        yield f"--out: {folder} is a file; name a folder."
        return
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        yield f"--out: {there} cannot be written; choose another folder."
    elif (free := shutil.disk_usage(there).free) < LEAST_ROOM:
        yield f"--out: only {free / 2**20:.1f} MiB are free in {there}; make room."


def problems_of_host(options: HostOptions | None, here: bool = True) -> Iterator[str]:
    """Why no ComfyUI can be started; ``options`` None: none was found. Not ``here``: the paths are other machines'."""
    if options is None:
        yield "--comfyui: no ComfyUI was found; name the folder that has its main.py, or set COMFYUI_PATH."
        return
    if not here:
        return
    if not (options.comfyui / "main.py").is_file():
        yield f"--comfyui: there is no main.py in {options.comfyui}; name ComfyUI's own folder."
    if options.base is not None and not options.base.is_dir():
        yield f"--base: there is no folder {options.base}; name the one that holds models and custom_nodes."
    if options.python and shutil.which(options.python) is None:
        yield f"--python: {options.python} is no program; name the interpreter that has ComfyUI's requirements."


def problems_of_scoring(settings: MetricSettings) -> Iterator[str]:
    """Why results could not be scored once they are made, as far as one can tell without loading anything."""
    needed = {"cv2": "opencv-python-headless"}
    if settings.clip or settings.appearance:
        needed["transformers"] = "transformers"
    for module, package in needed.items():
        if find_spec(module) is None:
            yield f"To score, Python needs the package {package}: `pip install {package}`, or use --generate-only."


def problems_of_workflows(methods: Iterable[Method], nodes: Mapping[str, Any]) -> Iterator[str]:
    """Why a ComfyUI that knows ``nodes`` (its ``/object_info``) cannot run the workflows of ``methods``.

    Titles, inputs and nodes; not values, which a node may judge in its own way.
    """
    for method in methods:
        try:
            prompt = blank_prompt(method, nodes)
        except JobError as error:
            yield f"methods.{method.name}: {error}"
            continue
        lacking = sorted({node["class_type"] for node in prompt.values()} - nodes.keys())
        if lacking:
            cause = f"this ComfyUI does not know {', '.join(lacking)}"
            yield f"methods.{method.name}: {cause}; install the pack in its custom_nodes (see also --base)."
