"""Training with every knob in the open: what the shipped loop settles on was found with this one.

It runs the frozen model of a graph directly, without a guider, and hands out what is learnt on the way.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch

from motion_embedding.noise_levels import spread

from .in_process import Host


@dataclass(frozen=True)
class How:
    """What the search varies; the defaults are 200 steps at 0.1, all noise levels alike.

    schedule: of the rate over ``steps``: ``constant``, ``linear`` or ``cosine`` to zero.
    warm: steps in which the rate rises to ``rate``.
    query_key: the rate of the query-key rows over that of the values.
    levels: ``golden`` (spread evenly), ``uniform`` (drawn) over percents ``low`` to ``high``; power: above 1 more at
        high noise.
    start: standard deviation of the query-key rows before the first step; zero as shipped.
    batch: noises per step; antithetic: every second is the first one turned round.
    """

    steps: int = 200
    rate: float = 0.1
    schedule: str = "constant"
    warm: int = 0
    query_key: float = 1.0
    start: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    levels: str = "golden"
    low: float = 0.0
    high: float = 1.0
    power: float = 1.0
    batch: int = 1
    antithetic: bool = False
    loss: str = "base"
    layers: str = "recommended"
    weight_decay: float = 0.01
    weight: str = "own"
    seed: int = 0

    def rate_at(self, step: int) -> float:
        """The rate's factor at a step, from 0."""
        rising = min(1.0, (step + 1) / (self.warm + 1))
        left = 1 - step / self.steps
        falling = {"constant": 1.0, "linear": left, "cosine": 0.5 - 0.5 * math.cos(math.pi * left)}[self.schedule]
        return rising * falling

    def percents(self, step: int, offset: float, generator: torch.Generator) -> list[float]:
        """The noise levels of a step's batch."""
        places = torch.rand(self.batch, generator=generator).tolist()  # in either case, so that the noises are the same
        low, high = max(self.low, 1e-3), min(self.high, 1 - 1e-3)
        if self.levels == "golden":
            first = step * self.batch
            return [spread(first + i, offset, low, high, self.power) for i in range(self.batch)]
        return [low + (high - low) * place**self.power for place in places]


def train(
    host: Host, model: Any, clip: torch.Tensor, positive: torch.Tensor, how: How, marks: Collection[int]
) -> dict[int, Any]:
    """The motion after each of the steps ``marks``, learnt where the host would run ``model``, which lies there.

    Noise and starts are drawn on the CPU, so that they are the same everywhere.

    clip: latents as the VAE gives them, ``[1, C, F, h, w]``. positive: the encoded prompt.
    """
    part, base, device = host.part, model.model, model.load_device
    backbone, attentions = part("backbones").find_backbone(base)
    losses, embedding, inside = part("losses"), part("embedding").MotionEmbedding, part("install").Installation
    sampling = model.get_model_object("model_sampling")
    prediction = part("prediction").prediction_type(sampling)
    generator = torch.Generator().manual_seed(how.seed)
    offset, taken = torch.rand((), generator=generator).item(), {}
    with torch.inference_mode(False), torch.enable_grad(), part("frozen").frozen(base):
        clip, positive = clip.to(device, copy=True), positive.to(device, copy=True)
        clean = base.process_latent_in(clip).expand(how.batch, *clip.shape[1:])
        call = backbone.call(clean, (0,), "latents")
        trainable = part("trainable").TrainableMotion(backbone.select(attentions, how.layers))

        def step_losses(percents: list[float], noise: torch.Tensor, reference: int) -> torch.Tensor:
            """One number for each noise."""
            sigma = torch.tensor([float(sampling.percent_to_sigma(p)) for p in percents], device=device)
            x0_, noise_ = clean[: len(percents)], noise
            with inside(base, [trainable], call):
                noisy = sampling.noise_scaling(sigma.view(-1, 1, 1, 1, 1), noise_, x0_, False)
                x0 = base.apply_model(noisy, sigma, c_crossattn=positive.expand(len(percents), -1, -1))
            target = losses.own_target(prediction, x0_, noise_, sigma)
            error = losses.own_error(prediction, x0 - x0_, sigma)
            return losses.LOSSES[how.loss](target + error, target, reference)

        with torch.no_grad():
            step_losses([0.5] * how.batch, torch.zeros_like(clean), 0)
        trainable.allocate(device)
        for rows in trainable.query_key.values():
            drawn = torch.empty(rows.shape).normal_(0, how.start, generator=torch.Generator().manual_seed(how.seed))
            rows.data.copy_(drawn)
        groups = [
            {"params": list(trainable.query_key.values()), "factor": how.query_key},
            {"params": list(trainable.value.values()), "factor": 1.0},
        ]
        optimiser = torch.optim.AdamW(groups, how.rate, how.betas, weight_decay=how.weight_decay)
        for step in range(how.steps):
            for group in optimiser.param_groups:
                group["lr"] = how.rate * how.rate_at(step) * group["factor"]
            percents = how.percents(step, offset, generator)
            reference = int(torch.randint(call.frames, (), generator=generator))
            fresh = torch.randn(clean.shape, generator=generator).to(device)
            if how.antithetic:
                fresh[1::2] = -fresh[0::2]
            optimiser.zero_grad()
            each = step_losses(percents, fresh, reference)
            if how.weight == "equal":
                each = each / each.detach().clamp_min(1e-6) * 0.01
            each.mean().backward()
            optimiser.step()
            if step + 1 in marks:
                layers = trainable.layers()
                taken[step + 1] = embedding(layers, backbone.family, call.frames, call.height, call.width)
    return taken
