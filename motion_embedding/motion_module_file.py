"""Which kind of motion model a file holds, told by its keys and shapes alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from .errors import InputError

EVOLVED = "Use AnimateDiff-Evolved's nodes for it; motions apply to those as well."
_V1 = "AnimateDiff version 1"
_SDXL_LEVELS = 3  # SD1.5 has four
_NARROWEST = 320  # level of either; models for tests and demos are narrower


def recognise(shapes: Mapping[str, Iterable[int]], name: str = "motion_model") -> str:
    """``"v2"`` or ``"v3"``, the kinds of AnimateDiff model for SD1.5 that run with one GroupNorm a frame.

    shapes: of the tensors of the file by key, keys as :func:`plain_keys` makes them.
    Raises :class:`InputError` about the input ``name`` that names any other kind it knows.
    """
    keys = tuple(shapes)
    loras = [key for key in keys if "_lora." in key or ".lora_" in key]
    if loras and not any("motion_modules" in key for key in loras):
        raise InputError(name, "this is a LoRA, not a motion model.", "Use a node that loads LoRAs.")
    for kind, trait in _OTHERS.items():
        if any(trait(key) for key in keys):
            raise InputError(name, f"this is {kind}, not AnimateDiff version 2 or 3.", EVOLVED)
    modules = [key for key in keys if ".motion_modules." in key]
    if not modules:
        raise InputError(
            name, "the file holds no motion model.", "Choose an AnimateDiff file, such as v3_sd15_mm.ckpt."
        )
    encodings = [tuple(shapes[key]) for key in modules if key.endswith(".pos_encoder.pe")]
    if not encodings:
        raise InputError(name, "this is AnimateLCM, not AnimateDiff version 2 or 3.", EVOLVED)
    levels = {key.split(".")[1] for key in modules if key.startswith("down_blocks.")}
    if len(levels) == _SDXL_LEVELS and min(encoding[-1] for encoding in encodings) >= _NARROWEST:
        raise InputError(name, "this is AnimateDiff for SDXL, not for SD1.5.", EVOLVED)
    if any(key.startswith("mid_block.") for key in modules):
        return "v2"
    if encodings[0][1] == 32:
        return "v3"
    raise InputError(name, f"this is {_V1}, not version 2 or 3.", EVOLVED)


def plain_keys(values: Mapping[str, object]) -> dict[str, object]:
    """Without the ``module.`` that training on several devices leaves in front of every key."""
    return {key.removeprefix("module."): value for key, value in values.items()}


def motion_modules(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What of ``state_dict`` belongs to the motion modules; training leaves counters and the like beside it."""
    return {key: tensor for key, tensor in plain_keys(state_dict).items() if ".motion_modules." in key}


# In this order: several hold AnimateDiff's own keys besides what makes them different.
_OTHERS = {
    "a motion LoRA": lambda key: "_lora." in key or ".lora_" in key,
    "HotShot-XL": lambda key: "temporal_attentions." in key and key.endswith(".pos_encoder.positional_encoding"),
    "HelloMeme": lambda key: ".motion_modules." in key and ".pos_embed." in key,
    "CameraCtrl": lambda key: "qkv_merge" in key or key.startswith("encoder_down_conv_blocks."),
    "MotionCtrl": lambda key: "cc_projection" in key,
    "FancyVideo": lambda key: key == "FancyVideo" or key.startswith(("fps_embedding.", "motion_embedding.")),
    "SparseCtrl": lambda key: key.startswith("controlnet_"),
    "PIA": lambda key: key == "conv_in.weight",
    "AnimateLCM-I2V": lambda key: key.startswith("img_encoder."),
}
