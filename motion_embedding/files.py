"""Motion embeddings on disk: one ``.safetensors`` file, half precision, everything else in its metadata.

Values lie there as they are, ``<layer>.value.<attention>``, or compact: as the ``positions``, ``channels`` and
``scales`` of that attention, see ``compact``. The shapes tell each one's rank, ``values_error`` in the metadata how far
all are from what was learnt.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from . import compact
from .atomic import replacing
from .debias import Debias
from .embedding import LayerEmbedding, MotionEmbedding
from .errors import InputError
from .thumbnail import Thumbnail

FORMAT = "motion_embedding"
VERSION, VERSION_OF_TWO_MODELS, VERSION_COMPACT = 2, 3, 4
_NOISE = "inverted_noise"
_PART = re.compile(rf"(.+)\.({'|'.join(compact.PARTS)})\.(.+?)")
_PLAIN_FIELDS = ("backbone", "frames", "height", "width", "fps", "prediction")


def save(embedding: MotionEmbedding, path: str | Path, dtype: torch.dtype = torch.float16, error: float = 0.0) -> float:
    """Write ``embedding`` to ``path``; :class:`InputError` where that cannot be written.

    A camera motion uses no values, so its file holds none.

    error: how far the values may be from what was learnt to be small, see :func:`~.compact.parts_of`; 0 writes them as
        they are, in ``dtype``.

    Returns how far they are from it, roundings to ``dtype`` not counted.
    """
    if embedding.debias.value == "camera":
        layers = {name: LayerEmbedding(layer.query_key) for name, layer in embedding.layers.items()}
        embedding = embedding.replace(layers=layers)
    parts, values_error = compact.parts_of(embedding, error)
    tensors = {} if embedding.inverted_noise is None else {_NOISE: embedding.inverted_noise}
    for name, layer in embedding.layers.items():
        tensors[f"{name}.query_key"] = layer.query_key
        for attention, found in parts[name].items():
            tensors |= {f"{name}.{part}.{attention}": tensor for part, tensor in found.items()}
    made_small = any(len(found) > 1 for of_layer in parts.values() for found in of_layer.values())
    document = {field: getattr(embedding, field) for field in _PLAIN_FIELDS}
    document |= {
        "version": VERSION_COMPACT if made_small else VERSION_OF_TWO_MODELS if embedding.boundary else VERSION,
        "boundary": embedding.boundary,
        "fingerprint": embedding.fingerprint,
        "debias": dataclasses.asdict(embedding.debias),
        "training": dict(embedding.training),
        "inverted_noise": embedding.inverted_noise is not None,
        "values_error": values_error,
    }
    if embedding.thumbnail is not None:
        document["thumbnail"] = embedding.thumbnail.document()
    try:
        with replacing(path) as unfinished:
            save_file(
                {name: _stored(name, tensor, dtype) for name, tensor in tensors.items()},
                unfinished,
                metadata={FORMAT: json.dumps(document)},
            )
    except (OSError, SafetensorError) as error:
        raise InputError(
            "filename", f"{path} could not be written ({error}).", "Choose a folder you can write to, with room in it."
        ) from error
    return values_error


def _stored(name: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """In ``dtype``, but for what is compact and chose its own."""
    own = not tensor.is_floating_point() or f".{compact.SCALES}." in name
    return tensor.detach().to("cpu", tensor.dtype if own else dtype).contiguous()


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The file's description, read without loading a tensor.

    What :func:`save` wrote, and ``tensors``: the shape of every tensor in the file by name.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("motion_embedding", f"{path} does not exist.", "Pick one from the list, or refresh it.")
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(FORMAT)
            # The handle is no mapping: it has to be asked for its keys.
            shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
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
    except (ValueError, OverflowError, TypeError, KeyError) as error:
        raise InputError(
            "motion_embedding", f"the description in {path.name} cannot be read ({error!r}).", "Copy or train it again."
        ) from error
    if version > VERSION_COMPACT:
        raise InputError(
            "motion_embedding",
            f"{path.name} was written by a newer version of this pack (format {version}).",
            "Update the pack.",
        )
    # Files written before noise, two models or compact values were in the format do not say that they hold none.
    return {"inverted_noise": False, "boundary": 0.0, "values_error": 0.0} | document | {"tensors": shapes}


def load(path: str | Path) -> MotionEmbedding:
    """Read an embedding; tensors come back in float32, values in full whatever form they have in the file."""
    document = read_metadata(path)
    query_key, value, noise = {}, {}, None
    with safe_open(path, "pt") as file:
        for key in document["tensors"]:
            tensor = file.get_tensor(key)
            if key == _NOISE:
                noise = tensor.float()
            elif key.endswith(".query_key"):
                query_key[key.removesuffix(".query_key")] = tensor.float()
            elif named := _PART.fullmatch(key):
                layer, part, attention = named.groups()
                value.setdefault(layer, {}).setdefault(attention, {})[part] = tensor
    try:
        return MotionEmbedding(
            layers={
                layer: LayerEmbedding(rows, {k: compact.unpacked(parts) for k, parts in value.get(layer, {}).items()})
                for layer, rows in query_key.items()
            },
            **{field: document[field] for field in _PLAIN_FIELDS},
            debias=Debias(**document["debias"]),
            training=document["training"],
            inverted_noise=noise,
            boundary=document["boundary"],
            values_error=document["values_error"],
            thumbnail=Thumbnail.read(document.get("thumbnail")),
            file_bytes=Path(path).stat().st_size,
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            "motion_embedding", f"{Path(path).name} does not hold together ({error}).", "Copy or train it again."
        ) from error
