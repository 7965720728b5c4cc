"""Judge the tiny AnimateDiff by itself: pictures of its image model, and clips with its motion module.

    python -m demo.tiny_animatediff.evaluate --out demo/output/tiny_animatediff

Takes the committed weights, or those of a training run (``--weights demo/tiny_animatediff/run``).
"""

from __future__ import annotations

import argparse
import json
import os
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from motion_embedding.motion_module import MotionModel
from motion_embedding.motion_module_install import attached

from ..contact_sheet import Row, contact_sheet, save_png
from ..tiny_model import network, world
from ..tiny_model.codec import PatchCodec
from ..tiny_model.evaluate import fixed_looks, scores
from ..tiny_model.judge import judge
from . import image_unet

HERE = Path(__file__).parent
PROMPTS = 40
_BATCH = 4
_SHEET_ROWS = 16


@torch.inference_mode()
def sample(
    unet: nn.Module,
    motion: MotionModel | None,
    states: torch.Tensor,
    empty: torch.Tensor,
    seed: int,
    frames: int = world.FRAMES,
    steps: int = 20,
    guidance: float = 2.0,
) -> torch.Tensor:
    """Plain DDIM with classifier-free guidance; latents ``[B, F, 12, 16, 16]`` for texts ``[B, tokens, 64]``."""
    scheduler = network.scheduler()
    scheduler.set_timesteps(steps)
    shape = (len(states) * frames, unet.in_channels, 16, 16)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    texts = torch.cat([empty.expand_as(states), states]).repeat_interleave(frames, 0)
    for t in scheduler.timesteps:
        with nullcontext() if motion is None else attached(unet, motion, frames):
            without, full = unet(torch.cat([latents, latents]), t.expand(2 * len(latents)), texts).chunk(2)
        latents = scheduler.step(without + guidance * (full - without), t, latents).prev_sample
    return latents.unflatten(0, (-1, frames))


def load_motion(path: Path) -> MotionModel:
    """A motion model file, in float32."""
    weights = {k: v.float() for k, v in load_file(path).items()}
    return MotionModel.from_state_dict(weights).eval().requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=HERE / "weights")
    parser.add_argument("--out", type=Path, required=True, help="folder for scores.json and a sheet of each kind")
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    unet, prompts = image_unet.load_unet(args.weights / "image.safetensors"), image_unet.Prompts()
    codec = PatchCodec.load(HERE.parent / "tiny_model" / "codec.safetensors")
    kinds = {"pictures": None}
    if (args.weights / "motion.safetensors").exists():
        kinds["clips"] = load_motion(args.weights / "motion.safetensors")
    looks, report = fixed_looks(args.prompts), {"prompts": args.prompts, "guidance": args.guidance, "seed": args.seed}
    for kind, motion in kinds.items():
        results: list[np.ndarray] = []
        for first in range(0, len(looks), _BATCH):
            states = prompts([look.prompt for look in looks[first : first + _BATCH]])
            frames = 1 if motion is None else world.FRAMES
            made = sample(unet, motion, states, prompts([""]), args.seed + first, frames, guidance=args.guidance)
            results += list(codec.decode(made.permute(0, 1, 3, 4, 2)))
        report[kind] = scores(looks, [judge(frames) for frames in results])
        rows = [Row(look.prompt, clip) for look, clip in zip(looks, results, strict=True)]
        save_png(args.out / f"{kind}.png", contact_sheet(rows[:_SHEET_ROWS], cell=72))
    (args.out / "scores.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
