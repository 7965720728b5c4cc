"""Motion embeddings on disk: one ``.safetensors`` file, half precision, everything else in its metadata."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .debias import Debias
from .embedding import LayerEmbedding, MotionEmbedding
from .errors import InputError

FORMAT = "motion_embedding"
VERSION = 1
_PLAIN_FIELDS = ("backbone", "frames", "height", "width", "fps", "prediction")


def save(embedding: MotionEmbedding, path: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write to a temporary file beside ``path``, then rename, so that no half-written file is ever seen.

    A camera motion uses no values, so its file holds none.
    """
    tensors = {}
    for name, layer in embedding.layers.items():
        tensors[f"{name}.query_key"] = layer.query_key
        if embedding.debias.value == "camera":
            continue
        tensors |= {f"{name}.value.{attention}": value for attention, value in layer.value.items()}
    document = {field: getattr(embedding, field) for field in _PLAIN_FIELDS}
    document |= {
        "version": VERSION,
        "fingerprint": embedding.fingerprint,
        "debias": dataclasses.asdict(embedding.debias),
        "training": dict(embedding.training),
    }
    path = Path(path)
    half_written = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(
            {k: t.detach().to("cpu", dtype).contiguous() for k, t in tensors.items()},
            half_written,
            metadata={FORMAT: json.dumps(document)},
        )
        os.replace(half_written, path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            "filename", f"{path} could not be written ({error}).", "Choose a folder you can write to, with room in it."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            half_written.unlink()


def read_metadata(path: Path) -> dict[str, Any]:
    """The file's description, read without loading a tensor."""
    path = Path(path)
    if not path.is_file():
        raise InputError("motion_embedding", f"{path} does not exist.", "Pick one from the list, or refresh it.")
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(FORMAT)
    except (SafetensorError, OSError) as error:
        raise InputError(
            "motion_embedding", f"{path.name} is not a readable safetensors file ({error}).", "Copy or train it again."
        ) from error
    if text is None:
        raise InputError(
            "motion_embedding", f"{path.name} holds no motion embedding.", "Pick a file that SaveMotionEmbedding wrote."
        )
    try:
        document = json.loads(text)
        version = int(document["version"])
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            "motion_embedding", f"the description in {path.name} cannot be read ({error!r}).", "Copy or train it again."
        ) from error
    if version > VERSION:
        raise InputError(
            "motion_embedding",
            f"{path.name} was written by a newer version of this pack (format {version}).",
            "Update the pack.",
        )
    return document


def load(path: Path) -> MotionEmbedding:
    """Read an embedding; tensors come back in float32."""
    document = read_metadata(path)
    query_key, value = {}, {}
    with safe_open(path, "pt") as file:
        for key in file.keys():  # noqa: SIM118 (a safetensors handle is no mapping)
            tensor = file.get_tensor(key).float()
            if key.endswith(".query_key"):
                query_key[key.removesuffix(".query_key")] = tensor
            else:
                layer, _, attention = key.rpartition(".value.")
                value.setdefault(layer, {})[attention] = tensor
    try:
        return MotionEmbedding(
            layers={layer: LayerEmbedding(rows, value.get(layer, {})) for layer, rows in query_key.items()},
            **{field: document[field] for field in _PLAIN_FIELDS},
            debias=Debias(**document["debias"]),
            training=document["training"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "motion_embedding", f"{Path(path).name} does not hold together ({error}).", "Copy or train it again."
        ) from error
