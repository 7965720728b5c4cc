"""What sampling starts from: fresh noise with some of a reference clip's inverted noise in it (design section 1).

All tensors are ``[..., F, h, w]``, of any batch, channels, frames and size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import interpolate

LOW_PASS_FACTOR = 4
FFT_CUTOFF = 0.25


def low_pass(x: torch.Tensor) -> torch.Tensor:
    """Every frame reduced by four and enlarged again, bilinear and antialiased, corners aligned."""
    small = [max(size // LOW_PASS_FACTOR, 1) for size in x.shape[-2:]]
    planes = x.float().reshape(1, -1, *x.shape[-2:])  # half precision has no antialiasing on the CPU
    for size in (small, x.shape[-2:]):
        planes = interpolate(planes, size=tuple(size), mode="bilinear", align_corners=True, antialias=True)
    return planes.reshape(x.shape).to(x.dtype)


def fft_mask(frames: int, height: int, width: int, cutoff: float = FFT_CUTOFF) -> torch.Tensor:
    """Gaussian low-pass ``[F, h, w]`` for a centred spectrum, with one cut-off in time and space.

    As published, its peak lies half a step off the mean where a length is odd; of a single frame nothing passes.
    """
    t, y, x = (2 * torch.arange(n, dtype=torch.float64) / n - 1 for n in (frames, height, width))
    distance = t[:, None, None] ** 2 + y[:, None] ** 2 + x**2
    return torch.exp(-distance / (2 * cutoff**2)).float()


def blend(inverted: torch.Tensor, noise: torch.Tensor, amount: float) -> torch.Tensor:
    """``√p·z + √(1−p)·ε``: all of it, in part. The published choice, p = 0.5."""
    return amount**0.5 * inverted + (1 - amount) ** 0.5 * noise


def frequency(inverted: torch.Tensor, noise: torch.Tensor, amount: float) -> torch.Tensor:
    """``LP(z) + ε − LP(ε)``: coarse parts of the frames from the clip, fine ones fresh. ``amount`` plays no part."""
    return low_pass(inverted) + noise - low_pass(noise)


def blend_frequency(inverted: torch.Tensor, noise: torch.Tensor, amount: float) -> torch.Tensor:
    """``LP(z) + √p·(z − LP(z)) + √(1−p)·(ε − LP(ε))``: coarse parts from the clip, fine ones blended."""
    coarse = low_pass(inverted)
    return coarse + blend(inverted - coarse, noise - low_pass(noise), amount)


def fft(inverted: torch.Tensor, noise: torch.Tensor, amount: float) -> torch.Tensor:
    """What is slow and coarse from the clip, by a Gaussian in the 3-D spectrum. ``amount`` plays no part."""
    axes = (-3, -2, -1)
    low = fft_mask(*noise.shape[-3:]).to(noise.device)
    parts = (torch.fft.fftshift(torch.fft.fftn(part.float(), dim=axes), dim=axes) for part in (inverted, noise))
    mixed = next(parts) * low + next(parts) * (1 - low)
    return torch.fft.ifftn(torch.fft.ifftshift(mixed, dim=axes), dim=axes).real.to(noise.dtype)


STRATEGIES: dict[str, Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]] = {
    "blend": blend,
    "frequency": frequency,
    "blend_frequency": blend_frequency,
    "fft": fft,
}


def mix(inverted: torch.Tensor, noise: torch.Tensor, strategy: str = "blend", amount: float = 0.5) -> torch.Tensor:
    """Initial noise of the shape of ``noise``; ``inverted`` must broadcast to it (see :func:`fit`)."""
    return STRATEGIES[strategy](inverted.to(noise).expand_as(noise), noise, amount)


def normalise(x: torch.Tensor) -> torch.Tensor:
    """Mean 0 and standard deviation 1 in every frame of every channel, as noise has them."""
    mean, std = x.mean((-2, -1), keepdim=True), x.std((-2, -1), keepdim=True, correction=0)
    return (x - mean) / std.clamp(min=1e-6)


def without_look(inverted: torch.Tensor, clip: torch.Tensor) -> torch.Tensor:
    """Inverted noise rid of the clean clip that is still in it, and normalised.

    The walk leaves a copy of the clip in its result, the more so the smoother the clip is, and sampling brings the
    copy back: its colours and shapes. Here every frame and channel loses its component along that of ``clip``.
    What stays is where and how the noise differs from a copy, and that still moves like the clip.
    """
    noise, clip = normalise(inverted), normalise(clip)
    return normalise(noise - (noise * clip).mean((-2, -1), keepdim=True) * clip)


CLEANINGS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "look removed": without_look,
    "normalised": lambda inverted, clip: normalise(inverted),
    "as published": lambda inverted, clip: inverted,
}


def fit(inverted: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """``inverted [..., F, h, w]`` at the frames and size of ``noise``, still white where it was white.

    Interpolated noise is too weak and too smooth. Here each axis is resampled by an orthonormal matrix, the one
    nearest to linear interpolation (its polar factor), and ``noise`` fills the directions it does not reach: the
    fine detail of an enlargement. The covariance of white noise stays the identity. Independent of the noise to be
    mixed in later, or their shares would add up to more than 1.
    """
    if inverted.shape[-3:] == noise.shape[-3:]:
        return inverted
    matrices = [_resampling(a, b).to(noise) for a, b in zip(inverted.shape[-3:], noise.shape[-3:], strict=True)]
    noise = noise.expand(*torch.broadcast_shapes(inverted.shape[:-3], noise.shape[:-3]), *noise.shape[-3:])
    seen = _along_axes(noise, [m.mT for m in matrices])
    return noise + _along_axes(inverted.to(noise) - seen, matrices)


def _resampling(source: int, target: int) -> torch.Tensor:
    """The orthonormal ``[target, source]`` matrix nearest to linear interpolation with half-pixel centres."""
    identity = torch.eye(source, dtype=torch.float64)[None, None]
    linear = interpolate(identity, size=(target, source), mode="bilinear", align_corners=False, antialias=True)[0, 0]
    left, _, right = torch.linalg.svd(linear, full_matrices=False)
    return left @ right


def _along_axes(x: torch.Tensor, matrices: list[torch.Tensor]) -> torch.Tensor:
    t, y, x_axis = matrices
    return torch.einsum("...fhw,af,bh,cw->...abc", x, t, y, x_axis)
