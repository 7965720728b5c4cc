"""Nodes that bring a text-to-video model and its empty latents into the graph."""

from __future__ import annotations

import importlib
from pathlib import Path

import comfy.model_management
import comfy.sd
import folder_paths
import torch
from comfy_api.latest import io

from ..motion_embedding.errors import InputError
from ..motion_embedding.text_to_video_folder import LATTE, UNET, Kind, check_folder, find_folders
from . import examples
from .common import CATEGORY, verdict

_DTYPES = {"auto": None, "fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
_TEXT_ENCODERS = {"of the folder": True, "none": False}


class LoadTextToVideoModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_LoadTextToVideoModel",
            display_name="Load Text-to-Video Model",
            category=CATEGORY,
            description="Loads a text-to-video model in the diffusers layout (ModelScope, ZeroScope, VideoCrafter2): "
            "a folder with unet, vae, text_encoder, tokenizer and scheduler in models/diffusers. The outputs work "
            "with the stock CLIPTextEncode, KSampler, VAEEncode and VAEDecode.",
            inputs=[
                _folder_input(UNET),
                _dtype_input("UNet"),
            ],
            outputs=[io.Model.Output(), io.Clip.Output(), io.Vae.Output()],
        )

    @classmethod
    def validate_inputs(cls, folder: str) -> bool | str:
        """Missing or half-copied folders are refused before anything in the graph runs."""
        return verdict(lambda name: check_folder(_find(name, UNET)), folder)

    @classmethod
    def execute(cls, folder: str, dtype: str) -> io.NodeOutput:
        path = _find(folder, UNET)
        _require_diffusers(UNET)
        # Only here, so that without diffusers the rest of the pack still loads.
        from ..motion_embedding.text_to_video import load_text_to_video

        return io.NodeOutput(*load_text_to_video(path, _DTYPES[dtype]))


class LoadLatteModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ME_LoadLatteModel",
            display_name="Load Latte Model",
            category=CATEGORY,
            description="Loads Latte, a video transformer, in the diffusers layout: a folder with transformer, vae, "
            "text_encoder and scheduler in models/diffusers. The outputs work with the stock CLIPTextEncode, KSampler, "
            "VAEEncode and VAEDecode.",
            inputs=[
                _folder_input(LATTE),
                _dtype_input("transformer"),
                io.Combo.Input(
                    "text_encoder",
                    options=list(_TEXT_ENCODERS),
                    default="of the folder",
                    tooltip="none: the folder's T5 (19 GB in fp32) is neither needed nor loaded, and CLIP stays empty. "
                    "Take the stock CLIPLoader with a T5 XXL file and type pixart in its place.",
                ),
            ],
            outputs=[io.Model.Output(), io.Clip.Output(), io.Vae.Output()],
        )

    @classmethod
    def validate_inputs(cls, folder: str, text_encoder: str) -> bool | str:
        """Missing or half-copied folders are refused before anything in the graph runs."""
        return verdict(
            lambda name, text: check_folder(_find(name, LATTE), LATTE, _TEXT_ENCODERS[text]), folder, text_encoder
        )

    @classmethod
    def execute(cls, folder: str, dtype: str, text_encoder: str) -> io.NodeOutput:
        path = _find(folder, LATTE)
        _require_diffusers(LATTE)
        from ..motion_embedding.text_to_video import load_latte

        return io.NodeOutput(*load_latte(path, _DTYPES[dtype], _TEXT_ENCODERS[text_encoder]))


def _folder_input(kind: Kind) -> io.Combo.Input:
    return io.Combo.Input(
        "folder",
        options=list(_folders(kind)),
        tooltip=f"A model folder in models/diffusers. Only those with a {kind.network_class} are listed.",
    )


def _dtype_input(network: str) -> io.Combo.Input:
    tooltip = f"Precision of the {network}'s weights. auto: what suits the device; on a CPU fp32."
    return io.Combo.Input("dtype", options=list(_DTYPES), default="auto", tooltip=tooltip)


def _folders(kind: Kind) -> dict[str, Path]:
    """The person's model folders by name, then ours."""
    found = find_folders(folder_paths.get_folder_paths("diffusers"), kind)
    ours = examples.models() if kind is UNET else {}
    return {**found, **{name: folder for name, folder in ours.items() if name not in found}}


def _find(folder: str, kind: Kind) -> Path:
    folders = _folders(kind)
    if folder not in folders:
        mend = "Copy it to models/diffusers and press R in the editor to refresh the list."
        raise InputError("folder", f"there is no {kind.name} model {folder!r}.", mend)
    return folders[folder]


def _require_diffusers(kind: Kind) -> None:
    try:
        diffusers = importlib.import_module("diffusers")
        for name in ("AutoencoderKL", kind.network_class):
            getattr(diffusers, name)
    except (ImportError, AttributeError, RuntimeError) as error:
        mend = 'Run `python -m pip install "diffusers>=0.32"` with ComfyUI\'s Python, then restart ComfyUI.'
        raise InputError("folder", f"the package diffusers cannot be imported ({error}).", mend) from error


class EmptyVideoLatent(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        def size(name: str) -> io.Int.Input:
            tip = f"{name.title()} of the video in pixels, rounded down to what the VAE can make."
            return io.Int.Input(name, default=256, min=16, max=16384, step=8, tooltip=tip)

        return io.Schema(
            node_id="ME_EmptyVideoLatent",
            display_name="Empty Video Latent",
            category=CATEGORY,
            description="Empty latents for a new video, with the channels and the downscale of the VAE given.",
            inputs=[
                io.Vae.Input("vae", tooltip="The VAE that will decode the video; it says how its latents look."),
                size("width"),
                size("height"),
                io.Int.Input("frames", default=16, min=1, max=4096, tooltip="Length of the video in frames."),
                io.Int.Input("batch_size", default=1, min=1, max=4096, tooltip="How many videos to make at once."),
            ],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(cls, vae: comfy.sd.VAE, width: int, height: int, frames: int, batch_size: int) -> io.NodeOutput:
        if vae.latent_dim != 3:
            mend = "Connect the VAE of a video model, or use EmptyLatentImage with one batch entry per frame."
            raise InputError("vae", "it makes latents of images, not of videos.", mend)
        compression = vae.spacial_compression_encode()
        for name, pixels in (("width", width), ("height", height)):
            if pixels < compression:
                raise InputError(name, f"{pixels} is too small for this VAE.", f"Give at least {compression}.")
        shape = (batch_size, vae.latent_channels, _latent_frames(vae, frames), height // compression)
        device = comfy.model_management.intermediate_device()
        return io.NodeOutput({"samples": torch.zeros(*shape, width // compression, device=device)})


def _latent_frames(vae: comfy.sd.VAE, frames: int) -> int:
    ratio = vae.downscale_ratio
    return max(1, ratio[0](frames)) if isinstance(ratio, tuple) else frames


NODES = [LoadTextToVideoModel, LoadLatteModel, EmptyVideoLatent]
