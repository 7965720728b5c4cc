"""The method a second time, slowly: loops over batch, position, frame and head, in float64.

Written from the equations of design.md section 1 alone and importing nothing of ``motion_embedding``, so that agreement
with it means something. Only the channels of one head are ever handled at once. What is not the method (convolutions,
normalisations, spatial attention, feed-forward) is the given ``diffusers`` UNet itself, cast to float64.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

Rows = Sequence[torch.Tensor]
"""One vector of channels per frame."""


@dataclass
class NaiveBlock:
    """What one temporal transformer block learnt: ``[F, C]``, and ``[h, w, F, C]`` for each of attn1 and attn2."""

    query_key: torch.Tensor
    value: Mapping[str, torch.Tensor]


@dataclass
class NaiveMotion:
    """Blocks by name, and how they are used.

    mode: plain, difference or camera.
    push: for each batch item, whether it is pushed.
    """

    blocks: Mapping[str, NaiveBlock]
    mode: str = "plain"
    strength_query_key: float = 1.0
    strength_value: float = 1.0
    push: Sequence[bool] = (True, True)


class NaiveUNet:
    """A UNet in float64 whose temporal transformer blocks are replaced by loops."""

    def __init__(self, unet: nn.Module) -> None:
        self.unet, self.motion, self.batch = copy.deepcopy(unet).double(), None, 1
        self.names = []
        for name, module in self.unet.named_modules():
            if type(module).__name__ == "TransformerTemporalModel":
                for i, block in enumerate(module.transformer_blocks):
                    self.names.append(f"{name}.transformer_blocks.{i}")
                    block.forward = self._forward(self.names[-1], block)

    def __call__(self, x: torch.Tensor, t: int, text: torch.Tensor, motion: NaiveMotion | None = None) -> torch.Tensor:
        self.motion, self.batch = motion, len(x)
        return self.unet(x.double(), t, text.double()).sample

    def _forward(self, name: str, block: nn.Module) -> Callable[..., torch.Tensor]:
        def forward(tokens: torch.Tensor, **_) -> torch.Tensor:
            tokens = tokens + self._attention(block.attn1, block.norm1(tokens), name, "attn1")
            tokens = tokens + self._attention(block.attn2, block.norm2(tokens), name, "attn2")
            return tokens + block.ff(block.norm3(tokens))

        return forward

    def _attention(self, attention: nn.Module, normed: torch.Tensor, name: str, part: str) -> torch.Tensor:
        """``normed [(B h w), F, C]``, batch outermost, then row-major position."""
        positions, out = len(normed) // self.batch, []
        for b in range(self.batch):
            for p in range(positions):
                n = list(normed[b * positions + p])
                seen_by_query_key, seen_by_value = add_motion(self.motion, name, part, n, b, p, positions)
                out.append(torch.stack(attend(attention, seen_by_query_key, seen_by_value)))
        return torch.stack(out)


def add_motion(
    motion: NaiveMotion | None, name: str, part: str, n: Rows, b: int, p: int, positions: int
) -> tuple[Rows, Rows]:
    """What the query and key projections see at position ``p`` of batch item ``b``, and what the value one sees."""
    if motion is None or name not in motion.blocks or not motion.push[b]:
        return n, n
    block = motion.blocks[name]
    query_key = [n[f] + motion.strength_query_key * block.query_key[f] for f in range(len(n))]
    if motion.mode == "camera":
        return query_key, n
    learnt = block.value[part]
    height, width = learnt.shape[:2]
    assert height * width == positions
    rows, y, x = [], p // width, p % width
    for f in range(len(n)):
        row = learnt[y, x, f]
        if motion.mode == "difference" and f > 0:
            row = row - learnt[y, x, f - 1]
        rows.append(n[f] + motion.strength_value * row)
    return query_key, rows


def attend(attention: nn.Module, seen_by_query_key: Rows, seen_by_value: Rows) -> list[torch.Tensor]:
    """Multi-head self-attention over the frames of one position: ``softmax(Q K^T / sqrt(d)) V``, then the output."""
    frames, heads = len(seen_by_query_key), attention.heads
    q = [attention.to_q.weight @ row for row in seen_by_query_key]
    k = [attention.to_k.weight @ row for row in seen_by_query_key]
    v = [attention.to_v.weight @ row for row in seen_by_value]
    d, out = len(q[0]) // heads, []
    for f in range(frames):
        of_heads = []
        for head in range(heads):
            channels = slice(head * d, (head + 1) * d)
            weights = [torch.exp(q[f][channels] @ k[g][channels] / math.sqrt(d)) for g in range(frames)]
            total = sum(weights)
            of_heads.append(sum(weights[g] / total * v[g][channels] for g in range(frames)))
        out.append(attention.to_out[0].weight @ torch.cat(of_heads) + attention.to_out[0].bias)
    return out


def base_loss(prediction: torch.Tensor, target: torch.Tensor, r: int = 0) -> torch.Tensor:
    """Mean over everything of the squared error; ``[B, C, F, h, w]`` each."""
    return sum((p - y) ** 2 for p, y in zip(prediction.flatten(), target.flatten(), strict=True)) / prediction.numel()


def debiased_loss(prediction: torch.Tensor, target: torch.Tensor, r: int) -> torch.Tensor:
    """Base plus ``MSE(sqrt(2) p - p[:, :, r], sqrt(2) y - y[:, :, r])``."""
    total = base_loss(prediction, target)
    for f in range(prediction.shape[2]):
        p = math.sqrt(2) * prediction[:, :, f] - prediction[:, :, r]
        y = math.sqrt(2) * target[:, :, f] - target[:, :, r]
        total = total + base_loss(p, y) / prediction.shape[2]
    return total


LOSSES = {"base": base_loss, "debiased": debiased_loss}


class NaiveAdamW:
    """Decoupled weight decay and bias-corrected moments, number by number of the published rule."""

    def __init__(
        self, parameters: Sequence[torch.Tensor], rate: float, betas: tuple[float, float], decay: float
    ) -> None:
        self.parameters, self.rate, self.betas, self.decay, self.step_count = parameters, rate, betas, decay, 0
        self.first = [torch.zeros_like(p) for p in parameters]
        self.second = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[torch.Tensor]) -> None:
        self.step_count += 1
        one, two = self.betas
        for i, g in enumerate(gradients):
            self.first[i] = one * self.first[i] + (1 - one) * g
            self.second[i] = two * self.second[i] + (1 - two) * g * g
            first = self.first[i] / (1 - one**self.step_count)
            second = self.second[i] / (1 - two**self.step_count)
            p = self.parameters[i]
            p.copy_(p - self.rate * self.decay * p - self.rate * first / (second.sqrt() + 1e-8))


@dataclass
class NaiveSchedule:
    """The noise levels of a DDIM schedule with leading spacing, from its numbers alone."""

    beta_start: float
    beta_end: float
    squared: bool
    offset: int
    final_is_one: bool
    steps: int = 1000

    def alphas(self) -> list[float]:
        """The cumulative product of ``1 - beta``, one per training step."""
        power, alphas, product = 2 if self.squared else 1, [], 1.0
        low, high = self.beta_start ** (1 / power), self.beta_end ** (1 / power)
        for t in range(self.steps):
            product *= 1 - (low + (high - low) * t / (self.steps - 1)) ** power
            alphas.append(product)
        return alphas

    def ascending(self, count: int) -> list[int]:
        return [i * (self.steps // count) + self.offset for i in range(count)]

    def alpha(self, t: int) -> float:
        alphas = self.alphas()
        return alphas[t] if t >= 0 else (1.0 if self.final_is_one else alphas[0])


@torch.no_grad()
def invert(
    predict: Callable[[torch.Tensor, int], torch.Tensor], x: torch.Tensor, schedule: NaiveSchedule, count: int
) -> torch.Tensor:
    """DDIM backwards: noise that would give ``x``. As published, the model is asked at the level it goes to."""
    for t in schedule.ascending(count):
        to, since = schedule.alpha(t), schedule.alpha(t - schedule.steps // count)
        noise = predict(x, t)
        clean = (x - math.sqrt(1 - since) * noise) / math.sqrt(since)
        x = math.sqrt(to) * clean + math.sqrt(1 - to) * noise
    return x


@torch.no_grad()
def sample(
    predict: Callable[[torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]],
    x: torch.Tensor,
    schedule: NaiveSchedule,
    count: int,
    guidance: float,
) -> torch.Tensor:
    """Deterministic DDIM with classifier-free guidance; ``predict`` gives the noise with the prompt and without."""
    for t in reversed(schedule.ascending(count)):
        since, to = schedule.alpha(t), schedule.alpha(t - schedule.steps // count)
        with_prompt, without = predict(x, t)
        noise = without + guidance * (with_prompt - without)
        clean = (x - math.sqrt(1 - since) * noise) / math.sqrt(since)
        x = math.sqrt(to) * clean + math.sqrt(1 - to) * noise
    return x
