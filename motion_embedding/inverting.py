"""(ComfyUI) Inverting a clip on the model a graph holds.

The walk runs as a ``Sampler`` inside a guider, so that conditioning and the wrappers of other packs are set up
exactly as they are when sampling.
"""

from __future__ import annotations

from collections.abc import Callable

import comfy.model_management
import comfy.sample
import comfy.samplers
import latent_preview
import torch

from . import initial_noise
from .errors import InputError
from .injection import options_of, wired_family, without_sources
from .inversion import ddim_timesteps, invert, unit_noise
from .prediction import is_flow

_PURE_NOISE = 1000.0  # noise levels beyond this belong to schedules that end in pure noise


def video_form(model, latents: torch.Tensor, name: str) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
    """``latents`` as ``[B, C, F, h, w]``, and what brings such a tensor back into the form they have.

    Raises :class:`InputError` about the input ``name`` unless they are videos of this model.
    """
    mend = "Use Empty Video Latent, or VAE Encode of the frames, with the VAE of this model."
    try:
        backbone, _ = wired_family(model.model, options_of(model))
    except InputError:
        backbone = None  # other models can be inverted as well
    channels = model.get_model_object("latent_format").latent_channels
    if backbone is None and latents.ndim != 5:
        raise InputError(name, f"it is an image latent of shape {list(latents.shape)}, not a video.", mend)
    call = backbone.call(latents, (0,), name) if backbone else None
    if latents.shape[1] != channels:
        raise InputError(name, f"it has {latents.shape[1]} channels; the model's have {channels}.", mend)
    return (backbone.video(latents, call), backbone.latent) if backbone else (latents, lambda video: video)


def walk_levels(sampling, steps: int) -> tuple[torch.Tensor, float]:
    """The rising noise levels ``[steps]`` of the walk, and the one at which the clean clip stands.

    Models with a table of noise levels are walked as diffusers' ``DDIMScheduler`` does: ``leading`` from timestep 1,
    with the clip at the table's first level; ``trailing`` from 0 where the table ends in pure noise. Others evenly.
    """
    if not hasattr(sampling, "num_timesteps"):
        levels = [sampling.percent_to_sigma(1 - (i + 1) / steps) for i in range(steps)]
        return torch.tensor(levels).clamp(max=float(sampling.sigma_max)), 0.0
    sigmas = sampling.sigmas.float().cpu()
    ends_in_noise = float(sigmas[-1]) > _PURE_NOISE
    levels = sigmas[ddim_timesteps(steps, len(sigmas), trailing=ends_in_noise)]
    return levels, 0.0 if ends_in_noise else float(sigmas[0])


@torch.no_grad()
def invert_video(
    model,
    positive: list,
    latents: torch.Tensor,
    steps: int = 50,
    refinements: int = 0,
    start_noise: float = 0.0,
    cleaning: str = "look removed",
    seed: int = 0,
) -> torch.Tensor:
    """The noise a clip could have come from, ``[B, C, F, h, w]``, in the model's own latent space and about 1 strong.

    Without guidance, and without the motion embeddings the model may carry. ``model`` is left as it is.

    positive: conditioning; the published form is that of an empty prompt.
    latents: as ``VAEEncode`` gives them for the family.
    refinements: see :func:`.inversion.invert`.
    start_noise: strength of the fresh noise put on the clip before the walk, which then starts at that level.
    cleaning: what is done to the result, one of ``initial_noise.CLEANINGS``.
    seed: of the fresh noise.
    """
    video_form(model, latents, "latents")
    sampling = model.get_model_object("model_sampling")
    flow = is_flow(sampling)
    levels, start = walk_levels(sampling, steps)
    if start_noise >= float(levels[-1]):
        raise InputError("start_noise", f"{start_noise} is all the noise there is.", "Lower it.")
    patcher = without_sources(model)
    patcher.model_options.pop("context_handler", None)  # its windows would each be inverted on their own
    progress = latent_preview.prepare_callback(patcher, steps)
    walk = _Walk(levels, flow, start, refinements, start_noise, progress)
    guider = comfy.samplers.CFGGuider(patcher)
    guider.inner_set_conds({"positive": positive})
    fresh = comfy.sample.prepare_noise(latents, seed)
    guider.sample(fresh, latents, walk, torch.ones(1), seed=seed)
    clean = initial_noise.CLEANINGS[cleaning](walk.noise.float(), walk.clip.float())
    return video_form(model, clean, "latents")[0].to(comfy.model_management.intermediate_device())


class _Walk(comfy.samplers.Sampler):
    """Goes up the noise levels instead of down; keeps the result in ``noise`` and the clean latents in ``clip``."""

    def __init__(
        self, levels: torch.Tensor, flow: bool, start: float, refinements: int, start_noise: float, progress
    ) -> None:
        self.levels, self.flow, self.start, self.refinements = levels, flow, start, refinements
        self.start_noise, self.progress = start_noise, progress
        self.noise = self.clip = torch.empty(0)

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image, denoise_mask=None, disable_pbar=False
    ) -> torch.Tensor:
        flow, start, clip, levels = self.flow, self.start, latent_image, self.levels.to(latent_image.device)
        if self.start_noise > start:
            start = self.start_noise
            levels = levels[levels > start]
            clip = (1 - start) * clip + start * noise if flow else clip + start * noise
        elif not flow:
            clip = clip * (1 + start**2) ** 0.5  # the table's first level, in its variance-preserving form
        skipped = len(self.levels) - len(levels)

        def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            comfy.model_management.throw_exception_if_processing_interrupted()
            return model_wrap(x, sigma.expand(len(x)), **extra_args)

        def report(step: int, clean: torch.Tensor, x: torch.Tensor) -> None:
            self.progress(skipped + step, clean, x, len(self.levels))

        x = invert(denoise, clip, levels, flow, self.refinements, start, report)
        self.noise, self.clip = unit_noise(x, levels[-1], flow), latent_image
        return torch.zeros_like(latent_image)
