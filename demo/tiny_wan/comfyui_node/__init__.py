"""A custom node for the demo's ComfyUI alone: the tiny model's text encoder and VAE in the shapes of Wan 2.1.

The transformer itself comes through the stock ``UNETLoader``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import comfy.latent_formats
import comfy.sd
import torch

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from demo.tiny_wan.files import CHANNELS, TEXT_AND_VAE, TEXT_WIDTH  # noqa: E402  (found through the path above)
from motion_embedding.text_to_video_clip import load_clip  # noqa: E402
from motion_embedding.text_to_video_model import TextToVideoLatentFormat  # noqa: E402
from motion_embedding.text_to_video_vae import FrameAutoencoder, TextToVideoVAE, load_vae  # noqa: E402


class WideClip(comfy.sd.CLIP):
    """Text as wide as Wan's, zeros behind what the tiny encoder gives."""

    def encode_from_tokens(self, tokens, return_pooled=False, return_dict=False):
        out = super().encode_from_tokens(tokens, return_pooled, return_dict=True)
        out["cond"] = torch.nn.functional.pad(out["cond"], (0, TEXT_WIDTH - out["cond"].shape[-1]))
        if return_dict:
            return out
        return (out["cond"], out["pooled_output"]) if return_pooled else out["cond"]


class WanFrames(FrameAutoencoder):
    """Frame by frame, to latents that Wan's latent format makes the tiny model's own, zeros in further channels."""

    def __init__(self, autoencoder: torch.nn.Module, own: comfy.latent_formats.LatentFormat) -> None:
        super().__init__(autoencoder)
        self.own, self.wan = own, comfy.latent_formats.Wan21()

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        latents = self.own.process_in(super().encode(pixels))
        return self.wan.process_out(torch.nn.functional.pad(latents, (0, 0) * 3 + (0, CHANNELS - latents.shape[1])))

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        channels = self.autoencoder.config.latent_channels
        return super().decode(self.own.process_out(self.wan.process_in(latents)[:, :channels]))


def load_text() -> comfy.sd.CLIP:
    clip = load_clip(TEXT_AND_VAE)
    clip.__class__ = WideClip
    return clip


def load_frames() -> TextToVideoVAE:
    vae = load_vae(TEXT_AND_VAE)
    own = TextToVideoLatentFormat(json.loads((TEXT_AND_VAE / "vae" / "config.json").read_text()))
    wide = TextToVideoVAE(WanFrames(vae.first_stage_model.autoencoder, own))
    wide.latent_channels = CHANNELS
    return wide


class LoadTinyWanTextAndVAE:
    CATEGORY = "motion embedding/demo"
    FUNCTION = "load"
    RETURN_TYPES = ("CLIP", "VAE")

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {}}

    def load(self) -> tuple:
        return load_text(), load_frames()


NODE_CLASS_MAPPINGS = {"ME_Demo_LoadTinyWanTextAndVAE": LoadTinyWanTextAndVAE}
