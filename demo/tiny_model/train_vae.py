"""A tiny ``AutoencoderKL`` that speaks the patch codec's latents, so that the model has a VAE like any other.

    python -m demo.tiny_model.train_vae --minutes 10 --out demo/tiny_model/run

The encoder is written down, not trained: strided convolutions can compute the codec exactly. The decoder learns to
draw frames from latents that are a little off, as generated ones are. Some of the pictures are procedural textures,
so that real footage survives the round trip.
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
_ANCHOR, _LIFT = 64.0, 20.0
_HERE = Path(__file__).parent


def new_vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(12, 24, 32),
        layers_per_block=1,
        latent_channels=codec.CHANNELS,
        norm_num_groups=1,  # more would normalise absolute colour away in layers this narrow
        sample_size=world.SIZE,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


@torch.no_grad()
def write_encoder(vae: AutoencoderKL, fixed: codec.PatchCodec) -> None:
    """Set the encoder to the codec: two strided convolutions gather each 4x4 patch and project it.

    Residual branches are zeroed. The last group norm and SiLU are made all but linear: every latent enters with its
    negative (so the mean is zero) beside large constants (so the deviation is constant), and is lifted to where
    SiLU is the identity.
    """
    encoder = vae.encoder
    for parameter in encoder.parameters():
        parameter.zero_()
    half, latents = 2, codec.CHANNELS
    for c in range(3):
        encoder.conv_in.weight[c, c, 1, 1] = 1
    first, widen, second, pair = (
        encoder.down_blocks[0].downsamplers[0].conv,
        encoder.down_blocks[1].resnets[0].conv_shortcut,
        encoder.down_blocks[1].downsamplers[0].conv,
        encoder.down_blocks[2].resnets[0].conv_shortcut,
    )
    projection = (fixed.basis / fixed.scale).T.reshape(latents, codec.PATCH, codec.PATCH, 3)
    for y in range(half):
        for x in range(half):
            for c in range(3):
                inner = (y * half + x) * 3 + c
                first.weight[inner, c, y, x] = 1
                widen.weight[inner, inner, 0, 0] = 1
                for row in range(half):
                    for column in range(half):
                        taps = projection[:, half * row + y, half * column + x, c]
                        second.weight[:latents, inner, row, column] = taps
    second.bias[:latents] = -(fixed.mean @ fixed.basis) / fixed.scale
    for i in range(latents):
        pair.weight[i, i, 0, 0], pair.weight[latents + i, i, 0, 0] = 1, -1
    anchors = pair.bias[2 * latents :]
    anchors[0::2], anchors[1::2] = _ANCHOR, -_ANCHOR
    deviation = _ANCHOR * (len(anchors) / len(pair.bias)) ** 0.5
    encoder.conv_norm_out.weight[:], encoder.conv_norm_out.bias[:] = deviation, _LIFT
    for i in range(latents):
        encoder.conv_out.weight[i, i, 1, 1] = 1
    encoder.conv_out.bias[:latents], encoder.conv_out.bias[latents:] = -_LIFT, LOG_VARIANCE
    vae.quant_conv.weight[:] = torch.eye(2 * latents)[..., None, None]
    vae.quant_conv.bias.zero_()


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
    """uint8 ``[count, 64, 64, 3]``, three quarters sprites and one quarter textures."""
    return np.stack([world.random_clip(rng, 1)[0][0] if i % 4 else texture(rng) for i in range(count)])


def train(minutes: float, out: Path, seed: int = 3) -> None:
    torch.manual_seed(seed)
    rng, fixed = np.random.default_rng(seed), codec.PatchCodec.load(_HERE / "codec.safetensors")
    vae = new_vae()
    write_encoder(vae, fixed)
    learnt = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    optimiser = torch.optim.AdamW(learnt, 3e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    begin, step, seen = time.time(), 0, []
    while (progress := (time.time() - begin) / (60 * minutes)) < 1:
        warm_up, decay = min(1, (step + 1) / 50), 0.01 + 0.99 * math.cos(progress * math.pi / 2)
        optimiser.param_groups[0]["lr"] = 3e-3 * warm_up * decay
        frames = pictures(rng, 16)
        target = fixed.encode(frames).permute(0, 3, 1, 2)
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
        drawn = vae.decode(target + torch.rand(len(frames), 1, 1, 1) * 0.15 * torch.randn_like(target)).sample
        loss = (drawn - pixels).abs().mean() + (drawn - pixels).square().mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        step += 1
        seen.append(loss.item())
        if step % 100 == 0:
            print(f"step {step}, {time.time() - begin:.0f} s: loss {np.mean(seen[-100:]):.4f}", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    vae.save_pretrained(out / "vae")
    print(f"parameters {sum(p.numel() for p in vae.parameters())}, {report(vae, fixed)}", flush=True)


@torch.no_grad()
def report(vae: AutoencoderKL, fixed: codec.PatchCodec) -> str:
    """Round-trip PSNR on new sprite pictures: the codec's own, and the VAE's."""
    frames = np.stack([f for i, f in enumerate(pictures(np.random.default_rng(999), 64)) if i % 4])
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
