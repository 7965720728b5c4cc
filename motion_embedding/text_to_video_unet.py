"""(ComfyUI) diffusers' text-to-video UNet as a stock MODEL."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.supported_models_base
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from diffusers import UNet3DConditionModel

from .errors import InputError
from .text_to_video_folder import fill, read_config, read_weights
from .text_to_video_layers import adopt_layers
from .text_to_video_sampling import new_model_sampling

log = logging.getLogger(__name__)


class TextToVideoUNet(UNet3DConditionModel):
    """diffusers' UNet with the call signature of ComfyUI's diffusion models.

    It *is* the diffusers UNet, not a box around it, so layer names, and with them LoRA keys, are diffusers' own.
    """

    compute_dtype = torch.float32

    @property
    def unet(self) -> UNet3DConditionModel:
        """The UNet whose temporal attentions are to be walked: itself."""
        return self

    @property
    def dtype(self) -> torch.dtype:
        """What diffusers casts the time embedding to: the computing precision, which the weights need not have."""
        return self.compute_dtype

    def forward(
        self,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor | None = None,
        control: Any = None,
        transformer_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Noisy latents ``[B, C, F, h, w]``, timesteps ``[B]``, text ``[B, tokens, width]`` -> prediction."""
        self.compute_dtype = x.dtype
        return super().forward(x, timesteps, context, return_dict=False)[0]


class TextToVideoLatentFormat(comfy.latent_formats.LatentFormat):
    """Scales latents as the VAE's config says. No preview: it would need colour factors measured per VAE."""

    # Not 3: ComfyUI would then quietly turn an image latent [B, C, h, w] into one-frame videos instead of letting
    # `check_sampling` say what is wrong. It uses this number for nothing else.
    latent_dimensions = 2

    def __init__(self, vae_config: dict[str, Any]) -> None:
        self.latent_channels = vae_config.get("latent_channels", 4)
        self.scale_factor = vae_config.get("scaling_factor") or 0.18215
        self.shift_factor = vae_config.get("shift_factor") or 0.0

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
    """Stock model around :class:`TextToVideoUNet`, which is its ``diffusion_model``."""

    def __init__(self, unet: TextToVideoUNet, config: TextToVideoConfig, scheduler: dict[str, Any]) -> None:
        super().__init__(config, device=comfy.model_management.unet_offload_device())
        self.diffusion_model = unet
        self.model_sampling = new_model_sampling(scheduler)


def check_sampling(executor: WrapperExecutor, noise: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Sampling wrapper: refuse latents and conditionings of another kind of model before any weights are moved."""
    guider = executor.class_obj
    model: TextToVideoModel = guider.model_patcher.model
    channels, width = model.latent_format.latent_channels, model.diffusion_model.config.cross_attention_dim
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


def load_model(folder: Path, dtype: torch.dtype | None = None) -> ModelPatcher:
    """The UNet of a model folder. ``dtype`` is the precision of the weights; None lets ComfyUI choose."""
    weights = read_weights(folder, "unet")
    latent_format = TextToVideoLatentFormat(read_config(folder, "vae"))
    device = comfy.model_management.get_torch_device()
    if dtype is None:
        dtype = comfy.model_management.unet_dtype(
            device,
            model_params=sum(tensor.numel() for tensor in weights.values()),
            supported_dtypes=TextToVideoConfig.supported_inference_dtypes,
            weight_dtype=next(iter(weights.values())).dtype,
        )
    cast = comfy.model_management.unet_manual_cast(dtype, device, TextToVideoConfig.supported_inference_dtypes)
    with torch.device("meta"):
        unet = TextToVideoUNet.from_config(read_config(folder, "unet"))
    fill(unet, weights, dtype, "unet")
    adopt_layers(unet, cast is not None)
    unet.compute_dtype = cast or dtype
    model = TextToVideoModel(
        unet,
        TextToVideoConfig(latent_format, dtype, cast),
        read_config(folder, "scheduler", "scheduler_config.json"),
    )
    offload_device = comfy.model_management.unet_offload_device()
    patcher = ModelPatcher(model.to(offload_device), load_device=device, offload_device=offload_device)
    patcher.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "motion_embeddings_check", check_sampling)
    log.info("text-to-video UNet: weights %s, computing in %s", dtype, unet.compute_dtype)
    return patcher
