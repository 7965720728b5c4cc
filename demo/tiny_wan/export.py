"""Take the averaged weights of a training run over into the repository as a file for the stock ``UNETLoader``.

    python -m demo.tiny_wan.export [--run demo/tiny_wan/run]

The loader expects 16 latent channels and text of 4096 numbers. What the tiny model lacks is padded with zeros: it reads
nothing of the further channels and predicts nothing for them.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import pad

from motion_embedding.atomic import replacing

from ..tiny_model import codec, text
from .files import CHANNELS, HERE, MODEL, TEXT_WIDTH, WEIGHTS


def padded(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """In the layout of Wan 2.1; the head gives ``(patch row, patch column, channel)``, the channel fastest."""
    more = CHANNELS - codec.CHANNELS
    head, bias = (weights[f"head.head.{part}"].unflatten(0, (-1, codec.CHANNELS)) for part in ("weight", "bias"))
    return {
        **weights,
        "patch_embedding.weight": pad(weights["patch_embedding.weight"], (0, 0) * 3 + (0, more)),
        "text_embedding.0.weight": pad(weights["text_embedding.0.weight"], (0, TEXT_WIDTH - text.HIDDEN)),
        "head.head.weight": pad(head, (0, 0, 0, more)).flatten(0, 1),
        "head.head.bias": pad(bias, (0, more)).flatten(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=HERE / "run")
    run = parser.parse_args().run
    WEIGHTS.mkdir(exist_ok=True)
    with replacing(MODEL) as unfinished:
        weights = padded(load_file(run / "motion.safetensors"))
        save_file({k: v.to(torch.float16).contiguous() for k, v in weights.items()}, unfinished)
    for stage in ("image", "motion"):
        shutil.copyfile(run / f"{stage}_log.csv", WEIGHTS / f"{stage}_log.csv")
    print(f"{MODEL}: {MODEL.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
