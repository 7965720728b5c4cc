"""(ComfyUI) AnimateDiff on a ``ModelPatcher``: a motion model that runs beside its UNet (design section 4)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError

import comfy.ops
import comfy.supported_models
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.model_sampling import ModelSamplingDiscrete
from comfy.patcher_extension import WrappersMP
from safetensors import SafetensorError, safe_open

from .batch_windows import around_predict_noise
from .beside import KEY as BESIDE
from .beside import Beside
from .errors import InputError
from .motion_module import MotionModel
from .motion_module_file import EVOLVED, motion_modules, plain_keys, recognise
from .motion_module_install import attached, places

KEY = "motion_embedding_animatediff"
# What the published motion models were trained with: betas that rise evenly (diffusers calls that "linear", the host
# "sqrt_linear"), where SD1.5's own rise evenly in their square root.
_BETAS = {"beta_schedule": "sqrt_linear", "linear_start": 0.00085, "linear_end": 0.012}

_OTHER_MODELS = tuple(getattr(comfy.supported_models, name) for name in ("SD20", "SDXL", "SDXLRefiner"))


def check_header(path: str | Path) -> None:
    """Raise :class:`InputError` when ``path`` is a .safetensors file that cannot be loaded; reads no tensor."""
    if Path(path).suffix != ".safetensors":
        return
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    recognise(plain_keys(shapes))


def load_animatediff(model: ModelPatcher, path: str | Path, own_betas: bool = True, strength: float = 1.0):
    """A clone of ``model`` that makes videos: the frames are the pictures of a latent's batch.

    path: a motion model of AnimateDiff version 2 or 3 for SD1.5.
    own_betas: sample with the noise schedule that AnimateDiff was trained with, instead of the model's.
    strength: factor on what the motion model adds to the pictures.

    Raises :class:`InputError` for another model or file, and where a motion model is on ``model`` already.
    """
    _check_model(model)
    sampling = _own_sampling(model) if own_betas else None
    motion = _read(path, model)
    places(model.model.diffusion_model, motion)
    clone = model.clone()
    clone.set_additional_models(KEY, [ModelPatcher(motion, model.load_device, model.offload_device)])
    clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, _around_apply_model(motion, strength))
    clone.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, around_predict_noise)
    clone.model_options.setdefault("transformer_options", {})[BESIDE] = Beside((motion,))
    if sampling is not None:
        clone.add_object_patch("model_sampling", sampling)
    return clone


def _around_apply_model(motion: MotionModel, strength: float) -> Callable:
    def wrapper(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
        """Frames are those of one prompt's part of the batch; in a context window, the frames of the window."""
        frames = len(x) // len((transformer_options or {}).get("cond_or_uncond", (0,)))
        with attached(executor.class_obj.diffusion_model, motion, frames, strength):
            return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)

    return wrapper


def _check_model(model: ModelPatcher) -> None:
    unet = model.model.diffusion_model
    if model.get_additional_models_with_key(KEY):
        raise InputError("model", "it has a motion model already.", "To stack several, use AnimateDiff-Evolved.")
    blocks = [*getattr(unet, "input_blocks", ()), *getattr(unet, "output_blocks", ())]
    mixes_frames = any(hasattr(layer, "time_stack") for block in blocks for layer in block)
    kind = type(model.model.model_config)
    if not blocks or mixes_frames or issubclass(kind, _OTHER_MODELS):
        raise InputError(
            "model",
            f"AnimateDiff version 2 and 3 are for SD1.5, and this is {kind.__name__}.",
            "Connect the MODEL of an SD1.5 checkpoint.",
        )


def _own_sampling(model: ModelPatcher) -> ModelSamplingDiscrete:
    """The model's sampling with AnimateDiff's noise schedule; what it predicts stays as it is."""
    sampling = model.get_model_object("model_sampling")
    if not isinstance(sampling, ModelSamplingDiscrete) or hasattr(sampling, "original_timesteps"):
        raise InputError(
            "beta_schedule",
            "a node before this one has changed how the model is sampled.",
            "Put that node after this one, or keep the model's schedule.",
        )
    own = copy.deepcopy(sampling)
    own._register_schedule(given_betas=None, timesteps=1000, zsnr=sampling.zsnr, **_BETAS)
    return own


def _read(path: str | Path, model: ModelPatcher) -> MotionModel:
    """The motion model in the file, in the precision the UNet computes in."""
    try:
        state_dict = comfy.utils.load_torch_file(str(path), safe_load=True)
        shapes = {key: tensor.shape for key, tensor in state_dict.items() if isinstance(tensor, torch.Tensor)}
    except (OSError, ValueError, RuntimeError, AttributeError, EOFError, UnpicklingError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    recognise(plain_keys(shapes))
    dtype = model.model.manual_cast_dtype or model.model.get_dtype()
    try:
        return MotionModel.from_state_dict(
            motion_modules(state_dict), operations=comfy.ops.manual_cast, dtype=dtype
        ).eval()
    except (RuntimeError, ValueError) as error:
        raise InputError(
            "motion_model", f"it is not laid out as AnimateDiff's own ({str(error)[:200]}).", EVOLVED
        ) from error


def _unreadable(path: str | Path, error: Exception) -> InputError:
    cause = f"{Path(path).name} cannot be read ({type(error).__name__}: {error})."
    return InputError("motion_model", cause, "Download it again.")
