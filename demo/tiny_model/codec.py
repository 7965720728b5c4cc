"""A fixed linear patch codec: the latent space the tiny model lives in.

Each 4x4 patch of RGB is projected on its 12 strongest principal components. The committed
``AutoencoderKL`` is taught to encode to and decode from exactly these latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

PATCH = 4
CHANNELS = 12


@dataclass(frozen=True)
class PatchCodec:
    """``basis [48, 12]``, ``mean [48]``, ``scale [12]`` (the latents' standard deviation)."""

    basis: torch.Tensor
    mean: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def load(cls, path: Path) -> PatchCodec:
        t = load_file(path)
        return cls(t["W"], t["mu"], t["sc"])

    def encode(self, frames: np.ndarray) -> torch.Tensor:
        """uint8 ``[..., 64, 64, 3]`` to latents ``[..., 16, 16, 12]``."""
        x = torch.as_tensor(frames).float() / 127.5 - 1
        *lead, h, w, _ = x.shape
        x = x.reshape(*lead, h // PATCH, PATCH, w // PATCH, PATCH, 3).transpose(-4, -3)
        x = x.reshape(*lead, h // PATCH, w // PATCH, PATCH * PATCH * 3)
        return (x - self.mean) @ self.basis / self.scale

    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """The adjoint of :meth:`encode`, to uint8 frames."""
        x = latents * self.scale @ self.basis.T + self.mean
        *lead, h, w, _ = x.shape
        x = x.reshape(*lead, h, w, PATCH, PATCH, 3).transpose(-4, -3).reshape(*lead, h * PATCH, w * PATCH, 3)
        return ((x + 1) * 127.5).round().clamp(0, 255).byte().numpy()
