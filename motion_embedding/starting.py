"""(ComfyUI) Samplers that start from a clip's inverted noise, by either of the host's ways in."""

from __future__ import annotations

import comfy.sample
import torch

from . import initial_noise
from .errors import InputError
from .inverting import video_form
from .prediction import is_flow


def check_noise_fit(inverted: torch.Tensor, latents: torch.Tensor, name: str) -> None:
    """Raise :class:`InputError` about the input ``name`` unless ``inverted`` has the channels and batch for these.

    Both ``[B, C, F, h, w]``.
    """
    if inverted.shape[1] != latents.shape[1]:
        raise InputError(
            name,
            f"its noise has {inverted.shape[1]} channels, and the latents have {latents.shape[1]}.",
            "Invert the clip with the model that will sample.",
        )
    if len(inverted) not in (1, len(latents)):
        raise InputError(
            name,
            f"it holds the noise of {len(inverted)} clips, for a batch of {len(latents)}.",
            "Invert one clip, or as many as are to be made.",
        )


class MotionNoise:
    """A ``NOISE`` for custom samplers: that of a seed with a clip's inverted noise in it.

    inverted: ``[B or 1, C, F, h, w]``; fitted to the latent it meets.
    model: the ``ModelPatcher`` that will sample, whose family says how its latents lie.
    """

    def __init__(
        self, inverted: torch.Tensor, seed: int, strategy: str = "blend", amount: float = 0.5, *, model
    ) -> None:
        self.inverted, self.seed, self.strategy, self.amount = inverted, seed, strategy, amount
        self.model = model

    def generate_noise(self, input_latent: dict) -> torch.Tensor:
        """Noise in the form of the latent."""
        latents = input_latent["samples"]
        fresh = comfy.sample.prepare_noise(latents, self.seed, input_latent.get("batch_index"))
        fresh, back = video_form(self.model, fresh, "noise")
        check_noise_fit(self.inverted, fresh, "noise")
        generator = torch.Generator().manual_seed((self.seed + 1) % 2**64)
        detail = torch.randn(fresh.shape, generator=generator)
        return back(initial_noise.mix(initial_noise.fit(self.inverted, detail), fresh, self.strategy, self.amount))


def noisy_latents(model, noise: torch.Tensor) -> torch.Tensor | None:
    """Latents from which a sampler that adds no noise of its own starts exactly as with ``noise``, at full noise.

    None for flow models, which multiply the latents they are given by zero there.
    """
    sampling = model.get_model_object("model_sampling")
    if is_flow(sampling):
        return None
    sigma = torch.as_tensor(float(sampling.sigma_max))
    return model.model.process_latent_out(sampling.noise_scaling(sigma, noise, torch.zeros_like(noise), True))
