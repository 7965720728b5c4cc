"""From a clip back to the noise it could have come from (design section 1, inverted noise).

:func:`ddim_invert` is the published form, step for step, for a bare model and a diffusers schedule. :func:`invert`
is the same walk in ComfyUI's terms (a denoiser and noise levels), serves flow models too, and can be made exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from .errors import InputError

Report = Callable[[int, torch.Tensor, torch.Tensor], None]


def ddim_timesteps(steps: int, num_train_timesteps: int, trailing: bool = False, offset: int = 1) -> list[int]:
    """The timesteps of ``DDIMScheduler.set_timesteps(steps)``, rising: ``leading`` spacing with ``steps_offset``, or
    ``trailing``, which alone ends in the last timestep."""
    if not 1 <= steps <= num_train_timesteps:
        cause = f"{steps} of them do not fit into the {num_train_timesteps} noise levels of the model."
        raise InputError("steps", cause, f"Use 1 to {num_train_timesteps}.")
    if trailing:
        return sorted(round(num_train_timesteps - i * num_train_timesteps / steps) - 1 for i in range(steps))
    spacing = num_train_timesteps // steps
    return [min(i * spacing + offset, num_train_timesteps - 1) for i in range(steps)]


def to_epsilon(output: torch.Tensor, x: torch.Tensor, alpha_cumprod: torch.Tensor, prediction: str) -> torch.Tensor:
    """The noise in ``x``, from what a model that predicts ``epsilon``, ``v`` or ``sample`` said of it.

    ``x`` is the model's own input and ``alpha_cumprod`` belongs to the level the model was told.
    """
    if prediction == "epsilon":
        return output
    signal, noise = alpha_cumprod.sqrt(), (1 - alpha_cumprod).sqrt()
    if prediction in ("v", "v_prediction"):
        return signal * output + noise * x
    if prediction == "sample":
        return (x - signal * output) / noise
    raise ValueError(f"unknown prediction {prediction!r}: expected epsilon, v or sample")


def ddim_invert(
    predict: Callable[[torch.Tensor, int], torch.Tensor],
    latents: torch.Tensor,
    timesteps: Sequence[int],
    alphas_cumprod: torch.Tensor,
    final_alpha_cumprod: torch.Tensor | float,
    num_train_timesteps: int,
    prediction: str = "epsilon",
) -> torch.Tensor:
    """DDIM inversion as published: noise of the highest timestep, in the variance-preserving form ``x_T``.

    predict: the model, ``(x, timestep) -> output``; it is asked about the level above with the ``x`` of the level
        below, which is what makes the published walk approximate.
    timesteps: the scheduler's own, in any order; walked from the lowest.
    alphas_cumprod: ``[num_train_timesteps]``; ``final_alpha_cumprod`` is that of the level below timestep 0.
    """
    stride, x = num_train_timesteps // len(timesteps), latents
    alphas_cumprod = alphas_cumprod.to(latents.device)
    for t in sorted(int(t) for t in timesteps):
        alpha = alphas_cumprod[t]
        below = alphas_cumprod[t - stride] if t >= stride else torch.as_tensor(final_alpha_cumprod).to(alpha)
        epsilon = to_epsilon(predict(x, t), x, alpha, prediction)
        clean = (x - (1 - below).sqrt() * epsilon) / below.sqrt()
        x = alpha.sqrt() * clean + (1 - alpha).sqrt() * epsilon
    return x


def invert(
    denoise: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    latents: torch.Tensor,
    sigmas: torch.Tensor,
    flow: bool = False,
    refinements: int = 0,
    start: float = 0.0,
    report: Report | None = None,
) -> torch.Tensor:
    """Walk a clean clip up the rising noise levels ``sigmas``; returns it at the last, in the host's form:
    ``clip + sigma * noise``, for flow models ``(1 - sigma) * clip + sigma * noise``.

    denoise: ``(x, sigma) -> clean clip``, the model in ComfyUI's terms whatever it predicts.
    refinements: how often each step's result is corrected by asking the model about that result (a Newton step).
        None is the published walk; with more it approaches the exact reverse of DDIM (Euler for flow) sampling.
    start: the noise level at which the clip is taken to be; 0 for a clean one.
    report: called with (step, clean clip, x) after each step.

    In these terms a DDIM step and a flow's Euler step are one: ``x + (sigma - below) * (x - clean) / sigma``.
    """
    x, below = latents, torch.as_tensor(start).to(sigmas)
    for step, sigma in enumerate(sigmas):
        # The published walk shows the model the variance-preserving x of the level below, unchanged.
        guess = x if flow else x * ((1 + sigma**2) / (1 + below**2)).sqrt()
        share = 1 - below / sigma
        clean = denoise(guess, sigma)
        above = x + share * (guess - clean)
        for _ in range(refinements):
            clean = denoise(above, sigma)
            excess = above - x - share * (above - clean)
            above = above - excess / (1 - share + share * _slope(sigma, flow)).clamp(min=1e-6)
        x, below = above, sigma
        if report is not None:
            report(step, clean, x)
    return x


def unit_noise(x: torch.Tensor, sigma: torch.Tensor, flow: bool = False) -> torch.Tensor:
    """What a sampler calls noise, from the host's ``x`` near pure noise: of variance 1 where the clip's is."""
    return x / ((1 - sigma) ** 2 + sigma**2).sqrt() if flow else x / (1 + sigma**2).sqrt()


def _slope(sigma: torch.Tensor, flow: bool) -> torch.Tensor:
    """How the best denoiser of clips of variance 1 answers to a change of ``x``; enough for Newton's method."""
    return (1 - sigma) / ((1 - sigma) ** 2 + sigma**2) if flow else 1 / (1 + sigma**2)
