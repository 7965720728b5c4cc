"""How the rank that values need grows with the clip: one motion learnt at several lengths and sizes, on the tiny UNet.

    python -m benchmarks.rank_growth [--clip circle] [--steps 100] [--out]

The rank is that of ``[h w F, C]`` within the given share of the values, for every attention; the table has the span
over the attentions of each grid. Longer clips have the motion in more frames, larger ones are enlarged. ``--out`` adds
the rows to ``benchmarks/rank_growth.md``, to those of other clips and lengths of training.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
import torch

from demo.host import ROOT
from demo.tiny_model.world import Motion, render
from motion_embedding.low_rank import factorise

from . import in_process
from .clips import CLIPS, Clip
from .tables import Cells, Table, keep

CASES = ((8, 16), (16, 16), (8, 24), (8, 32))
ERRORS = (0.3, 0.5, 0.7)
_KEYS = ("clip", "steps", "frames", "latent", "values h x w x F x C")
TABLE = Table((*_KEYS, *(f"rank within {error}" for error in ERRORS)), len(_KEYS))


def longer(motion: Motion, frames: int) -> Motion:
    """The same motion drawn in ``frames`` frames."""
    before, now = np.linspace(0, 1, len(motion.x)), np.linspace(0, 1, frames)
    arrays = {k: v for k, v in vars(motion).items() if isinstance(v, np.ndarray)}
    return dataclasses.replace(motion, **{k: np.interp(now, before, v) for k, v in arrays.items()})


def pixels(clip: Clip, frames: int, side: int) -> np.ndarray:
    """uint8 ``[frames, 4 side, 4 side, 3]``."""
    drawn = torch.from_numpy(render(clip.look, longer(clip.motion, frames))).permute(0, 3, 1, 2).float()
    drawn = torch.nn.functional.interpolate(drawn, size=(4 * side, 4 * side), mode="bilinear")
    return drawn.permute(0, 2, 3, 1).round().to(torch.uint8).numpy()


def rows(host: in_process.Host, clip: Clip, frames: int, side: int, steps: int) -> list[Cells]:
    training = host.part("training")
    latents, prompt = host.encode(pixels(clip, frames, side)), host.prompt(clip.look.prompt)
    learnt = training.train_motion(host.model, prompt, latents, training.Recipe(steps=steps)).embedding
    ranks: dict[tuple[int, ...], list[list[int]]] = {}
    for layer in learnt.layers.values():
        for values in layer.value.values():
            ranks.setdefault(tuple(values.shape), []).append([factorise(values, e).rank for e in ERRORS])
    made = []
    for shape, found in sorted(ranks.items()):
        spans = (f"{min(column)} to {max(column)}" for column in zip(*found, strict=True))
        made.append((clip.name, str(steps), str(frames), f"{side}x{side}", "x".join(map(str, shape)), *spans))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", choices=list(CLIPS), default="circle")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", action="store_true", help="add the rows to benchmarks/rank_growth.md as well")
    arguments = parser.parse_args()
    table = TABLE
    with torch.inference_mode():
        host = in_process.start()
        for frames, side in CASES:
            table = table.with_rows([*table.rows, *rows(host, CLIPS[arguments.clip], frames, side, arguments.steps)])
            if arguments.out:
                keep(ROOT / "benchmarks" / "rank_growth.md", table)
    print(table.text)


if __name__ == "__main__":
    main()
