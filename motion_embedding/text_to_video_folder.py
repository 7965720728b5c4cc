"""A text-to-video model as a folder in the diffusers layout: finding it, checking it, reading it."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from .errors import InputError

VAE_CLASS = "AutoencoderKL"
WEIGHT_STEMS = {
    "unet": ("diffusion_pytorch_model",),
    "transformer": ("diffusion_pytorch_model",),
    "vae": ("diffusion_pytorch_model",),
    "text_encoder": ("model", "pytorch_model"),
}
_AGAIN = "Download or copy it again, completely."


@dataclass(frozen=True)
class Kind:
    """One kind of model folder.

    name: of such a model, in words.
    network, network_class: the part that denoises, and its class in diffusers.
    text_read, text_given: names in the configs of network and text_encoder, and defaults, of how wide a text is.
    learns_variance: whether the network gives a second set of channels, which sampling does not use.
    tokenizer: whether the folder's own is used.
    """

    name: str
    network: str
    network_class: str
    text_read: tuple[str, int]
    text_given: tuple[str, int]
    learns_variance: bool = False
    tokenizer: bool = True


UNET = Kind("text-to-video", "unet", "UNet3DConditionModel", ("cross_attention_dim", 1024), ("hidden_size", 512))
LATTE = Kind(
    "Latte",
    "transformer",
    "LatteTransformer3DModel",
    ("caption_channels", 4096),
    ("d_model", 512),
    learns_variance=True,
    tokenizer=False,
)


def find_folders(roots: Iterable[str | Path], kind: Kind = UNET) -> dict[str, Path]:
    """Model folders of ``kind`` below ``roots``, as path relative to its root -> folder, sorted by name.

    A folder counts as soon as its ``model_index.json`` or its network's config names the class, so that a half-copied
    one is listed too and can say on loading what it lacks. The first root wins a name.
    """
    found: dict[str, Path] = {}
    for root in map(Path, roots):
        for directory, below, _ in os.walk(root, followlinks=True):
            folder = Path(directory)
            if _is_of(kind, folder):
                below.clear()
                found.setdefault(folder.relative_to(root).as_posix(), folder)
    return dict(sorted(found.items()))


def _is_of(kind: Kind, folder: Path) -> bool:
    for file in (folder / "model_index.json", folder / kind.network / "config.json"):
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        named = (config.get("_class_name"), *(config.get(kind.network) or ())) if isinstance(config, dict) else ()
        if kind.network_class in named:
            return True
    return False


def read_config(folder: Path, part: str, file: str = "config.json") -> dict[str, Any]:
    """The JSON document ``folder/part/file``; :class:`InputError` when it is missing or broken."""
    path = folder / part / file
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("folder", f"{folder.name} has no {part}/{file}.", _AGAIN) from None
    except ValueError as error:
        raise InputError("folder", f"{path} is not valid JSON ({error}).", _AGAIN) from error


def check_folder(folder: Path, kind: Kind = UNET, text_encoder: bool = True) -> None:
    """Raise :class:`InputError` unless every part is there, complete and of the right kind. Reads no weights.

    text_encoder: whether it will be loaded from the folder, so that it has to be there.
    """
    network, vae = (read_config(folder, part) for part in (kind.network, "vae"))
    text = read_config(folder, "text_encoder") if text_encoder else None
    read_config(folder, "scheduler", "scheduler_config.json")
    if kind.tokenizer and not any((folder / "tokenizer" / name).is_file() for name in ("vocab.json", "tokenizer.json")):
        raise InputError("folder", f"{folder.name} has no tokenizer/vocab.json.", _AGAIN)
    for part, config, expected in ((kind.network, network, kind.network_class), ("vae", vae, VAE_CLASS)):
        if (found := config.get("_class_name")) != expected:
            cause = f"its {part} is a {found}, not a {expected}."
            raise InputError("folder", cause, f"Choose a {kind.name} model.")
    latent, taken = vae.get("latent_channels", 4), network.get("in_channels", 4)
    given = network.get("out_channels") or taken
    if taken != latent or given != latent * (1 + kind.learns_variance):
        raise InputError(
            "folder",
            f"its {kind.network} takes {taken} channels and gives {given}, but its vae makes {latent}.",
            "Choose a plain text-to-video model: one that is also conditioned on an image does not work here.",
        )
    if text is not None:
        width, wanted = text.get(*kind.text_given), network.get(*kind.text_read)
        if width != wanted:
            cause = f"its text_encoder is {width} wide but its {kind.network} reads {wanted}:"
            raise InputError("folder", f"{cause} the parts are of different models.", _AGAIN)
    for part in (kind.network, "vae", *(("text_encoder",) if text_encoder else ())):
        for file in weight_files(folder, part):
            _check_complete(file)


def weight_files(folder: Path, part: str) -> list[Path]:
    """The file or shards that hold the weights of ``part``: safetensors before .bin, no variant before fp16."""
    directory = folder / part
    for suffix in ("safetensors", "bin"):
        for stem in WEIGHT_STEMS[part]:
            whole = [p for p in directory.glob(f"{stem}*.{suffix}") if "-of-" not in p.name]
            if whole:
                return [min(whole, key=lambda p: (len(p.name), p.name))]
            indices = sorted(directory.glob(f"{stem}*.{suffix}.index*.json"), key=lambda p: len(p.name))
            if indices:
                shards = read_config(folder, part, indices[0].name).get("weight_map", {}).values()
                return [directory / Path(name).name for name in sorted(set(shards))]
    raise InputError(
        "folder", f"{folder.name}/{part} has no weights ({WEIGHT_STEMS[part][0]}.safetensors or .bin).", _AGAIN
    )


def _check_complete(file: Path) -> None:
    if not file.is_file():
        raise InputError("folder", f"{file} is missing.", _AGAIN)
    with file.open("rb") as stream:
        start = stream.read(8)
        if start == b"version ":
            mend = "Run `git lfs pull` in the folder, or download the file itself."
            raise InputError("folder", f"{file} is a git-lfs pointer, not the weights.", mend)
        if file.suffix == ".safetensors":
            length = int.from_bytes(start, "little")
            expected = 8 + length
            try:
                header = json.loads(stream.read(length)) if expected <= file.stat().st_size else {}
            except ValueError as error:
                raise InputError("folder", f"{file} is not a safetensors file.", _AGAIN) from error
            ends = (entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
            expected += max(ends, default=0)
        else:
            # Only zip archives, which torch writes since 2020, tell from outside whether their end is there.
            cut = start.startswith(b"PK") and not zipfile.is_zipfile(file)
            expected = file.stat().st_size + cut
    if (size := file.stat().st_size) < expected:
        raise InputError("folder", f"{file} is cut off ({size} of at least {expected} bytes).", _AGAIN)


def read_weights(folder: Path, part: str) -> dict[str, torch.Tensor]:
    """All tensors of ``part`` by name, on the CPU, in the precision of the files."""
    weights: dict[str, torch.Tensor] = {}
    for file in weight_files(folder, part):
        _check_complete(file)
        try:
            if file.suffix == ".safetensors":
                with safe_open(file, framework="pt") as stream:
                    weights.update({name: stream.get_tensor(name) for name in stream.keys()})  # noqa: SIM118
            else:
                weights.update(torch.load(file, map_location="cpu", weights_only=True))
        except Exception as error:
            raise InputError("folder", f"{file} cannot be read ({error}).", _AGAIN) from error
    return weights


def fill(module: torch.nn.Module, weights: dict[str, torch.Tensor], dtype: torch.dtype, part: str) -> None:
    """Give ``module``, built on the meta device, exactly ``weights`` in ``dtype``; InputError when they do not fit."""
    converted = {name: tensor.to(dtype) for name, tensor in weights.items()}
    try:
        module.load_state_dict(converted, strict=True, assign=True)
    except RuntimeError as error:
        detail = " ".join(str(error).split())
        cause = f"the weights in {part} do not fit {part}/config.json ({detail[:300]})."
        raise InputError("folder", cause, _AGAIN) from error
    module.requires_grad_(False).eval()
