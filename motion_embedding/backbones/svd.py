"""Stable Video Diffusion and SV3D: the host's ``UNetModel`` with a ``SpatialVideoTransformer`` at every attention.

Frames mix in ``time_stack``, one block beside each spatial one: ``attn1`` is a self-attention over the frames of a
position, ``attn2`` looks at the picture the clip starts from (or is absent), so only ``attn1`` counts. The clip's
frames lie on the batch axis and the host passes their number along; inside, tokens are ``[(B h w), F, C]``, and one
normalised tensor feeds query, key and value. SV3D differs in what its label embedding is told, not here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import nn

from ..errors import InputError
from .base import Call, FramesOnBatch, TemporalAttention, add_position_major, halved_grid
from .host_unet import parts
from .pictures import FAR, distance, far_message
from .unet3d import UNet3D

_PLACE = r"(?:^|\.)((?:(?:in|out)put_blocks\.\d+|middle_block)\.1\."
_TEMPORAL = re.compile(_PLACE + r"time_stack\.\d+)$")
_SPATIAL = re.compile(_PLACE + r"(?:proj_in|proj_out|transformer_blocks\..+))$")
_PICTURE = "concat_latent_image"
_WIRING = "Wire positive of SVD_img2vid_Conditioning, with the clip's first frame as init_image"
_NEAR = 0.01


class SVD(FramesOnBatch):
    family = "svd"
    title = "Stable Video Diffusion"
    presets = {**UNet3D.presets, "recommended": list}  # by width and side

    def attentions(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[TemporalAttention]:
        found = []
        for name, block in model.named_modules():
            place = _TEMPORAL.search(name.replace("_orig_mod.", ""))
            attention = getattr(block, "attn1", None)
            if place and attention is not None:
                found.append(TemporalAttention(place[1], "attn1", attention.to_q, attention.to_k, attention.to_v))
        return found

    def blocks(self, model: nn.Module, beside: Sequence[nn.Module] = ()) -> list[nn.Module]:
        return list(parts([*model.input_blocks, model.middle_block, *model.output_blocks]))

    def spatial_linears(self, model: nn.Module) -> list[nn.Linear]:
        """Those of the ``transformer_blocks`` and the projections around them."""
        named = ((name.replace("_orig_mod.", ""), module) for name, module in model.named_modules())
        return [module for name, module in named if _SPATIAL.search(name) and isinstance(module, nn.Linear)]

    def check_conditioning(self, model: nn.Module, positive: list, latents: torch.Tensor, call: Call) -> str | None:
        for _, settings in positive:
            picture = settings.get(_PICTURE)
            if picture is None:
                raise InputError("positive", "it holds no picture, and this model makes a clip of one.", f"{_WIRING}.")
            if not picture.any():
                raise InputError("positive", "its picture is blank, like that of a negative.", f"{_WIRING}.")
            if picture.shape[-2:] != latents.shape[-2:]:
                (h, w), (height, width) = picture.shape[-2:], latents.shape[-2:]
                raise InputError(
                    "positive",
                    f"its picture is {w}x{h} in latent size, and the clip is {width}x{height}.",
                    "Give SVD_img2vid_Conditioning the width and height of the clip's frames.",
                )
            if len(picture) not in (1, call.frames):
                raise InputError(
                    "positive",
                    f"it holds {len(picture)} pictures, for a clip of {call.frames} frames.",
                    f"{_WIRING} alone (ImageFromBatch, length 1).",
                )
            distances = [distance(p, frame) for p, frame in zip(picture, latents, strict=False)]
            if len(distances) > 1 and max(distances) < _NEAR:
                raise InputError(
                    "positive",
                    "its pictures are the whole clip, which leaves no motion to learn.",
                    f"{_WIRING} alone (ImageFromBatch, length 1).",
                )
            if distances[0] > FAR:
                return far_message("SVD_img2vid_Conditioning")
        return None

    def grid(self, x: torch.Tensor, call: Call) -> tuple[int, int]:
        return halved_grid(x.shape[0] // call.batch, call.height, call.width)

    def add(self, x: torch.Tensor, addition: torch.Tensor, call: Call) -> torch.Tensor:
        return add_position_major(x, addition, len(call.groups))
