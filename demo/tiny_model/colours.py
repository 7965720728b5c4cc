"""Measure which colours the tiny VAE's latents stand for, and write them into its config: previews are made by them.

    python -m demo.tiny_model.colours

One colour per position of the latents, by least squares over clips of the world.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from . import world

WEIGHTS = Path(__file__).parent / "weights"
CLIPS = 300


@torch.no_grad()
def measure(vae: AutoencoderKL, clips: int = CLIPS, seed: int = 0) -> tuple[np.ndarray, np.ndarray, float]:
    """Factors ``[C, 3]`` and bias ``[3]`` from latents to colours in [-1, 1], and the share of the variance they hold.

    Measured on every second clip, held against the others.
    """
    rng = np.random.default_rng(seed)
    frames = np.concatenate([world.random_clip(rng)[0] for _ in range(clips)])
    pixels = torch.from_numpy(frames).float().movedim(-1, 1) / 127.5 - 1
    latents = torch.cat([vae.encode(part).latent_dist.mode() for part in pixels.split(64)]) * vae.config.scaling_factor
    colours = torch.nn.functional.avg_pool2d(pixels, pixels.shape[-1] // latents.shape[-1])
    known, wanted = (x.movedim(1, -1).unflatten(0, (clips, -1)) for x in (latents, colours))
    known = torch.cat([known, torch.ones_like(known[..., :1])], -1)
    learn, test = ((part(known).flatten(0, -2), part(wanted).flatten(0, -2)) for part in (_even, _odd))
    solution = torch.linalg.lstsq(*learn).solution
    held = 1 - (test[0] @ solution - test[1]).var() / test[1].var()
    return solution[:-1].numpy(), solution[-1].numpy(), held.item()


def _even(clips: torch.Tensor) -> torch.Tensor:
    return clips[::2]


def _odd(clips: torch.Tensor) -> torch.Tensor:
    return clips[1::2]


def write(folder: Path) -> float:
    """Put the colours into the config of the VAE in ``folder``; the share of the variance they hold."""
    factors, bias, held = measure(AutoencoderKL.from_pretrained(folder))
    path, colours = folder / "config.json", {"latent_rgb_factors": factors, "latent_rgb_factors_bias": bias}
    config = json.loads(path.read_text())
    config |= {name: values.astype(float).round(4).tolist() for name, values in colours.items()}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return held


if __name__ == "__main__":
    print(f"{100 * write(WEIGHTS / 'vae'):.2f} % of the variance of unseen clips")
