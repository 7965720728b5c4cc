"""A text-to-video model as a folder in the diffusers layout: finding it, checking it, reading it."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from .errors import InputError

UNET_CLASS = "UNet3DConditionModel"
VAE_CLASS = "AutoencoderKL"
WEIGHT_STEMS = {
    "unet": ("diffusion_pytorch_model",),
    "vae": ("diffusion_pytorch_model",),
    "text_encoder": ("model", "pytorch_model"),
}
_LAYOUT = "It has to hold unet, vae, text_encoder, tokenizer and scheduler."
_AGAIN = "Download or copy it again, completely."


def find_folders(roots: Iterable[str | Path]) -> dict[str, Path]:
    """Text-to-video model folders below ``roots``, as path relative to its root -> folder, sorted by name.

    A folder counts as soon as its ``model_index.json`` or its UNet's config names ``UNet3DConditionModel``, so
    that a half-copied one is listed too and can say on loading what it lacks. The first root wins a name.
    """
    found: dict[str, Path] = {}
    for root in map(Path, roots):
        for directory, below, _ in os.walk(root, followlinks=True):
            folder = Path(directory)
            if _names_video_unet(folder):
                below.clear()
                found.setdefault(folder.relative_to(root).as_posix(), folder)
    return dict(sorted(found.items()))


def _names_video_unet(folder: Path) -> bool:
    for file in (folder / "model_index.json", folder / "unet" / "config.json"):
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(config, dict) and UNET_CLASS in (config.get("_class_name"), *(config.get("unet") or ())):
            return True
    return False


def read_config(folder: Path, part: str, file: str = "config.json") -> dict[str, Any]:
    """The JSON document ``folder/part/file``; :class:`InputError` when it is missing or broken."""
    path = folder / part / file
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("folder", f"{folder.name} has no {part}/{file}.", _LAYOUT) from None
    except ValueError as error:
        raise InputError("folder", f"{path} is not valid JSON ({error}).", _AGAIN) from error


def check_folder(folder: Path) -> None:
    """Raise :class:`InputError` unless every part is there, complete and of the right kind. Reads no weights."""
    unet, vae, text = (read_config(folder, part) for part in ("unet", "vae", "text_encoder"))
    read_config(folder, "scheduler", "scheduler_config.json")
    if not any((folder / "tokenizer" / name).is_file() for name in ("vocab.json", "tokenizer.json")):
        raise InputError("folder", f"{folder.name} has no tokenizer/vocab.json.", _LAYOUT)
    for part, config, expected in (("unet", unet, UNET_CLASS), ("vae", vae, VAE_CLASS)):
        if (kind := config.get("_class_name")) != expected:
            raise InputError("folder", f"its {part} is a {kind}, not a {expected}.", "Choose a text-to-video model.")
    latent, taken = vae.get("latent_channels", 4), unet.get("in_channels", 4)
    if taken != latent or unet.get("out_channels", 4) != latent:
        raise InputError(
            "folder",
            f"its unet takes {taken} channels but its vae makes {latent}.",
            "Choose a plain text-to-video model: one that is also conditioned on an image does not work here.",
        )
    width, wanted = text.get("hidden_size", 512), unet.get("cross_attention_dim", 1024)
    if width != wanted:
        cause = f"its text_encoder is {width} wide but its unet reads {wanted}: the parts are of different models."
        raise InputError("folder", cause, _AGAIN)
    for part in WEIGHT_STEMS:
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
