"""Reading what the paper's own release writes: ``motion_embed.pt`` and the noise beside it.

The file is a pickled dictionary of tables that have more rows than the clip had frames, zero where nothing was
trained: ``<block>.pos_embed [1, rows, C]`` for queries and keys, and, unless only a camera was learnt,
``<block>.attn1.vSpatial`` and ``<block>.attn2.vSpatial [h * w, rows, C]`` for values. It says neither the frames nor
the size. The noise is ``inversion_noise [C, F, h, w]`` in ``cached_latents/cached_0.pt``.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from .backbones.unet3d import UNet3D
from .debias import Debias
from .embedding import LayerEmbedding, MotionEmbedding
from .errors import InputError
from .frame_size import PIXELS, Size, fitting_sizes, grids_of, pixels

_KEY = re.compile(
    r"(?:(?:unet|module|_orig_mod)\.)*"
    r"(?P<layer>(?:(?:(?:down|up)_blocks\.\d+|mid_block)\.temp_attentions|transformer_in)\..+)"
    r"\.(?:pos_embed|(?P<attention>attn[12])\.vSpatial)"
)
_QUERY_KEY = ""
_Tables = dict[str, dict[str, torch.Tensor]]
"""``[positions, rows, C]`` by layer and by attention, ``_QUERY_KEY`` for that of queries and keys."""


def read_authors_file(
    path: str | Path,
    height: int = 0,
    width: int = 0,
    frames: int = 0,
    noise: str | Path | None = None,
) -> MotionEmbedding:
    """The motion in a ``motion_embed.pt``, as trained, to be used as the release uses it: values by difference.

    Args:
        height, width: of the clip it was trained at, in pixels. 0 takes them from ``noise``; a file without values
            does not need them.
        frames: of that clip; 0 finds the last row that is not zero in every table.
        noise: the ``cached_0.pt`` of the same training. It is kept in ``inverted_noise`` as it is: the release does
            not bring it to variance 1.

    Raises:
        InputError: for a file of another kind, and for a size or frame count that does not explain it.
    """
    tables, inverted = _read_tables(Path(path)), _read_noise(noise)
    size, grids = _layout(tables, height, width, inverted)
    frames = _checked_frames(tables, frames, inverted)
    return MotionEmbedding(
        {layer: _layer(layer, parts, frames, grids.get(layer, ())) for layer, parts in tables.items()},
        UNet3D.family,
        frames,
        *size,
        debias=Debias("difference"),
        training={"imported_from": Path(path).name},
        inverted_noise=inverted,
    )


def check_authors_file(path: str | Path, height: int = 0, width: int = 0, noise: str | Path | None = None) -> None:
    """Raise those errors of :func:`read_authors_file` that show without reading the numbers."""
    _layout(_read_tables(Path(path)), height, width, _read_noise(noise))


def _layer(layer: str, parts: Mapping[str, torch.Tensor], frames: int, grid: Sequence[int]) -> LayerEmbedding:
    learnt = {part: table[:, :frames].to(torch.float32, copy=True) for part, table in parts.items()}
    if not all(rows.isfinite().all() for rows in learnt.values()):
        raise InputError("file", f"{layer} holds nan or infinity: its training failed.", "Pick another file.")
    query_key = learnt.pop(_QUERY_KEY, None)
    values = {attention: rows.reshape(*grid, *rows.shape[1:]) for attention, rows in learnt.items()}
    if query_key is None:  # learnt with values alone
        query_key = torch.zeros(1, *next(iter(learnt.values())).shape[1:])
    return LayerEmbedding(query_key[0], values)


def _load(path: Path, name: str) -> Any:
    """A pickle of tensors and plain values. Nothing in it is ever run; what is large is mapped rather than read."""
    if not path.is_file():
        raise InputError(name, f"{path} does not exist.", "Pick one from the list, or refresh it.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # damaged or hostile bytes make the unpickler fail in any way there is
        raise InputError(
            name,
            f"{path.name} cannot be read as plain tensors ({type(error).__name__}).",
            "Copy it again. Files that hold anything else, such as code, are refused.",
        ) from error


def _is_dense(tensor: Any, ndim: int) -> bool:
    """Whether it has real numbers for all of its shape: a file may also describe one that is sparse or repeats."""
    return (
        isinstance(tensor, torch.Tensor)
        and tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and tensor.is_floating_point()
        and tensor.is_contiguous()
        and tensor.ndim == ndim
        and tensor.numel() > 0
    )


def _read_tables(path: Path) -> _Tables:
    content = _load(path, "file")

    def refusal(cause: str) -> InputError:
        what = f"{path.name} is no motion embedding of the paper's release: {cause}."
        return InputError("file", what, "Pick a motion_embed.pt.")

    if not isinstance(content, Mapping) or not content:
        raise refusal("it holds no named tensors")
    tables: _Tables = {}
    for key, table in content.items():
        found = _KEY.fullmatch(key) if isinstance(key, str) else None
        if found is None:
            raise refusal(f"it holds {key!r}")
        if not _is_dense(table, 3):
            raise refusal(f"{key} has not the shape [positions, rows, channels]")
        tables.setdefault(found["layer"], {})[found["attention"] or _QUERY_KEY] = table.detach()
    for layer, parts in tables.items():
        widths = {table.shape[2] for table in parts.values()}
        positions = {len(table) for part, table in parts.items() if part != _QUERY_KEY}
        if len(widths) > 1 or len(positions) > 1 or len(parts.get(_QUERY_KEY, [0])) != 1:
            raise refusal(f"the tensors of {layer} differ in shape")
    if len({table.shape[1] for parts in tables.values() for table in parts.values()}) > 1:
        raise refusal("its tensors differ in the number of rows")
    return tables


def _read_noise(path: str | Path | None) -> torch.Tensor | None:
    if path is None:
        return None
    content = _load(Path(path), "inverted_noise")
    noise = content.get("inversion_noise") if isinstance(content, Mapping) else None
    if not _is_dense(noise, 4):
        raise InputError(
            "inverted_noise",
            f"{Path(path).name} holds no inversion_noise of the shape [channels, frames, height, width].",
            "Pick the cached_0.pt in the folder cached_latents of the same training.",
        )
    return noise.detach().to(torch.float32, copy=True)


def _checked_frames(tables: _Tables, frames: int, noise: torch.Tensor | None) -> int:
    """``frames``, or for 0 one more than the last row that is not zero in every table."""
    everything = [table for parts in tables.values() for table in parts.values()]
    rows = everything[0].shape[1]
    if frames > rows:
        raise InputError("frames", f"the file has only {rows} rows.", "Use 0 to find how many were trained.")
    if not frames:
        used = [(table != 0).any(-1).any(0).nonzero() for table in everything]
        frames = max((int(rows[-1]) + 1 for rows in used if len(rows)), default=0)
    if not frames:
        raise InputError("file", "all of its numbers are zero: nothing was trained.", "Pick another file.")
    if noise is not None and noise.shape[1] != frames:
        raise InputError(
            "inverted_noise",
            f"it has {noise.shape[1]} frames, but the embedding has {frames}.",
            "Pick the cached_0.pt in the folder cached_latents of the same training.",
        )
    return frames


def _layout(tables: _Tables, height: int, width: int, noise: torch.Tensor | None) -> tuple[Size, dict[str, Size]]:
    """The size of the latent, and the grid of every layer that has values."""
    size = (height // PIXELS, width // PIXELS)
    if noise is not None and not any(size):
        size = tuple(noise.shape[-2:])
    if noise is not None and size != noise.shape[-2:]:
        true = pixels(noise.shape[-2:])
        raise InputError("width", f"the noise is of a clip of {true} pixels, not {pixels(size)}.", f"Use {true}.")
    positions = {
        layer: len(table) for layer, parts in tables.items() for part, table in parts.items() if part != _QUERY_KEY
    }
    if not positions:
        return size if all(size) else (0, 0), {}
    grids = grids_of(positions, size)
    if grids is None:
        fitting = ", ".join(map(pixels, fitting_sizes(positions, size if all(size) else None)))
        told = (
            f"the file does not fit a clip of {pixels(size)} pixels" if any(size) else "the file does not tell the size"
        )
        counts = ", ".join(str(count) for count in sorted(set(positions.values())))
        raise InputError(
            "width",
            f"{told}: its layers have {counts} positions.",
            f"Give the size it was trained at; some that fit: {fitting}." if fitting else "The file is damaged.",
        )
    return size, grids
