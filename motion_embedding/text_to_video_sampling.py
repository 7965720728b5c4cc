"""(ComfyUI) The noise schedule and prediction type of a diffusers scheduler config, as ComfyUI's model sampling."""

from __future__ import annotations

from typing import Any

import torch
from comfy.model_sampling import EPS, V_PREDICTION, X0, ModelSamplingDiscrete
from diffusers import DDIMScheduler

from .errors import InputError

PREDICTIONS = {"epsilon": EPS, "v_prediction": V_PREDICTION, "sample": X0}
_SCHEDULE_KEYS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
)
# A zero-terminal-SNR schedule ends in pure noise, sigma = infinity. This is the finite end ComfyUI itself uses,
# sigma = 4518.8: its input to the model differs from pure noise by 2e-4 of the data.
_LAST_ALPHA_CUMPROD = 4.8973451890853435e-08


def schedule_sigmas(config: dict[str, Any]) -> torch.Tensor:
    """Noise-to-signal ratio per training timestep, ``[num_train_timesteps]``, rising and finite."""
    picked = {key: config[key] for key in _SCHEDULE_KEYS if config.get(key) is not None}
    try:
        alphas_cumprod = DDIMScheduler(**picked).alphas_cumprod.double()
    except NotImplementedError as error:
        cause = f"its scheduler has the unknown beta_schedule {config['beta_schedule']!r}."
        raise InputError("folder", cause, "Use linear, scaled_linear, squaredcos_cap_v2 or trained_betas.") from error
    alphas_cumprod = alphas_cumprod.clamp(min=_LAST_ALPHA_CUMPROD)
    return ((1 - alphas_cumprod) / alphas_cumprod).sqrt()


def new_model_sampling(config: dict[str, Any]) -> ModelSamplingDiscrete:
    """ComfyUI's model sampling for ``scheduler_config.json``: its betas, and epsilon, v or x0 prediction."""
    prediction = config.get("prediction_type") or "epsilon"
    if prediction not in PREDICTIONS:
        cause = f"its scheduler has the unknown prediction_type {prediction!r}."
        raise InputError("folder", cause, f"Use one of {', '.join(PREDICTIONS)}.")
    sigmas = schedule_sigmas(config)

    class ModelSampling(ModelSamplingDiscrete, PREDICTIONS[prediction]):
        pass

    sampling = ModelSampling()
    sampling.set_sigmas(sigmas)
    sampling.num_timesteps = len(sigmas)
    return sampling
