"""The tiny model's UNet, its noise schedule, and the optimiser for its matrices."""

from __future__ import annotations

import math
from collections import defaultdict

import torch
import torch.distributed as dist
from diffusers import DDIMScheduler, UNet3DConditionModel

from . import codec, text

SHIFT = 2.5
TRAIN_STEPS = 1000


def new_unet() -> UNet3DConditionModel:
    """A diffusers text-to-video UNet of 4.66 M parameters in ModelScope's block layout."""
    return UNet3DConditionModel(
        sample_size=16,
        in_channels=codec.CHANNELS,
        out_channels=codec.CHANNELS,
        down_block_types=("DownBlock3D", "CrossAttnDownBlock3D", "CrossAttnDownBlock3D"),
        up_block_types=("CrossAttnUpBlock3D", "CrossAttnUpBlock3D", "UpBlock3D"),
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=text.HIDDEN,
        attention_head_dim=8,
    )


def alpha_sigma(timestep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Zero-terminal-SNR schedule with ``sigma / alpha = 2.5 tan(pi t / 2)``, ``t = (timestep + 1) / 1000``."""
    angle = (timestep + 1) / TRAIN_STEPS * math.pi / 2
    alpha, sigma = torch.cos(angle).clamp(min=0), SHIFT * torch.sin(angle)
    norm = torch.hypot(alpha, sigma)
    return alpha / norm, sigma / norm


def scheduler() -> DDIMScheduler:
    alpha, _ = alpha_sigma(torch.arange(TRAIN_STEPS, dtype=torch.float64))
    alphas_cumprod = alpha**2
    previous = torch.cat([torch.ones(1, dtype=torch.float64), alphas_cumprod[:-1]])
    return DDIMScheduler(
        num_train_timesteps=TRAIN_STEPS,
        trained_betas=(1 - alphas_cumprod / previous).tolist(),
        prediction_type="sample",
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )


def orthogonalise(updates: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Newton-Schulz iteration to the nearest orthogonal matrices, ``[N, rows, columns]`` (Jordan et al., 2024)."""
    tall = updates.shape[-2] > updates.shape[-1]
    x = updates.mT if tall else updates
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


class Muon:
    """Momentum orthogonalised by Newton-Schulz; same-shaped matrices are batched and shared out over ranks."""

    def __init__(self, parameters: list[torch.nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        self.parameters, self.lr, self.momentum, self.weight_decay = parameters, lr, momentum, 0.01
        self.buffers = [torch.zeros_like(p) for p in parameters]
        self.groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, p in enumerate(parameters):
            self.groups[p.flatten(1).shape].append(i)

    @torch.no_grad()
    def step(self, rank: int, world_size: int) -> None:
        load, updates = [0.0] * world_size, [torch.zeros_like(p) for p in self.parameters]
        for (rows, columns), members in sorted(self.groups.items(), key=lambda g: -g[0][0] * g[0][1] * len(g[1])):
            owner = load.index(min(load))
            load[owner] += rows * columns * min(rows, columns) * len(members)
            for i in members:
                self.buffers[i].lerp_(self.parameters[i].grad, 1 - self.momentum)
            if owner != rank:
                continue
            nesterov = [self.parameters[i].grad.lerp(self.buffers[i], self.momentum).flatten(1) for i in members]
            result = orthogonalise(torch.stack(nesterov)) * max(1, rows / columns) ** 0.5
            for i, u in zip(members, result, strict=True):
                updates[i] = u.reshape(self.parameters[i].shape)
        sum_over_ranks(updates, world_size)
        for p, u in zip(self.parameters, updates, strict=True):
            p.mul_(1 - self.lr * self.weight_decay).add_(u, alpha=-self.lr)


def sum_over_ranks(tensors: list[torch.Tensor], world_size: int) -> None:
    """Sum each tensor over the processes, in place."""
    if world_size == 1:
        return
    flat = torch.cat([t.flatten() for t in tensors])
    dist.all_reduce(flat)
    for t, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        t.copy_(part.view_as(t))
