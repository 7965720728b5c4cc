"""The tiny image model: ComfyUI's stock SD1.5 UNet class, made small, and how to start or load its weights."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from motion_embedding.motion_module import MotionModel

from ..host import comfyui_path
from ..tiny_model import text
from .config import CONFIG, TEXT_AND_VAE


def import_comfyui() -> None:
    """Make ``comfy`` importable with attention that can be trained through quickly. Call before importing it."""
    path = str(comfyui_path())
    if path not in sys.path:
        sys.path.append(path)
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    args.use_pytorch_cross_attention = True


def new_unet() -> nn.Module:
    """``UNetModel`` with weights drawn as PyTorch draws them; what closes a residual branch starts at zero."""
    import_comfyui()
    import comfy.ops
    from comfy.ldm.modules.attention import SpatialTransformer
    from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, UNetModel

    unet = UNetModel(**CONFIG, dtype=torch.float32, operations=comfy.ops.disable_weight_init)
    for module in unet.modules():
        for kind in (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm):
            if isinstance(module, kind):
                kind.reset_parameters(module)
    branches = [unet.out[2]]
    branches += [m.out_layers[3] for m in unet.modules() if isinstance(m, ResBlock)]
    branches += [m.proj_out for m in unet.modules() if isinstance(m, SpatialTransformer)]
    for module in branches:
        for parameter in module.parameters():
            nn.init.zeros_(parameter)
    return unet


def load_unet(path: Path) -> nn.Module:
    """The image UNet with the weights of a safetensors file (any float precision), in float32."""
    unet = new_unet()
    unet.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return unet.eval().requires_grad_(False)


def new_motion_model() -> MotionModel:
    """A motion module for :func:`new_unet` in the layout of version 3, which changes nothing yet."""
    levels = len(CONFIG["channel_mult"])
    widths = [CONFIG["model_channels"]] * levels
    blocks = CONFIG["num_res_blocks"][0]
    return MotionModel(widths, widths, blocks, blocks + 1)


class Prompts:
    """The tiny model's frozen text encoder, each prompt read once."""

    def __init__(self) -> None:
        from transformers import CLIPTextModel

        self.tokenizer = text.load_tokenizer(TEXT_AND_VAE / "tokenizer")
        self.encoder = CLIPTextModel.from_pretrained(TEXT_AND_VAE / "text_encoder", torch_dtype=torch.float32).eval()
        self._known: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def __call__(self, prompts: list[str]) -> torch.Tensor:
        """``[B, tokens, 64]``."""
        for prompt in dict.fromkeys(prompts):
            if prompt not in self._known:
                ids = self.tokenizer([prompt], padding="max_length", return_tensors="pt")["input_ids"]
                self._known[prompt] = self.encoder(ids).last_hidden_state[0]
        return torch.stack([self._known[prompt] for prompt in prompts])
