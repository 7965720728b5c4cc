"""A custom node for the demo's ComfyUI alone: the tiny image model as stock MODEL, CLIP and VAE.

No stock loader knows a UNet of this width: they recognise SD1.5 by being 320 wide. Everything else is stock: the UNet
class, ``BaseModel``, ``ModelPatcher``, so that the pack meets what it meets in a person's graph.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import comfy.model_base
import comfy.model_management
import comfy.supported_models
import comfy.utils
from comfy.model_patcher import ModelPatcher

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from demo.tiny_animatediff.config import CONFIG, IMAGE, TEXT_AND_VAE  # noqa: E402  (found through the path above)
from motion_embedding.text_to_video_clip import load_clip  # noqa: E402
from motion_embedding.text_to_video_model import TextToVideoLatentFormat  # noqa: E402
from motion_embedding.text_to_video_sampling import new_model_sampling  # noqa: E402
from motion_embedding.text_to_video_vae import TextToVideoVAE, load_vae  # noqa: E402


def load_model() -> ModelPatcher:
    config = comfy.supported_models.SD15(dict(CONFIG))
    config.unet_config |= CONFIG  # the class sets SD1.5's own number of heads
    config.latent_format = TextToVideoLatentFormat(json.loads((TEXT_AND_VAE / "vae" / "config.json").read_text()))
    device, rest = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    weights = comfy.utils.load_torch_file(str(IMAGE))
    dtype = comfy.model_management.unet_dtype(device, supported_dtypes=config.supported_inference_dtypes)
    config.set_inference_dtype(dtype, comfy.model_management.unet_manual_cast(dtype, device))
    model = comfy.model_base.BaseModel(config, device=rest)
    model.diffusion_model.load_state_dict(weights)
    schedule = json.loads((TEXT_AND_VAE / "scheduler" / "scheduler_config.json").read_text())
    model.model_sampling = new_model_sampling(schedule)
    return ModelPatcher(model, load_device=device, offload_device=rest)


def load_image_vae() -> TextToVideoVAE:
    """As an image VAE: the pictures of a batch are encoded and decoded each for itself."""
    vae = load_vae(TEXT_AND_VAE)
    vae.latent_dim = 2
    vae.upscale_ratio = vae.downscale_ratio = vae.downscale_ratio[1]
    vae.upscale_index_formula = vae.downscale_index_formula = None
    return vae


class LoadTinyImageModel:
    CATEGORY = "motion embedding/demo"
    FUNCTION = "load"
    RETURN_TYPES = ("MODEL", "CLIP", "VAE")

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {}}

    def load(self) -> tuple:
        return load_model(), load_clip(TEXT_AND_VAE), load_image_vae()


NODE_CLASS_MAPPINGS = {"ME_Demo_LoadTinyImageModel": LoadTinyImageModel}
