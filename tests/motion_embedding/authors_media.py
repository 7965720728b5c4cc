"""Files as the paper's release writes them, from the facts of its format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

DOWN = "down_blocks.2.temp_attentions.0.transformer_blocks.0"
UP = "up_blocks.1.temp_attentions.2.transformer_blocks.0"
ROWS = 32


def tables(
    layers: Mapping[str, tuple[int, int]],
    frames: int = 24,
    dtype: torch.dtype = torch.float32,
    values: bool = True,
    rows: int = ROWS,
) -> dict[str, nn.Parameter]:
    """Random tables of ``rows`` rows, those behind ``frames`` zero. ``layers``: name to (positions, channels)."""
    generator = torch.Generator().manual_seed(5)

    def table(positions: int, channels: int) -> nn.Parameter:
        trained = torch.zeros(positions, rows, channels)
        trained[:, :frames] = torch.randn(positions, frames, channels, generator=generator)
        return nn.Parameter(trained.to(dtype))

    content = {}
    for name, (positions, channels) in layers.items():
        content[f"{name}.pos_embed"] = table(1, channels)
        if values:
            content |= {f"{name}.{attention}.vSpatial": table(positions, channels) for attention in ("attn1", "attn2")}
    return content


def write_noise(path: Path, shape: tuple[int, int, int, int] = (4, 24, 40, 72)) -> torch.Tensor:
    """A ``cached_0.pt``: one item of a batch, with its noise; returns the noise."""
    noise = 3 * torch.randn(1, *shape, generator=torch.Generator().manual_seed(6))
    batch = {
        "pixel_values": torch.zeros(1, shape[1], 3, 8, 8, dtype=torch.float16),
        "prompt_ids": torch.zeros(1, 77, dtype=torch.int64),
        "text_prompt": ["a car"],
        "dataset": ["single_video"],
        "latents": torch.zeros(1, *shape, dtype=torch.float16),
        "inversion_noise": noise.half(),
    }
    torch.save({key: value[0] for key, value in batch.items()}, path)
    return noise[0].half().float()
