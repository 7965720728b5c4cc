"""What a ZeroScope motion at 576x320, 24 frames takes, by the rank of its values: from the shapes of the network."""

from __future__ import annotations

import torch

from motion_embedding.backbones import find_backbone
from motion_embedding.backbones.unet3d import level_of
from motion_embedding.memory import of_values

FRAMES, LATENT, LIMIT = 24, (40, 72), 15.0


def zeroscope(preset: str) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Layer and shape of values ``(h, w, F, C)`` for every attention of ``preset`` in the layout of ZeroScope."""
    from diffusers import UNet3DConditionModel

    with torch.device("meta"):
        unet = UNet3DConditionModel(block_out_channels=(320, 640, 1280, 1280), layers_per_block=2)
    backbone, attentions = find_backbone(unet)
    height, width = LATENT
    shapes = []
    for attention in backbone.select(attentions, preset):
        halved = 2 ** level_of(attention.layer, 4)
        shapes.append((attention.layer, (-(-height // halved), -(-width // halved), FRAMES, attention.width)))
    return shapes


def numbers(shape: tuple[int, int, int, int], rank: int) -> int:
    """How many numbers factors of that rank ``[h w F, r] x [r, C]`` have; the values themselves if the rank is 0."""
    rows, channels = shape[0] * shape[1] * shape[2], shape[3]
    return min(rank, rows, channels) * (rows + channels) if rank else rows * channels


def megabytes(shapes: list[tuple[str, tuple[int, int, int, int]]], rank: int) -> float:
    """Of a compact file with values of that rank: two numbers a byte, a float32 a direction, query-keys in half."""
    query_keys = sum(FRAMES * shape[3] for shape in dict(shapes).values())
    return (2 * query_keys + sum(numbers(shape, rank + rank % 2) / 2 + 4 * rank for _, shape in shapes)) / 1e6


def table() -> str:
    """What a ZeroScope motion takes by rank: to learn at that rank, and as a file."""
    lines = ["| ZeroScope 576x320, 24 frames |", "|---|"]
    ranks, limits = (0, 4, 8, 16, 32, 64, 128), []
    lines += [f"| rank {rank} |" if rank else "| full |" for rank in ranks]
    for preset in ("paper", "recommended"):
        shapes = zeroscope(preset)
        query_keys = sum(FRAMES * shape[3] for shape in dict(shapes).values())
        lines[0] += f" {preset}: numbers | learning, GB | half precision, MB | compact, MB |"
        lines[1] += "---|---|---|---|"
        for place, rank in enumerate(ranks, 2):
            learnt = query_keys + sum(numbers(shape, rank) for _, shape in shapes)
            compact = f"{megabytes(shapes, rank):.1f}" if rank else "-"
            lines[place] += (
                f" {learnt / 1e6:.1f} M | {of_values(learnt) / 1e9:.2f} | {2 * learnt / 1e6:.1f} | {compact} |"
            )
        limits.append(f"{preset} {max(r for r in range(2, 1281, 2) if megabytes(shapes, r) <= LIMIT)}")
    return "\n".join([*lines, "", f"The rank that {LIMIT:g} MB hold: {', '.join(limits)}."]) + "\n"
