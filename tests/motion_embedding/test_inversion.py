"""Inversion against an independent walk in plain float64 loops, and against what it must undo."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDIMScheduler

from motion_embedding.errors import InputError
from motion_embedding.inversion import ddim_invert, ddim_timesteps, invert, unit_noise

ZEROSCOPE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def scheduler(steps: int, **changes) -> DDIMScheduler:
    made = DDIMScheduler(**{**ZEROSCOPE, **changes})
    made.set_timesteps(steps)
    return made


def toy(x: float, alpha: float, prediction: str) -> float:
    """A smooth model of one number; ``x`` is noise and clip in variance-preserving form."""
    epsilon = math.sin(1.3 * x) * math.sqrt(1 - alpha) + 0.2 * x
    clean = (x - math.sqrt(1 - alpha) * epsilon) / math.sqrt(alpha)
    return {"epsilon": epsilon, "sample": clean, "v": (epsilon - math.sqrt(1 - alpha) * x) / math.sqrt(alpha)}[
        prediction
    ]


def by_hand(x: float, alphas: list[float], first: float, timesteps: list[int], stride: int) -> float:
    """The update as in the appendix of null-text inversion, one number at a time: x' = √a'·x0 + √(1−a')·ε."""
    for t in reversed(timesteps):
        before = alphas[t - stride] if t - stride >= 0 else first
        epsilon = toy(x, alphas[t], "epsilon")
        ratio = math.sqrt(alphas[t] / before)
        x = ratio * x + (math.sqrt(1 - alphas[t]) - ratio * math.sqrt(1 - before)) * epsilon
    return x


@pytest.mark.parametrize("to_one", [False, True])
@pytest.mark.parametrize("steps", [10, 50])
@pytest.mark.parametrize("prediction", ["epsilon", "v", "sample"])
def test_published_form(prediction: str, steps: int, to_one: bool) -> None:
    made = scheduler(steps, set_alpha_to_one=to_one)
    alphas = made.alphas_cumprod.double()
    clip = torch.linspace(-1.5, 1.5, 12, dtype=torch.float64).reshape(1, 1, 3, 2, 2)

    def predict(x: torch.Tensor, t: int) -> torch.Tensor:
        return x.clone().apply_(lambda v: toy(v, alphas[t].item(), prediction))

    out = ddim_invert(predict, clip, made.timesteps, alphas, made.final_alpha_cumprod, 1000, prediction)
    first = made.final_alpha_cumprod.item()
    wanted = [by_hand(v, alphas.tolist(), first, made.timesteps.tolist(), 1000 // steps) for v in clip.flatten()]
    assert torch.allclose(out.flatten(), torch.tensor(wanted, dtype=torch.float64), atol=1e-9)
    single = ddim_invert(
        predict, clip.float(), made.timesteps, alphas.float(), made.final_alpha_cumprod, 1000, prediction
    )
    assert torch.allclose(single.double(), out, atol=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v", "sample"])
@pytest.mark.parametrize("steps", [10, 50])
def test_in_noise_levels_it_is_the_published_walk(steps: int, prediction: str) -> None:
    made = scheduler(steps)
    alphas = made.alphas_cumprod.double()
    sigmas = ((1 - alphas) / alphas).sqrt()
    clip = torch.linspace(-1.5, 1.5, 12, dtype=torch.float64).reshape(1, 1, 3, 2, 2)

    def predict(x: torch.Tensor, t: int) -> torch.Tensor:
        return x.clone().apply_(lambda v: toy(v, alphas[t].item(), prediction))

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        alpha = (1 / (1 + sigma**2)).item()
        scaled = x / math.sqrt(1 + sigma**2)
        return scaled.clone().apply_(lambda v: (v - math.sqrt(1 - alpha) * toy(v, alpha, "epsilon")) / math.sqrt(alpha))

    first = made.final_alpha_cumprod.double()
    published = ddim_invert(predict, clip, made.timesteps, alphas, first, 1000, prediction)
    levels = sigmas[made.timesteps.flip(0)]
    start = ((1 - first) / first).sqrt()
    x = invert(denoise, clip / first.sqrt(), levels, start=float(start))
    assert torch.allclose(unit_noise(x, levels[-1]), published, atol=1e-9)


@pytest.mark.parametrize("flow", [False, True])
def test_refined_walk_is_undone_by_sampling(flow: bool) -> None:
    """Euler (DDIM) steps back down the same levels end in the clip; from the published walk they do not."""
    levels = torch.linspace(0.1, 1.0, 10, dtype=torch.float64) * (1 if flow else 10)
    clip = torch.randn(1, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    variance = torch.linspace(0.4, 2.5, 4, dtype=torch.float64)

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        signal = 1 - sigma if flow else 1.0
        return signal * variance / (signal**2 * variance + sigma**2) * x + 0.05 * torch.sin(x) / (1 + sigma**2)

    def sampled(x: torch.Tensor) -> torch.Tensor:
        for sigma, below in zip(levels.flip(0), [*levels.flip(0)[1:], torch.tensor(0.0)], strict=True):
            x = x + (below - sigma) * (x - denoise(x, sigma)) / sigma
        return x

    error = [(sampled(invert(denoise, clip, levels, flow, n)) - clip).abs().max().item() for n in (0, 1, 4, 200)]
    assert error[3] < 1e-6 < error[2] < error[1] < error[0]


def test_a_flow_step_by_hand() -> None:
    """x = 2, model says clean = 0.5 at sigma 0.25: velocity (2 - 0.5) / 0.25 = 6, and 2 + 0.25 * 6 = 3.5."""
    out = invert(lambda x, s: torch.full_like(x, 0.5), torch.tensor([2.0]), torch.tensor([0.25]), flow=True)
    assert out.item() == pytest.approx(3.5)


def test_a_step_from_a_noise_level_by_hand() -> None:
    """From 1 to 3 with clean = 1: the model sees 2·√(10/2) = 4.4721; noise (4.4721 - 1)/3 = 1.1574; 2 + 2·1.1574."""
    seen, reported = [], []

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        seen.append(x.item())
        return torch.ones_like(x)

    out = invert(denoise, torch.tensor([2.0]), torch.tensor([3.0]), start=1.0, report=lambda *a: reported.append(a))
    assert seen == [pytest.approx(4.47214, abs=1e-4)]
    assert out.item() == pytest.approx(4.31476, abs=1e-4)
    assert [(step, clean.item(), x.item()) for step, clean, x in reported] == [(0, 1.0, out.item())]
    assert unit_noise(out, torch.tensor(3.0)).item() == pytest.approx(4.31476 / 10**0.5, abs=1e-4)


def test_perfect_knowledge_gives_back_the_noise() -> None:
    """A denoiser that knows the clip: from the clip plus noise, any walk ends in that noise."""
    generator = torch.Generator().manual_seed(1)
    clip, noise = torch.randn(2, 1, 2, 3, 8, 8, generator=generator, dtype=torch.float64)
    levels = torch.tensor([1.0, 10.0, 1e6], dtype=torch.float64)
    x = invert(lambda x, s: clip, clip + 0.5 * noise, levels, start=0.5, refinements=60)
    assert torch.allclose(unit_noise(x, levels[-1]), noise, atol=1e-4)
    levels = torch.tensor([0.7, 1.0], dtype=torch.float64)
    x = invert(lambda x, s: clip, 0.5 * clip + 0.5 * noise, levels, flow=True, start=0.5, refinements=60)
    assert torch.allclose(x, noise, atol=1e-4)


@pytest.mark.parametrize(("trailing", "spacing"), [(False, "leading"), (True, "trailing")])
@pytest.mark.parametrize("steps", [1, 7, 10, 30, 50, 333])
def test_timesteps_are_those_of_the_scheduler(steps: int, trailing: bool, spacing: str) -> None:
    made = scheduler(steps, timestep_spacing=spacing)
    assert ddim_timesteps(steps, 1000, trailing) == sorted(made.timesteps.tolist())


def test_more_steps_than_levels_are_refused() -> None:
    with pytest.raises(InputError, match="steps: 1001 of them do not fit into the 1000 noise levels"):
        ddim_timesteps(1001, 1000)
