"""Wan 2.1 and 2.2, and what is built on them: the host's ``WanModel``.

Frames mix in the self-attention of every block, ``blocks.N.self_attn``, over all tokens of the clip. A reference
picture's tokens come before the clip's, appended frames (``time_dim_concat``) after them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from ..errors import InputError
from .base import Call, TemporalAttention
from .joint import JointTokens
from .pictures import FAR, distance, far_message

_PLACE = re.compile(r"(?:^|\.)(blocks\.\d+)\.self_attn$")
_MASK = 4  # channels that say where the picture is known
_WIRING = "Wire positive of WanImageToVideo, with the clip's first frame as start_image"


class Wan(JointTokens):
    family = "wan"
    title = "Wan"
    patch = (2, 2)
    frames_each = 4

    def attentions(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[TemporalAttention]:
        found = []
        for name, module in model.named_modules():
            place = _PLACE.search(name.replace("_orig_mod.", ""))
            if place and all(hasattr(module, part) for part in ("q", "k", "v", "o")):
                found.append(TemporalAttention(place[1], "self_attn", module.q, module.k, module.v))
        return found

    def blocks(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[nn.Module]:
        return list(model.blocks)

    def extended(self, call: Call, model: nn.Module, conditioning: Mapping[str, object]) -> Call:
        if getattr(model, "ref_conv", None) is None or conditioning.get("reference_latent") is None:
            return call
        rows, columns = self.tokens(call)
        return replace(call, leading=rows * columns)

    def check_conditioning(self, model: nn.Module, positive: list, latents: torch.Tensor, call: Call) -> str | None:
        channels = latents.shape[1]
        if model.patch_embedding.weight.shape[1] != 2 * channels + _MASK or hasattr(model, "audio_proj"):
            return None  # text to video, or control; HuMo's picture is a reference
        message = None
        for _, settings in positive:
            picture, mask = settings.get("concat_latent_image"), settings.get("concat_mask")
            if picture is None:
                raise InputError("positive", "it holds no picture, and this model makes a clip of one.", f"{_WIRING}.")
            if picture.shape[2:] != latents.shape[2:]:
                (f, h, w), (frames, height, width) = picture.shape[2:], latents.shape[2:]
                raise InputError(
                    "positive",
                    f"it is for a clip of {f} frames of {w}x{h} in latent size, and latents hold {frames} of "
                    f"{width}x{height}.",
                    "Give WanImageToVideo the length, width and height of the clip.",
                )
            if mask is not None and not mask.any():
                raise InputError(
                    "positive",
                    "its pictures are the whole clip, which leaves no motion to learn.",
                    f"{_WIRING} alone (ImageFromBatch, length 1).",
                )
            if distance(picture[0, :, 0], latents[0, :, 0]) > FAR:
                message = far_message("WanImageToVideo")
        return message
