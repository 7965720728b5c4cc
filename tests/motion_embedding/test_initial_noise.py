"""The four mixtures against loops over numbers, and what noise must look like after them."""

from __future__ import annotations

import math

import pytest
import torch

from motion_embedding.initial_noise import STRATEGIES, fft_mask, fit, low_pass, mix, normalise, without_look


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def triangle_resample(row: list[float], target: int) -> list[float]:
    """One row, corners aligned: a triangle as wide as the step when reducing, of width one when enlarging."""
    source = len(row)
    step = (source - 1) / (target - 1) if target > 1 else 0.0
    reach = max(step, 1.0)
    out = []
    for i in range(target):
        centre = step * (i + 0.5)
        weights = [max(0.0, 1 - abs(j + 0.5 - centre) / reach) for j in range(source)]
        out.append(sum(w * v for w, v in zip(weights, row, strict=True)) / sum(weights))
    return out


def low_pass_by_hand(frame: torch.Tensor) -> torch.Tensor:
    for size in ([max(s // 4, 1) for s in frame.shape], frame.shape):
        rows = torch.tensor([triangle_resample(r, size[1]) for r in frame.tolist()], dtype=torch.float64)
        frame = torch.tensor([triangle_resample(c, size[0]) for c in rows.T.tolist()], dtype=torch.float64).T
    return frame


@pytest.mark.parametrize("size", [(8, 8), (12, 17), (9, 22)])
def test_low_pass_is_two_resamplings_of_every_frame(size: tuple[int, int]) -> None:
    x = noise(2, 3, 2, *size)
    for frame, wanted in zip(low_pass(x).flatten(0, 2), x.flatten(0, 2), strict=True):
        assert torch.allclose(frame.double(), low_pass_by_hand(wanted.double()), atol=1e-5)


def test_tiny_frames_have_a_low_pass() -> None:
    out = low_pass(noise(1, 2, 3, 2, 3))
    assert out.shape == (1, 2, 3, 2, 3)
    assert torch.equal(out, out[..., :1, :1].expand_as(out)), "one number per frame"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_half_precision_is_mixed_and_kept(strategy: str) -> None:
    z, e = noise(1, 4, 3, 8, 12), noise(1, 4, 3, 8, 12, seed=1)
    mixed = mix(z.half(), e.half(), strategy)
    assert mixed.dtype == torch.float16
    assert torch.allclose(mixed.float(), mix(z, e, strategy), atol=2e-2)


def test_blend() -> None:
    z, e = noise(1, 4, 3, 5, 6), noise(2, 4, 3, 5, 6, seed=1)
    assert torch.allclose(mix(z, e, "blend", 0.36), 0.6 * z + 0.8 * e)
    assert torch.equal(mix(z, e, "blend", 0.0), e)
    assert torch.equal(mix(z, e, "blend", 1.0), z.expand_as(e))


def test_frequency_and_blend_frequency() -> None:
    z, e = noise(1, 4, 3, 8, 12), noise(1, 4, 3, 8, 12, seed=1)
    coarse = torch.stack([low_pass_by_hand(f) for f in z.double().flatten(0, 2)]).reshape(z.shape)
    fresh = e - torch.stack([low_pass_by_hand(f) for f in e.double().flatten(0, 2)]).reshape(z.shape)
    assert torch.allclose(mix(z, e, "frequency").double(), coarse + fresh, atol=1e-5)
    wanted = coarse + math.sqrt(0.3) * (z - coarse) + math.sqrt(0.7) * fresh
    assert torch.allclose(mix(z, e, "blend_frequency", 0.3).double(), wanted, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 6, 5), (3, 4, 4)])
def test_fft_by_discrete_fourier_sums(shape: tuple[int, int, int]) -> None:
    z, e = noise(1, 1, *shape), noise(1, 1, *shape, seed=1)
    frames, height, width = shape
    difference = (z - e)[0, 0].double()
    grids = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in shape), indexing="ij")
    wanted = e[0, 0].double()
    for t in range(frames):
        for y in range(height):
            for x in range(width):
                squared = (2 * t / frames - 1) ** 2 + (2 * y / height - 1) ** 2 + (2 * x / width - 1) ** 2
                low = math.exp(-squared / (2 * 0.25**2))
                cycles = [(i - n // 2) / n for i, n in zip((t, y, x), shape, strict=True)]
                phase = 2 * math.pi * sum(c * g for c, g in zip(cycles, grids, strict=True))
                wave = torch.complex(phase.cos(), phase.sin())
                wanted = wanted + low * ((difference * wave.conj()).sum() * wave).real / difference.numel()
    assert torch.allclose(mix(z, e, "fft")[0, 0].double(), wanted, atol=1e-5)
    assert fft_mask(4, 6, 2)[2, 3, 1] == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_any_batch_keeps_the_strength_of_noise(strategy: str) -> None:
    z, e = noise(1, 4, 24, 32, 32), noise(3, 4, 24, 32, 32, seed=1)
    out = mix(z, e, strategy, 0.5)
    assert out.shape == e.shape and out.dtype == e.dtype
    assert out.std().item() == pytest.approx(1.0, abs=0.12), "the published frequency mixtures lose some"
    assert torch.allclose(out[1], mix(z, e[1:2], strategy, 0.5)[0], atol=1e-5)


def test_normalise() -> None:
    x = normalise(3 * noise(2, 4, 5, 6, 7) + torch.arange(5.0)[:, None, None])
    assert torch.allclose(x.mean((-2, -1)), torch.zeros(2, 4, 5), atol=1e-5)
    assert torch.allclose(x.square().mean((-2, -1)), torch.ones(2, 4, 5), atol=1e-4)
    assert torch.isfinite(normalise(torch.ones(1, 1, 1, 4, 4))).all()


def test_what_is_left_without_the_look_is_the_rest() -> None:
    """Noise 2 and clip 5 strong, mixed: the noise comes back, less its own chance likeness to the clip."""
    clip, rest = noise(1, 3, 2, 20, 20) + 4, noise(1, 3, 2, 20, 20, seed=1)
    out = without_look(2 * rest + 5 * clip, clip)
    for o, c, r in zip(out.flatten(0, 2), clip.flatten(0, 2), rest.flatten(0, 2), strict=True):
        c, r = c - c.mean(), r - r.mean()
        r = r - (r * c).sum() / (c * c).sum() * c
        assert torch.allclose(o, r / r.square().mean().sqrt(), atol=1e-4)
    assert torch.isfinite(without_look(clip, clip)).all()


@pytest.mark.parametrize("shape", [(4, 8, 6), (12, 8, 6), (8, 13, 9), (3, 7, 4), (11, 5, 3)])
def test_white_noise_stays_white_at_another_size(shape: tuple[int, int, int]) -> None:
    """Exactly: the covariance of the result is that of the two independent inputs pushed through the linear map."""
    source, n = (8, 8, 6), math.prod(shape)
    from_clip = fit(torch.eye(8 * 8 * 6).reshape(-1, *source), torch.zeros(*shape)).flatten(1)
    from_fresh = fit(torch.zeros(source), torch.eye(n).reshape(-1, *shape)).flatten(1)
    covariance = from_clip.T @ from_clip + from_fresh.T @ from_fresh
    assert torch.allclose(covariance, torch.eye(n), atol=1e-4)


def test_fit_keeps_what_is_where() -> None:
    """A bright patch and its path are found again, twice as large and over twice as many frames."""
    x = torch.zeros(1, 1, 4, 8, 8)
    for f in range(4):
        x[..., f, 2:4, 2 * f : 2 * f + 2] = 1
    out = fit(x, torch.zeros(1, 1, 8, 16, 16))[0, 0]
    centre = (out.clamp(min=0) ** 2 * (torch.arange(16) + 0.5)).sum((1, 2)) / (out.clamp(min=0) ** 2).sum((1, 2))
    assert torch.allclose(centre[1::2], 2 * (2 * torch.arange(4.0) + 1), atol=0.8)
    assert fit(x, torch.zeros(2, 1, 4, 8, 8)) is x
