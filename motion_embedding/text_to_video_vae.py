"""(ComfyUI) diffusers' AutoencoderKL as a stock VAE that treats frames as one video."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import comfy.model_management
import comfy.sd
import torch
from comfy.model_patcher import ModelPatcher
from diffusers import AutoencoderKL

from .text_to_video_folder import fill, read_config, read_weights
from .text_to_video_layers import adopt_layers

# Bytes per pixel and byte of precision that a VAE 128 channels wide needs at its peak: ComfyUI's own figures.
_ENCODE_BYTES, _DECODE_BYTES = 1767, 2178
_FRAMES_TO_MAKE_ROOM_FOR = 8
_FOR_PREVIEWS = "latent_rgb_factors"  # in the config, but not diffusers'
# Names of the middle attention in files written by diffusers before 0.17, ModelScope's among them.
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


class FrameAutoencoder(torch.nn.Module):
    """An image autoencoder applied to every frame, in chunks that fit into free memory.

    Videos are ``[B, C, F, H, W]``; images ``[B, C, H, W]`` work too.
    """

    def __init__(self, autoencoder: AutoencoderKL) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    @property
    def compression(self) -> int:
        """Pixels per latent position along each side."""
        return 2 ** (len(self.autoencoder.config.block_out_channels) - 1)

    def frame_memory(self, height: int, width: int, dtype: torch.dtype, decoding: bool) -> int:
        """Estimated peak bytes for one frame of ``height`` x ``width`` pixels."""
        base = _DECODE_BYTES if decoding else _ENCODE_BYTES
        relative_width = self.autoencoder.config.block_out_channels[0] / 128
        return int(base * height * width * relative_width * comfy.model_management.dtype_size(dtype)) + 1

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels in [-1, 1] -> the most likely latents, unscaled. No sample is drawn, so encoding is repeatable."""
        memory = self.frame_memory(*pixels.shape[-2:], pixels.dtype, decoding=False)
        return _by_frames(lambda frames: self.autoencoder.encode(frames).latent_dist.mode(), pixels, memory)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Unscaled latents -> pixels in about [-1, 1]."""
        height, width = (side * self.compression for side in latents.shape[-2:])
        memory = self.frame_memory(height, width, latents.dtype, decoding=True)
        return _by_frames(lambda frames: self.autoencoder.decode(frames).sample, latents, memory)


def _by_frames(
    function: Callable[[torch.Tensor], torch.Tensor], videos: torch.Tensor, frame_memory: int
) -> torch.Tensor:
    frames = videos.movedim(2, 1).flatten(0, 1) if videos.ndim == 5 else videos
    at_once = max(1, int(comfy.model_management.get_free_memory(videos.device) * 0.9) // frame_memory)
    result = torch.cat([function(chunk) for chunk in frames.split(at_once)])
    return result.unflatten(0, (videos.shape[0], -1)).movedim(1, 2) if videos.ndim == 5 else result


class TextToVideoVAE(comfy.sd.VAE):
    """Stock VAE: ``VAEEncode`` makes ``[1, C, F, h, w]`` of ``[F, H, W, 3]``, ``VAEDecode`` the reverse."""

    def __init__(self, model: FrameAutoencoder, dtype: torch.dtype | None = None) -> None:
        with _without_warnings():
            # Without weights the host sets its defaults, whichever this version of it has, says so, and stops.
            super().__init__(sd={})
        compression = model.compression
        self.latent_dim = 3
        self.latent_channels = model.autoencoder.config.latent_channels
        self.upscale_ratio = self.downscale_ratio = (lambda frames: frames, compression, compression)
        self.upscale_index_formula = self.downscale_index_formula = (1, compression, compression)
        self.memory_used_encode = lambda shape, dtype: _room(shape) * model.frame_memory(*shape[-2:], dtype, False)
        self.memory_used_decode = lambda shape, dtype: (
            _room(shape) * model.frame_memory(shape[-2] * compression, shape[-1] * compression, dtype, True)
        )
        self.device = comfy.model_management.vae_device()
        self.output_device = comfy.model_management.intermediate_device()
        self.vae_dtype = dtype or comfy.model_management.vae_dtype(self.device, self.working_dtypes)
        self.first_stage_model = model.to(self.vae_dtype)
        self.patcher = ModelPatcher(
            model, load_device=self.device, offload_device=comfy.model_management.vae_offload_device()
        )
        self.model_size()


def _room(shape: torch.Size) -> int:
    return min(shape[2], _FRAMES_TO_MAKE_ROOM_FOR) if len(shape) == 5 else 1


@contextmanager
def _without_warnings() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def load_vae(folder: Path, dtype: torch.dtype | None = None) -> TextToVideoVAE:
    """The VAE of a model folder. ``dtype`` is its precision; None lets ComfyUI choose."""
    config = read_config(folder, "vae")
    config = {name: value for name, value in config.items() if not name.startswith(_FOR_PREVIEWS)}
    with torch.device("meta"):
        autoencoder = AutoencoderKL.from_config(config)
    weights = {_current_name(name): tensor for name, tensor in read_weights(folder, "vae").items()}
    fill(autoencoder, weights, torch.float32, "vae")
    adopt_layers(autoencoder, cast=False)
    return TextToVideoVAE(FrameAutoencoder(autoencoder), dtype)


def _current_name(name: str) -> str:
    return re.sub(
        r"(\.attentions\.\d+\.)(query|key|value|proj_attn)\.", lambda m: f"{m[1]}{_OLD_ATTENTION[m[2]]}.", name
    )
