"""Random checkpoints of full layout that ComfyUI's own loaders accept, a few megabytes each.

The loaders know a model by widths that make it hundreds of megabytes. Here every weight is a strided view of a small
shared buffer, which ``torch.save`` keeps as it is: only the loaded model is large. All levels are 320 wide, the
narrowest that is still detected.

Every function needs ComfyUI importable and returns the path it was given.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from motion_embedding.motion_module import MotionModel
from tests import small_sd15, small_svd

WIDTH = 320
_BUFFER = 2**16
_TEXT = "cond_stage_model.transformer."
_LARGE = {"model_channels": WIDTH, "channel_mult": [1, 1, 1, 1]}


def strided(shapes: Mapping[str, Iterable[int]], gain: float = 0.6) -> dict[str, torch.Tensor]:
    """Weights of the given shapes: norms one, biases zero, the rest windows into one buffer of noise for each fan-in.

    gain: of every matrix; below 1, so that a deep network neither explodes nor saturates.
    """
    noise = torch.randn(_BUFFER, generator=torch.Generator().manual_seed(0))
    buffers: dict[int, torch.Tensor] = {}
    ones, zeros, weights = torch.ones(1), torch.zeros(1), {}
    for name, shape in ((name, tuple(shape)) for name, shape in shapes.items()):
        if len(shape) < 2:
            weights[name] = (ones if name.endswith("weight") else zeros).expand(shape)
            continue
        rows, fan_in = shape[0], torch.Size(shape[1:]).numel()
        buffer = buffers.setdefault(fan_in, noise * (gain / fan_in**0.5))
        step = max(1, min((_BUFFER - fan_in) // rows, 7))
        free = _BUFFER - rows * step - fan_in
        inner = [torch.Size(shape[i + 1 :]).numel() for i in range(1, len(shape))]
        weights[name] = buffer.as_strided(shape, [step, *inner], zlib.crc32(name.encode()) % free)
    return weights


def save_sd15(path: Path) -> Path:
    """For ``CheckpointLoaderSimple``: UNet, CLIP-L and VAE of Stable Diffusion 1.5."""
    return _save(path, {**_unet(_sd15_config()), **_clip_text(), **_vae()})


def save_svd(path: Path) -> Path:
    """For ``ImageOnlyCheckpointLoader``: UNet, image encoder and video VAE of Stable Video Diffusion."""
    config = small_svd.unet_config(context_dim=1024, num_head_channels=64, **_LARGE)
    encoder = _shapes("conditioner.embedders.0.open_clip.model.visual.", _clip_vision)
    return _save(path, {**_unet(config), **strided(encoder), **_vae(video=True)})


def save_motion_module(path: Path, version: str = "v3") -> Path:
    """For ``LoadAnimateDiffModel``, beside :func:`save_sd15`: a motion module in the published layout."""
    with torch.device("meta"):
        model = MotionModel([WIDTH] * 4, [WIDTH] * 4, mid=version == "v2")
    encodings = {k: v for k, v in MotionModel([WIDTH] * 4, [WIDTH] * 4).state_dict().items() if k.endswith(".pe")}
    encoding = next(iter(encodings.values())).clone()
    weights = strided({k: v.shape for k, v in model.state_dict().items()})
    weights.update({k: encoding for k in weights if k.endswith(".pe")})
    return _save(path, {f"module.{k}": v for k, v in weights.items()})


def save_controlnet(path: Path) -> Path:
    """For ``ControlNetLoader``, beside :func:`save_sd15`: a ControlNet in its original layout."""
    import comfy.ops
    from comfy.cldm.cldm import ControlNet

    config = _sd15_config()
    for key in ("out_channels", "transformer_depth_output", "use_temporal_attention"):
        config.pop(key)

    def build() -> torch.nn.Module:
        return ControlNet(hint_channels=3, operations=comfy.ops.disable_weight_init, **config)

    return _save(path, strided(_shapes("control_model.", build)))


def save_clip_l(path: Path) -> Path:
    """For ``CLIPLoader`` of type ``sd3``, whose texts are as wide as those of Wan's and LTX-Video's encoders."""
    return _save(path, {k.removeprefix(_TEXT): weight for k, weight in _clip_text().items()})


def save_wan_vae(path: Path, width: int = 8) -> Path:
    """For ``VAELoader``: that of Wan 2.1, narrow."""
    from comfy.ldm.wan.vae import WanVAE

    weights = strided(_shapes("", lambda: WanVAE(dim=width, z_dim=16, temperal_downsample=[False, True, True])))
    return _save(path, {k: torch.ones(v.shape) if k.endswith("gamma") else v for k, v in weights.items()})


def save_lora(path: Path, rank: int = 2) -> Path:
    """For ``LoraLoaderModelOnly``, on :func:`save_sd15`: changes of a spatial attention's projections."""
    block = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_"
    shapes = {"lora_down.weight": (rank, WIDTH), "lora_up.weight": (WIDTH, rank)}
    return _save(path, strided({f"{block}{p}.{name}": shape for p in "qkv" for name, shape in shapes.items()}))


def _sd15_config() -> dict[str, Any]:
    return small_sd15.unet_config(context_dim=768, num_heads=8, **_LARGE)


def _unet(config: dict[str, Any]) -> dict[str, torch.Tensor]:
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    return strided(
        _shapes("model.diffusion_model.", lambda: UNetModel(operations=comfy.ops.disable_weight_init, **config))
    )


def _clip_text() -> dict[str, torch.Tensor]:
    import comfy.clip_model
    import comfy.ops
    import comfy.sd1_clip

    config = json.loads((Path(comfy.sd1_clip.__file__).parent / "sd1_clip_config.json").read_text())

    def build() -> torch.nn.Module:
        return comfy.clip_model.CLIPTextModel(config, torch.float32, "meta", comfy.ops.disable_weight_init)

    shapes = _shapes(_TEXT, build)
    return strided({k: s for k, s in shapes.items() if "text_projection" not in k})


def _clip_vision() -> torch.nn.Module:
    import comfy.clip_model
    import comfy.clip_vision
    import comfy.ops

    config = json.loads((Path(comfy.clip_vision.__file__).parent / "clip_vision_config_h.json").read_text())
    return comfy.clip_model.CLIPVisionModelProjection(config, torch.float32, "meta", comfy.ops.disable_weight_init)


def _vae(video: bool = False) -> dict[str, torch.Tensor]:
    from comfy.ldm.models.autoencoder import AutoencoderKL, AutoencodingEngine

    config = {
        "double_z": True,
        "z_channels": 4,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
        "ch_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "attn_resolutions": [],
        "dropout": 0.0,
    }

    def build() -> torch.nn.Module:
        if not video:
            return AutoencoderKL(ddconfig=config, embed_dim=4)
        return AutoencodingEngine(
            regularizer_config={"target": "comfy.ldm.models.autoencoder.DiagonalGaussianRegularizer"},
            encoder_config={"target": "comfy.ldm.modules.diffusionmodules.model.Encoder", "params": config},
            decoder_config={
                "target": "comfy.ldm.modules.temporal_ae.VideoDecoder",
                "params": {**config, "video_kernel_size": [3, 1, 1], "alpha": 0.0},
            },
        )

    return strided(_shapes("first_stage_model.", build))


def _shapes(prefix: str, build: Any) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {prefix + name: tensor.shape for name, tensor in build().state_dict().items()}


def _save(path: Path, weights: Mapping[str, torch.Tensor]) -> Path:
    torch.save({"state_dict": dict(weights)}, path)
    return path
