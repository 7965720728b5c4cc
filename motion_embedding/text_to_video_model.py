"""(ComfyUI) A text-to-video network of diffusers as a stock MODEL."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.supported_models_base
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP

from .errors import InputError
from .text_to_video_folder import fill, read_config, read_weights
from .text_to_video_layers import adopt_layers
from .text_to_video_sampling import new_model_sampling

log = logging.getLogger(__name__)


class HostNetwork:
    """What a diffusers network needs besides ``forward`` to be a ``diffusion_model``. Put it before diffusers' class.

    The network *is* diffusers' own, not a box around it, so layer names, and with them LoRA keys, are diffusers' own.

    text_width: of the text embeddings it reads.
    """

    compute_dtype = torch.float32
    text_width: int

    @property
    def dtype(self) -> torch.dtype:
        """What diffusers casts the time embedding to: the computing precision, which the weights need not have."""
        return self.compute_dtype


class TextToVideoLatentFormat(comfy.latent_formats.LatentFormat):
    """Scales latents as the VAE's config says.

    Previews take the colours of Stable Diffusion's latents where these are in its scale, or what the config has as
    ``latent_rgb_factors [C, 3]`` and ``latent_rgb_factors_bias [3]``, from latents of the model to colours in [-1, 1].
    """

    # Not 3: ComfyUI would then quietly turn an image latent [B, C, h, w] into one-frame videos instead of letting
    # `check_sampling` say what is wrong. It uses this number for nothing else.
    latent_dimensions = 2

    def __init__(self, vae_config: dict[str, Any]) -> None:
        self.latent_channels = vae_config.get("latent_channels", 4)
        self.scale_factor = vae_config.get("scaling_factor") or 0.18215
        self.shift_factor = vae_config.get("shift_factor") or 0.0
        self.latent_rgb_factors = vae_config.get("latent_rgb_factors")
        self.latent_rgb_factors_bias = vae_config.get("latent_rgb_factors_bias")
        stable_diffusion = comfy.latent_formats.SD15()
        same = (len(stable_diffusion.latent_rgb_factors), stable_diffusion.scale_factor, 0.0)
        if not self.latent_rgb_factors and (self.latent_channels, self.scale_factor, self.shift_factor) == same:
            self.latent_rgb_factors = stable_diffusion.latent_rgb_factors

    def process_in(self, latent: torch.Tensor) -> torch.Tensor:
        return (latent - self.shift_factor) * self.scale_factor

    def process_out(self, latent: torch.Tensor) -> torch.Tensor:
        return latent / self.scale_factor + self.shift_factor


class TextToVideoConfig(comfy.supported_models_base.BASE):
    """What ComfyUI wants to know of a model besides its weights."""

    unet_extra_config: dict[str, Any] = {}
    memory_usage_factor = 2.0

    def __init__(self, latent_format: TextToVideoLatentFormat, dtype: torch.dtype, cast: torch.dtype | None) -> None:
        super().__init__({"disable_unet_model_creation": True, "in_channels": latent_format.latent_channels})
        self.latent_format = latent_format
        self.set_inference_dtype(dtype, cast)


class TextToVideoModel(comfy.model_base.BaseModel):
    """Stock model around a :class:`HostNetwork`, which is its ``diffusion_model``."""

    def __init__(self, network: HostNetwork, config: TextToVideoConfig, scheduler: dict[str, Any]) -> None:
        super().__init__(config, device=comfy.model_management.unet_offload_device())
        self.diffusion_model = network
        self.model_sampling = new_model_sampling(scheduler)


def check_sampling(executor: WrapperExecutor, noise: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Sampling wrapper: refuse latents and conditionings of another kind of model before any weights are moved."""
    guider = executor.class_obj
    model: TextToVideoModel = guider.model_patcher.model
    channels, width = model.latent_format.latent_channels, model.diffusion_model.text_width
    mend = "Use EmptyVideoLatent or VAEEncode with the VAE that came with this model."
    if noise.ndim != 5:
        shape = list(noise.shape)
        raise InputError("latent_image", f"it is an image latent {shape}, but this model makes videos.", mend)
    if noise.shape[1] != channels:
        cause = f"it has {noise.shape[1]} channels, but this model's latents have {channels}."
        raise InputError("latent_image", cause, mend)
    for name, conditionings in guider.conds.items():
        for conditioning in conditionings:
            text = conditioning.get("cross_attn")
            if text is None or text.shape[-1] != width:
                cause = f"it is not a text of width {width}, which is what this model reads."
                raise InputError(name, cause, "Use CLIPTextEncode with the CLIP that came with this model.")
            if "control" in conditioning:
                raise InputError(name, "it carries a ControlNet, which this model has no use for.", "Remove it.")
    return executor(noise, *args, **kwargs)


def load_network(
    folder: Path,
    part: str,
    new_network: Callable[[dict[str, Any]], HostNetwork],
    dtype: torch.dtype | None = None,
    model_class: type[TextToVideoModel] = TextToVideoModel,
    config_class: type[TextToVideoConfig] = TextToVideoConfig,
) -> ModelPatcher:
    """The network in ``folder/part``. ``dtype`` is the precision of the weights; None lets ComfyUI choose.

    new_network: makes it of its config, with its parameters on the meta device.
    """
    weights = read_weights(folder, part)
    latent_format = TextToVideoLatentFormat(read_config(folder, "vae"))
    device = comfy.model_management.get_torch_device()
    if dtype is None:
        dtype = comfy.model_management.unet_dtype(
            device,
            model_params=sum(tensor.numel() for tensor in weights.values()),
            supported_dtypes=config_class.supported_inference_dtypes,
            weight_dtype=next(iter(weights.values())).dtype,
        )
    cast = comfy.model_management.unet_manual_cast(dtype, device, config_class.supported_inference_dtypes)
    network = new_network(read_config(folder, part))
    fill(network, weights, dtype, part)
    adopt_layers(network, cast is not None)
    network.compute_dtype = cast or dtype
    scheduler = read_config(folder, "scheduler", "scheduler_config.json")
    model = model_class(network, config_class(latent_format, dtype, cast), scheduler)
    offload_device = comfy.model_management.unet_offload_device()
    patcher = ModelPatcher(model.to(offload_device), load_device=device, offload_device=offload_device)
    patcher.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "motion_embeddings_check", check_sampling)
    log.info("%s: weights %s, computing in %s", type(network).__name__, dtype, network.compute_dtype)
    return patcher
