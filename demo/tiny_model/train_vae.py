"""Teach a tiny ``AutoencoderKL`` the patch codec's latents, so that the model has a VAE like any other.

    python -m demo.tiny_model.train_vae --minutes 10 --out demo/tiny_model/run

The encoder learns to give the codec's latents, the decoder to draw frames from latents that are a little off, as
generated ones are. Half of the pictures are procedural textures, so that real footage survives the round trip.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn

from . import codec, world

LOG_VARIANCE = -12.0
_HERE = Path(__file__).parent


def new_vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 32),
        layers_per_block=1,
        latent_channels=codec.CHANNELS,
        norm_num_groups=8,
        sample_size=world.SIZE,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def texture(rng: np.random.Generator) -> np.ndarray:
    """A picture unlike any sprite: coloured noise at a few scales with hard-edged polygons, uint8 ``[64, 64, 3]``."""
    picture = np.full((world.SIZE, world.SIZE, 3), rng.uniform(0, 255, 3), np.float32)
    for _ in range(3):
        n = int(rng.choice([2, 4, 8, 16, 32]))
        noise = rng.normal(0, rng.uniform(10, 60), (n, n, int(rng.choice([1, 3])))).astype(np.float32)
        noise = cv2.resize(noise, (world.SIZE, world.SIZE), interpolation=int(rng.choice([0, 1, 2])))
        picture += noise.reshape(world.SIZE, world.SIZE, -1)
    for _ in range(int(rng.integers(0, 4))):
        points = rng.integers(-10, world.SIZE + 10, (int(rng.integers(3, 6)), 2)).astype(np.int32)
        cv2.fillPoly(picture, [points], tuple(rng.uniform(0, 255, 3)), cv2.LINE_AA)
    return np.clip(picture, 0, 255).astype(np.uint8)


def pictures(rng: np.random.Generator, count: int) -> np.ndarray:
    """uint8 ``[count, 64, 64, 3]``, half sprites and half textures."""
    return np.stack([world.random_clip(rng, 1)[0][0] if i % 2 else texture(rng) for i in range(count)])


def train(minutes: float, out: Path, seed: int = 3) -> None:
    torch.manual_seed(seed)
    rng, fixed = np.random.default_rng(seed), codec.PatchCodec.load(_HERE / "codec.safetensors")
    vae = new_vae()
    optimiser = torch.optim.AdamW(vae.parameters(), 2e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    begin, step, seen = time.time(), 0, []
    while (progress := (time.time() - begin) / (60 * minutes)) < 1:
        optimiser.param_groups[0]["lr"] = (
            2e-3 * min(1, (step + 1) / 50) * (0.01 + 0.99 * math.cos(progress * math.pi / 2))
        )
        frames = pictures(rng, 24)
        target = fixed.encode(frames).permute(0, 3, 1, 2)
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
        moments = vae.quant_conv(vae.encoder(pixels))
        mean, log_variance = moments.chunk(2, dim=1)
        off = target + torch.rand(len(frames), 1, 1, 1) * 0.15 * torch.randn_like(target)
        drawn = vae.decode(off).sample
        loss_encode = (mean - target).square().mean() + 1e-3 * (log_variance - LOG_VARIANCE).square().mean()
        loss_decode = (drawn - pixels).abs().mean() + (drawn - pixels).square().mean()
        optimiser.zero_grad()
        (loss_encode + loss_decode).backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        step += 1
        seen.append((loss_encode.item(), loss_decode.item()))
        if step % 100 == 0:
            encode, decode = np.mean(seen[-100:], 0)
            print(f"step {step}, {time.time() - begin:.0f} s: encode {encode:.4f}, decode {decode:.4f}", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    vae.save_pretrained(out / "vae")
    print(f"parameters {sum(p.numel() for p in vae.parameters())}, {report(vae, fixed)}", flush=True)


@torch.no_grad()
def report(vae: AutoencoderKL, fixed: codec.PatchCodec) -> str:
    """Round-trip PSNR on new sprite pictures: the codec's own, and the VAE's."""
    frames = pictures(np.random.default_rng(999), 64)[1::2]
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
    drawn = ((vae.decode(vae.encode(pixels).latent_dist.mode()).sample + 1) * 127.5).clamp(0, 255)
    linear = fixed.decode(fixed.encode(frames))

    def psnr(other: np.ndarray) -> float:
        return 10 * math.log10(255**2 / np.square(other.astype(float) - frames).mean())

    return f"PSNR codec {psnr(linear):.1f} dB, VAE {psnr(drawn.permute(0, 2, 3, 1).numpy()):.1f} dB"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--out", type=Path, default=_HERE / "run")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train(arguments.minutes, arguments.out)
