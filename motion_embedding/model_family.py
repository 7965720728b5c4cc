"""(ComfyUI) The family of a model file, told by its header as the host tells it, before anything is loaded."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import comfy.model_detection
import comfy.supported_models
import torch
from comfy.utils import state_dict_prefix_replace
from safetensors import SafetensorError, safe_open

_FAMILIES = {
    "SD15": "animatediff",  # once a motion model is beside it, which may be put there later in the graph
    "SVD_img2vid": "svd",
    "LTXV": "ltxv",
    "GenmoMochi": "mochi",
    "HunyuanVideo": "hunyuan_video",
    "HunyuanVideoI2V": "hunyuan_video",
    "HunyuanVideoSkyreelsI2V": "hunyuan_video",
    "HunyuanVideo15": "hunyuan_video_15",
    "HunyuanVideo15_SR_Distilled": "hunyuan_video_15",
    "CosmosT2IPredict2": "cosmos_predict2",
    "CosmosI2VPredict2": "cosmos_predict2",
}
"""By the host's own name of the kind of model; all others are of no family, or of one that is not known."""


def family_of_file(path: str | Path) -> str | None:
    """The family of the diffusion model in a ``.safetensors`` file; None where it is not known.

    A checkpoint is judged by its diffusion model alone. Only the header is read.
    """
    try:
        status = Path(path).stat()
        return _family(str(path), status.st_mtime_ns, status.st_size)
    except OSError:
        return None


@lru_cache(maxsize=64)
def _family(path: str, changed: int, size: int) -> str | None:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            # Never more than shapes: the host looks at no number to tell a model.
            weights = {
                key: torch.empty(file.get_slice(key).get_shape(), device="meta")
                for key in file.keys()  # noqa: SIM118
            }
    except (SafetensorError, OSError):
        return None
    prefix = comfy.model_detection.unet_prefix_from_state_dict(weights)
    weights = state_dict_prefix_replace(dict(weights), {prefix: ""}, filter_keys=True) or weights
    try:
        kind = comfy.model_detection.model_config_from_unet(weights, "", metadata=metadata)
    except Exception:  # whatever the host makes of a file that it does not know
        return None
    if isinstance(kind, comfy.supported_models.WAN21_T2V):
        return "wan"
    return _FAMILIES.get(type(kind).__name__)
