"""Train the tiny Wan, resumably: first on single frames, then on clips from what the frames taught.

    torchrun --nproc-per-node 2 -m demo.tiny_wan.pretrain image --minutes 20
    torchrun --nproc-per-node 2 -m demo.tiny_wan.pretrain motion --minutes 90

A checkpoint is written every two minutes; the same command goes on from it.
"""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from ..tiny_animatediff import pretrain
from ..tiny_model import world
from . import network

HERE = Path(__file__).parent
SHIFT = 3.0  # of the noise levels, as ModelSamplingSD3 has it


class ImageStage:
    """The transformer on single frames. ``module`` is what is trained."""

    name = "image"
    frames = 1
    # The edges and what turns the noise level into modulations are no hidden matrices: AdamW has them.
    edge = ("patch_embedding.", "text_embedding.", "time_", "head.")

    def __init__(self, run: Path) -> None:
        self.module = self.unet = network.new_transformer()

    def running(self) -> AbstractContextManager[object]:
        """What has to be open while the transformer is called."""
        return nullcontext()


class MotionStage(ImageStage):
    """All of it on clips, from the weights of the first stage."""

    name = "motion"
    frames = world.FRAMES

    def __init__(self, run: Path) -> None:
        self.module = self.unet = network.load_transformer(run / "image.safetensors").train().requires_grad_(True)


class Trainer(pretrain.Trainer):
    def loss(self, latents: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Flow matching, ``MSE(x0) / (sigma^2 + 0.1)``: one stratified noise level for a clip."""
        n = len(latents)
        x0 = latents.movedim(2, 1)
        u = (torch.arange(n) + torch.rand(n)) / n
        sigma = (SHIFT * u / (1 + (SHIFT - 1) * u)).view(-1, 1, 1, 1, 1)
        noise = torch.randn_like(x0)
        v = self.stage.unet((1 - sigma) * x0 + sigma * noise, 1000 * sigma.flatten(), states)
        error = (v - (noise - x0)).square().mean((1, 2, 3, 4))
        weight = sigma.flatten() ** 2
        return (error * weight / (weight + 0.1)).mean()


STAGES = {"image": ImageStage, "motion": MotionStage}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=STAGES)
    pretrain.add_arguments(parser, out=HERE / "run")
    args = parser.parse_args()
    pretrain.start(args)
    Trainer(STAGES[args.stage](args.out), args).run()


if __name__ == "__main__":
    main()
