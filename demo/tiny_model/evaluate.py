"""Measure the tiny model: sample fixed prompts, judge what comes out, draw a contact sheet.

    python -m demo.tiny_model.evaluate demo/tiny_model/run --out demo/output/evaluation

Takes a training run (``ema.safetensors`` and ``tokenizer/``) or an exported diffusers folder.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from ..contact_sheet import Row, contact_sheet, save_png
from . import codec, network, text, world
from .judge import Verdict, judge

HERE = Path(__file__).parent
PROMPTS = 40
_BATCH = 4
_SHEET_ROWS = 20


@dataclass(frozen=True)
class Model:
    """The parts that sampling needs; ``decode`` turns latents ``[B, C, F, h, w]`` into uint8 frames."""

    unet: UNet3DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDIMScheduler
    decode: Callable[[torch.Tensor], np.ndarray]


def load_run(folder: Path) -> Model:
    """The averaged weights of a training run, decoded with the patch codec."""
    tokenizer = text.load_tokenizer(folder / "tokenizer")
    unet, encoder = network.new_unet().eval(), text.new_text_encoder(tokenizer).eval()
    weights = load_file(folder / "ema.safetensors")
    for module, prefix in ((unet, "unet."), (encoder, "text.")):
        module.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
    patches = codec.PatchCodec.load(HERE / "codec.safetensors")
    return Model(
        unet, encoder, tokenizer, network.scheduler(), lambda latents: patches.decode(latents.permute(0, 2, 3, 4, 1))
    )


def load_export(folder: Path) -> Model:
    """A diffusers text-to-video folder with its own VAE."""
    vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval()

    def decode(latents: torch.Tensor) -> np.ndarray:
        count, channels, frames, h, w = latents.shape
        flat = latents.transpose(1, 2).reshape(count * frames, channels, h, w)
        pixels = vae.decode(flat / vae.config.scaling_factor).sample
        images = ((pixels + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        return images.reshape(count, frames, *images.shape[1:])

    return Model(
        UNet3DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32).eval(),
        CLIPTextModel.from_pretrained(folder / "text_encoder", torch_dtype=torch.float32).eval(),
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        DDIMScheduler.from_pretrained(folder / "scheduler"),
        decode,
    )


def fixed_looks(count: int = PROMPTS) -> list[world.Look]:
    """Looks in which every shape, colour, background and pattern is equally frequent, as far as ``count`` allows."""
    rng = np.random.default_rng(2024)
    lists = (list(world.COLORS), world.SHAPES, list(world.BACKGROUNDS), world.PATTERNS)
    columns = [rng.permutation(np.resize(np.array(names), count)) for names in lists]
    return [world.Look(*(str(v) for v in look)) for look in zip(*columns, strict=True)]


@torch.inference_mode()
def sample(model: Model, prompts: list[str], seeds: list[int], steps: int = 20, guidance: float = 2.0) -> np.ndarray:
    """Plain DDIM with classifier-free guidance; uint8 ``[B, 8, 64, 64, 3]``, each clip from its own seed."""
    ids = model.tokenizer([*[""] * len(prompts), *prompts], padding="max_length", return_tensors="pt")["input_ids"]
    states = model.text_encoder(ids).last_hidden_state
    config = model.unet.config
    shape = (config.in_channels, world.FRAMES, config.sample_size, config.sample_size)
    latents = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    model.scheduler.set_timesteps(steps)
    for t in model.scheduler.timesteps:
        empty, full = model.unet(torch.cat([latents, latents]), t, states).sample.chunk(2)
        latents = model.scheduler.step(empty + guidance * (full - empty), t, latents).prev_sample
    return model.decode(latents)


def clips(model: Model, looks: list[world.Look], seed: int, guidance: float) -> Iterator[np.ndarray]:
    """One clip for each look, sampled in small batches."""
    for first in range(0, len(looks), _BATCH):
        prompts = [look.prompt for look in looks[first : first + _BATCH]]
        yield from sample(model, prompts, [seed + first + i for i in range(len(prompts))], guidance=guidance)


def scores(looks: list[world.Look], verdicts: list[Verdict]) -> dict[str, float]:
    """Share of clips that show what was asked, and that hold together over their frames."""
    pairs = list(zip(looks, verdicts, strict=True))
    result = {
        name: sum(getattr(look, name) == getattr(seen, name) for look, seen in pairs) / len(pairs)
        for name in ("color", "background", "pattern", "shape")
    }
    return {**result, "coherent": sum(seen.coherent for seen in verdicts) / len(verdicts)}


def _row(look: world.Look, frames: np.ndarray, seen: Verdict) -> Row:
    wrong = [
        f"{name}: {getattr(seen, name)}"
        for name in ("color", "shape", "background", "pattern")
        if getattr(seen, name) != getattr(look, name)
    ]
    if not seen.coherent:
        wrong.append("not coherent")
    return Row(look.prompt, frames, ", ".join(wrong))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="training run or diffusers folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for scores.json and sheet.png")
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = load_run(args.model) if (args.model / "ema.safetensors").exists() else load_export(args.model)
    looks = fixed_looks(args.prompts)
    results = list(clips(model, looks, args.seed, args.guidance))
    verdicts = [judge(frames) for frames in results]
    args.out.mkdir(parents=True, exist_ok=True)
    report = {"prompts": len(looks), "seed": args.seed, "guidance": args.guidance, **scores(looks, verdicts)}
    (args.out / "scores.json").write_text(json.dumps(report, indent=1) + "\n")
    rows = [_row(*triple) for triple in zip(looks, results, verdicts, strict=True)]
    save_png(args.out / "sheet.png", contact_sheet(rows[:_SHEET_ROWS], cell=72))
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
