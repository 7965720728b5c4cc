"""(ComfyUI) Loads a video model folder in the diffusers layout as stock MODEL, CLIP and VAE."""

from __future__ import annotations

from pathlib import Path

import comfy.sd
import torch
from comfy.model_patcher import ModelPatcher

from . import text_to_video_latte
from .text_to_video_clip import load_clip
from .text_to_video_folder import LATTE, check_folder
from .text_to_video_t5 import load_t5
from .text_to_video_unet import load_model
from .text_to_video_vae import load_vae


def load_text_to_video(
    folder: Path, dtype: torch.dtype | None = None
) -> tuple[ModelPatcher, comfy.sd.CLIP, comfy.sd.VAE]:
    """Check ``folder`` as a whole, then load its UNet, text encoder and VAE.

    ``dtype`` is the precision of the UNet's weights; None lets ComfyUI choose. Text encoder and VAE follow ComfyUI's
    own command line. Raises :class:`.errors.InputError` naming the input ``folder`` and what is wrong with it.
    """
    check_folder(folder)
    return load_model(folder, dtype), load_clip(folder), load_vae(folder)


def load_latte(
    folder: Path, dtype: torch.dtype | None = None, text_encoder: bool = True
) -> tuple[ModelPatcher, comfy.sd.CLIP | None, comfy.sd.VAE]:
    """As :func:`load_text_to_video`, of a Latte folder; without ``text_encoder`` None in its place."""
    check_folder(folder, LATTE, text_encoder)
    clip = load_t5(folder) if text_encoder else None
    return text_to_video_latte.load_model(folder, dtype), clip, load_vae(folder)
