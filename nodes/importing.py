"""Motions from elsewhere."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui

from ..motion_embedding.authors_file import check_authors_file, read_authors_file
from ..motion_embedding.debias import Debias
from ..motion_embedding.errors import InputError
from .common import CATEGORY, FOLDER, Motion, register_folder, verdict

register_folder()
_KINDS = {"object or hybrid": "difference", "camera": "camera"}
_NONE = "none"


class ImportMotionEmbedding(io.ComfyNode):
    """Reads what the paper's own release has trained."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        names = list(_pt_files())
        return io.Schema(
            node_id="ME_ImportMotionEmbedding",
            display_name="Import Motion Embedding",
            category=CATEGORY,
            description="Reads a motion_embed.pt that the paper's own release has trained. Save it to keep it small.",
            inputs=[
                io.Combo.Input(
                    "file", options=names, tooltip="A .pt file in models/motion_embeddings. Code in it is never run."
                ),
                io.Int.Input(
                    "width",
                    default=576,
                    min=0,
                    max=8192,
                    step=8,
                    tooltip="Width in pixels of the clip it was trained on; the file does not say. "
                    "0, with height 0, takes the size from inverted_noise.",
                ),
                io.Int.Input(
                    "height", default=320, min=0, max=8192, step=8, tooltip="Height in pixels of that clip, likewise."
                ),
                io.Int.Input(
                    "frames",
                    default=0,
                    min=0,
                    max=4096,
                    tooltip="Frames of that clip. 0 finds them: rows that were never trained are zero.",
                ),
                io.Combo.Input(
                    "kind",
                    options=list(_KINDS),
                    default="object or hybrid",
                    tooltip="What is to be carried over. camera drops the values, as published; any other motion "
                    "takes the values by frame differences. Debias Motion can change it.",
                ),
                io.Combo.Input(
                    "inverted_noise",
                    options=[_NONE, *names],
                    default=_NONE,
                    optional=True,
                    tooltip="The cached_0.pt of the same training, to carry its inverted noise along.",
                ),
            ],
            outputs=[Motion.Output(display_name="motion", tooltip="For Save Motion Embedding or Apply.")],
        )

    @classmethod
    def fingerprint_inputs(cls, file, width, height, frames, kind, inverted_noise=_NONE) -> str:
        states = [path.stat() for path in map(_pt_files().get, (file, inverted_noise)) if path]
        return " ".join(f"{state.st_mtime_ns} {state.st_size}" for state in states)

    @classmethod
    def validate_inputs(cls, file, width, height, inverted_noise=_NONE) -> bool | str:
        def check(file: str, width: int, height: int, inverted_noise: str) -> None:
            check_authors_file(_path(file, "file"), height, width, _noise_path(inverted_noise))

        return verdict(check, file, width, height, inverted_noise)

    @classmethod
    def execute(cls, file, width, height, frames, kind, inverted_noise=_NONE) -> io.NodeOutput:
        motion = read_authors_file(_path(file, "file"), height, width, frames, _noise_path(inverted_noise))
        motion = motion.replace(debias=Debias(_KINDS[kind]))
        return io.NodeOutput(motion, ui=ui.PreviewText(motion.describe()))


def _pt_files() -> dict[str, Path]:
    """Those in the folder by name. Not by the host's list, which is of what the loader reads: safetensors."""
    found: dict[str, Path] = {}
    for folder in folder_paths.get_folder_paths(FOLDER):
        names, _ = folder_paths.recursive_search(folder)
        for name in folder_paths.filter_files_extensions(names, {".pt"}):
            found.setdefault(name, Path(folder, name))
    return dict(sorted(found.items()))


def _path(name: str, shown_as: str) -> Path:
    """Only what is listed: a name from a workflow must not reach outside the folder."""
    path = _pt_files().get(name)
    if path is None:
        raise InputError(
            shown_as, f"there is no {name} in models/{FOLDER}.", "Copy it there and press R, or pick one from the list."
        )
    return path


def _noise_path(name: str) -> Path | None:
    return None if name == _NONE else _path(name, "inverted_noise")


NODES = [ImportMotionEmbedding]
