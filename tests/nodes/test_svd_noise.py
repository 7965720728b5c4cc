"""Inversion and initial noise where frames lie on the batch axis: Stable Video Diffusion in the real host."""

from __future__ import annotations

import importlib
import math

import pytest
import torch

from tests import small_svd

pytestmark = pytest.mark.host
FRAMES = 4


@pytest.fixture(scope="module")
def part(comfy, pack):
    return lambda name: importlib.import_module(f"{pack.__name__}.{name}")


@pytest.fixture(scope="module")
def model(comfy):
    with torch.inference_mode():
        return small_svd.model()


@pytest.fixture(scope="module")
def positive():
    return small_svd.conditioning(small_svd.clip()[:1])[0]


def invert(part, model, positive, **changes) -> torch.Tensor:
    options = {"latents": {"samples": small_svd.clip(FRAMES)}, "steps": 4, "cleaning": "as published", **changes}
    with torch.inference_mode():
        node = part("nodes.noise").InvertVideoNoise
        return node.execute(model, positive, **options).result[0]["inverted_noise"]


def label() -> torch.Tensor:
    """Frames per second less one, motion bucket and augmentation: cosines and sines at 128 frequencies."""
    frequencies = torch.exp(-math.log(10000) * torch.arange(128) / 128)
    return torch.cat([f(n * frequencies) for n in (5, 127, 0) for f in (torch.cos, torch.sin)])


def test_the_walk_is_that_of_ddim_in_svds_own_terms(part, model, positive) -> None:
    """By hand: v-prediction in the variance-preserving form, up 4 levels that are even in their logarithm."""
    clip = small_svd.clip(FRAMES)
    x, below = clip * 0.18215, 0.0
    for step in range(1, 5):
        sigma = 0.002 * (700 / 0.002) ** (step / 4)
        signal, noise = 1 / math.sqrt(1 + sigma**2), sigma / math.sqrt(1 + sigma**2)
        with torch.inference_mode():
            v = model.model.diffusion_model(
                torch.cat([x, clip[:1].expand(FRAMES, -1, -1, -1)], 1),
                torch.full((FRAMES,), math.log(sigma) / 4),
                context=positive[0][0].expand(FRAMES, -1, -1),
                y=label().expand(FRAMES, -1),
                num_video_frames=FRAMES,
            )
        epsilon = noise * x + signal * v
        clean = (x - below / math.sqrt(1 + below**2) * epsilon) * math.sqrt(1 + below**2)
        x, below = signal * clean + noise * epsilon, sigma
    found = invert(part, model, positive)
    assert found.shape == (1, 4, FRAMES, 8, 8)
    assert torch.allclose(found[0].movedim(1, 0), x, atol=1e-3 * float(x.abs().max()))


def test_the_picture_guides_the_walk(part, model, positive) -> None:
    """Another picture, other noise; the blank one of a negative stands for the empty prompt of the published walk."""
    _, negative = small_svd.conditioning(small_svd.clip()[:1])
    other, _ = small_svd.conditioning(small_svd.clip()[1:2])
    found = [invert(part, model, c) for c in (positive, negative, other)]
    assert all(torch.isfinite(noise).all() for noise in found)
    assert not torch.allclose(found[0], found[1], atol=1e-2)
    assert not torch.allclose(found[0], found[2], atol=1e-2)


def test_cleaned_noise_has_no_look_and_unit_size(part, model, positive) -> None:
    clip = small_svd.clip(FRAMES)
    noise = invert(part, model, positive, cleaning="look removed")[0].movedim(1, 0)
    centred = clip - clip.mean((-2, -1), keepdim=True)
    assert (noise * centred).mean((-2, -1)).abs().max() < 1e-5
    assert torch.allclose(noise.square().mean((-2, -1)), torch.ones(FRAMES, 4), atol=1e-3)


def blend(part, model, inverted, frames: int = FRAMES, **changes):
    latent = {"samples": torch.zeros(frames, 4, 8, 8)}
    options = {"strategy": "blend", "amount": 0.5, "seed": 3, **changes}
    stored = {"samples": torch.zeros(frames, 4, 8, 8), "inverted_noise": inverted}
    with torch.inference_mode():
        return part("nodes.noise").BlendInitialNoise.execute(model, latent, **options, inverted=stored).result


def first_x(model, run) -> torch.Tensor:
    """What a sampler holds before its first step."""
    seen = []

    def remember(executor, x, *args, **kwargs):
        seen.append(x.clone())
        raise InterruptedError

    model = model.clone()
    model.add_wrapper("apply_model", remember)
    with torch.inference_mode(), pytest.raises(InterruptedError):
        run(model)
    return seen[0]


@pytest.mark.parametrize("scheduler", ["karras", "normal", "sgm_uniform"])
def test_both_outputs_start_the_sampler_from_the_blended_noise(part, model, positive, scheduler) -> None:
    import comfy.samplers
    import comfy_extras.nodes_custom_sampler as custom

    import nodes

    fixed = torch.randn(1, 4, FRAMES, 8, 8, generator=torch.Generator().manual_seed(9))
    latent, noise = blend(part, model, fixed)
    assert latent["samples"].shape == (FRAMES, 4, 8, 8)
    fresh = torch.randn(FRAMES, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    wanted = math.sqrt(0.5) * (fixed[0].movedim(1, 0) + fresh) * math.sqrt(1 + 700**2)

    def advanced(model):
        prompts = (positive, positive, latent)
        nodes.KSamplerAdvanced().sample(model, "disable", 0, 3, 1.0, "euler", scheduler, *prompts, 0, 10000, "disable")

    def custom_sampler(model):
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, 3)
        guider = custom.BasicGuider.execute(model, positive).result[0]
        empty = {"samples": torch.zeros(FRAMES, 4, 8, 8)}
        custom.SamplerCustomAdvanced.execute(noise, guider, comfy.samplers.sampler_object("euler"), sigmas, empty)

    for run in (advanced, custom_sampler):
        assert torch.allclose(first_x(model, run), wanted, atol=1e-4 * float(wanted.abs().max()))


def test_noise_of_a_clip_in_a_longer_one(part, model) -> None:
    fixed = torch.randn(1, 4, FRAMES, 8, 8, generator=torch.Generator().manual_seed(9))
    _, noise = blend(part, model, fixed, frames=7, amount=1.0)
    made = noise.generate_noise({"samples": torch.zeros(7, 4, 8, 8)})
    assert made.shape == (7, 4, 8, 8)
    assert made.std().item() == pytest.approx(1, abs=0.15)


def test_a_video_latent_of_another_model_is_refused(part, model, positive) -> None:
    error = part("motion_embedding.errors").InputError
    with pytest.raises(error, match=r"latents: a video latent of shape .* was given to a svd model"):
        invert(part, model, positive, latents={"samples": torch.zeros(1, 4, FRAMES, 8, 8)})
