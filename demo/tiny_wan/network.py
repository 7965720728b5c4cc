"""The tiny video transformer: ComfyUI's stock Wan 2.1 class, made small, and how to start or load its weights.

It is trained with the 12 latent channels and the 64-wide text of the tiny model; :mod:`.export` pads both to the 16
channels and the 4096-wide text which the stock loader takes for granted.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from ..tiny_animatediff.image_unet import import_comfyui
from ..tiny_model import codec, text

# The stock loader reads the number of heads as width / 128.
WIDTH, HEADS, LAYERS, FEED_FORWARD = 128, 1, 8, 512


def new_transformer(channels: int = codec.CHANNELS, text_width: int = text.HIDDEN) -> nn.Module:
    """``WanModel`` with the weights it is published to start from: Xavier, and a head of zeros."""
    import_comfyui()
    import comfy.ops
    from comfy.ldm.wan.model import WanModel

    model = WanModel(
        dim=WIDTH,
        num_heads=HEADS,
        num_layers=LAYERS,
        ffn_dim=FEED_FORWARD,
        in_dim=channels,
        out_dim=channels,
        text_dim=text_width,
        dtype=torch.float32,
        operations=comfy.ops.disable_weight_init,
    )
    for name, parameter in model.named_parameters():
        if name.endswith("modulation"):
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
        elif parameter.ndim >= 2:
            nn.init.xavier_uniform_(parameter.data.view(len(parameter), -1))
        elif ".norm" in name and name.endswith("weight"):
            nn.init.ones_(parameter)
        else:
            nn.init.zeros_(parameter)
    for layer in (model.time_embedding[0], model.time_embedding[2], model.text_embedding[0], model.text_embedding[2]):
        nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(model.head.head.weight)
    return model


def load_transformer(path: Path) -> nn.Module:
    """The transformer with the weights that :mod:`.pretrain` wrote, in float32."""
    model = new_transformer()
    model.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return model.eval().requires_grad_(False)
