"""Train the tiny AnimateDiff, resumably: first the image UNet on single frames, then the motion module on clips.

    torchrun --nproc-per-node 2 -m demo.tiny_animatediff.pretrain image --minutes 45
    torchrun --nproc-per-node 2 -m demo.tiny_animatediff.pretrain motion --minutes 50

The second stage takes the first one's averaged weights and leaves them as they are. A checkpoint is written every
two minutes; the same command goes on from it.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn

from motion_embedding.motion_module_install import attached

from ..tiny_model import network, world
from ..tiny_model.codec import PatchCodec
from . import image_unet

HERE = Path(__file__).parent
CODEC = HERE.parent / "tiny_model" / "codec.safetensors"


class ImageStage:
    """The image UNet on single frames. ``module`` is what is trained."""

    name = "image"
    frames = 1
    # Convolutions and linears at the very edge are no hidden matrices: AdamW has them.
    edge = ("input_blocks.0.", "out.2.", "time_embed.0.")

    def __init__(self, run: Path) -> None:
        self.module = self.unet = image_unet.new_unet().to(memory_format=torch.channels_last)

    def running(self) -> AbstractContextManager[object]:
        """What has to be open while the UNet is called."""
        return nullcontext()


class MotionStage(ImageStage):
    """The motion module on clips, beside the frozen image UNet of the first stage."""

    name = "motion"
    frames = world.FRAMES
    edge = ()

    def __init__(self, run: Path) -> None:
        self.unet = image_unet.load_unet(run / "image.safetensors").to(memory_format=torch.channels_last)
        self.module = image_unet.new_motion_model()

    def running(self) -> AbstractContextManager[object]:
        return attached(self.unet, self.module, self.frames)


class Trainer:
    def __init__(self, stage: ImageStage | MotionStage, args: argparse.Namespace) -> None:
        self.stage, self.args = stage, args
        self.rank, self.ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.rng = np.random.default_rng([args.seed, self.rank, int(time.time())])
        self.codec, self.prompts = PatchCodec.load(CODEC), image_unet.Prompts()
        self.parameters = [p for p in stage.module.parameters() if p.requires_grad]
        for p in self.parameters if self.ranks > 1 else ():
            dist.broadcast(p.data, 0)
        named = [(n, p) for n, p in stage.module.named_parameters() if p.requires_grad]
        matrices = [p for n, p in named if p.ndim >= 2 and not n.startswith(stage.edge)]
        owned = {id(p) for p in matrices}
        rest = [p for _, p in named if id(p) not in owned]
        self.muon = network.Muon(matrices, args.muon_lr)
        self.adam = torch.optim.AdamW(rest, args.adam_lr, betas=(0.9, 0.99), weight_decay=0.01, foreach=True)
        self.ema = {k: v.detach().clone() for k, v in stage.module.state_dict().items()}
        self.step = self.examples = 0
        self.elapsed = 0.0
        self.checkpoint = args.out / f"{stage.name}.pt"
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, weights_only=True)
            stage.module.load_state_dict(state["model"])
            self.ema, self.muon.buffers = state["ema"], state["muon"]
            self.adam.load_state_dict(state["adam"])
            self.step, self.examples, self.elapsed = state["progress"]

    def save(self) -> None:
        if self.rank:
            return
        state = {"model": self.stage.module.state_dict(), "ema": self.ema, "muon": self.muon.buffers}
        progress = [self.step, self.examples, self.elapsed]
        torch.save({**state, "adam": self.adam.state_dict(), "progress": progress}, f"{self.checkpoint}.tmp")
        os.replace(f"{self.checkpoint}.tmp", self.checkpoint)
        target = self.args.out / f"{self.stage.name}.safetensors"
        save_file({k: v.contiguous() for k, v in self.ema.items()}, f"{target}.tmp")
        os.replace(f"{target}.tmp", target)

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents ``[B, F, 12, 16, 16]`` and text ``[B, tokens, 64]``; one prompt in ten is empty (for guidance)."""
        clips, prompts = [], []
        for _ in range(self.args.batch):
            pixels, look, _ = world.random_clip(self.rng, self.stage.frames)
            clips.append(pixels)
            prompts.append("" if self.rng.random() < 0.1 else world.random_prompt(self.rng, look))
        return self.codec.encode(np.stack(clips)).permute(0, 1, 4, 2, 3).contiguous(), self.prompts(prompts)

    def loss(self, latents: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """``MSE(x0) / (sigma^2 + 0.1)``: one stratified noise level for a clip, its own noise for every frame."""
        n, frames = latents.shape[:2]
        t = (((torch.arange(n) + torch.rand(n)) / n) * network.TRAIN_STEPS).long().clamp(0, network.TRAIN_STEPS - 1)
        alpha, sigma = (v.view(-1, 1, 1, 1, 1) for v in network.alpha_sigma(t.float()))
        noisy = alpha * latents + sigma * torch.randn_like(latents)
        with self.stage.running():
            each = (t.repeat_interleave(frames), states.repeat_interleave(frames, 0))
            x0 = self.stage.unet(noisy.flatten(0, 1), *each)
        error = (x0.view_as(latents) - latents).square().mean((1, 2, 3, 4))
        return (error / (sigma.flatten() ** 2 + 0.1)).mean()

    def learning_rate(self, progress: float) -> float:
        """Warm-up, plateau, then cosine to 2 % over the last half of the run."""
        decay = 1.0
        if progress > 0.5:
            decay = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (progress - 0.5) / 0.5))
        return min(1.0, (self.step + 1) / 60) * decay

    def run(self) -> None:
        last_time, last_save, losses = time.time(), time.time(), []
        log = (self.args.out / f"{self.stage.name}_log.csv").open("a")
        if self.rank == 0 and log.tell() == 0:
            log.write("step,examples,seconds,loss,learning_rate\n")
        while True:
            now = time.time()
            self.elapsed, last_time = self.elapsed + now - last_time, now
            end = self.args.until or float("inf")
            left = min(60 * self.args.minutes - self.elapsed, end - now)
            progress = torch.tensor([self.elapsed / max(self.elapsed + left, 1e-6)])
            if self.ranks > 1:
                dist.broadcast(progress, 0)
            if progress >= 1:
                break
            rate = self.learning_rate(progress.item())
            losses.append(self.train_step(rate))
            if self.rank == 0 and self.step % 25 == 0:
                row = (self.step, self.examples, round(self.elapsed), np.mean(losses), rate)
                log.write("{},{},{},{:.4f},{:.3f}\n".format(*row))
                log.flush()
                losses = []
            if now - last_save > 120:
                last_save = now
                self.save()
        self.save()

    def train_step(self, rate: float) -> float:
        self.adam.param_groups[0]["lr"], self.muon.lr = self.args.adam_lr * rate, self.args.muon_lr * rate
        loss = self.loss(*self.batch())
        for p in self.parameters:
            p.grad = torch.zeros_like(p)
        loss.backward()
        network.sum_over_ranks([p.grad for p in self.parameters], self.ranks)
        for p in self.parameters:
            p.grad /= self.ranks
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.adam.step()
        self.muon.step(self.rank, self.ranks)
        self.step += 1
        self.examples += self.args.batch * self.ranks
        decay = min(0.998, (1 + self.step) / (10 + self.step))
        state = self.stage.module.state_dict()
        floats = [k for k in self.ema if self.ema[k].is_floating_point()]
        torch._foreach_lerp_([self.ema[k] for k in floats], [state[k] for k in floats], 1 - decay)
        return loss.item()


STAGES = {"image": ImageStage, "motion": MotionStage}


def add_arguments(parser: argparse.ArgumentParser, out: Path) -> None:
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--until", type=float, help="stop at this Unix time, if that is sooner")
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--batch", type=int, default=20, help="images or clips per process and step")
    parser.add_argument("--adam-lr", type=float, default=1.5e-3)
    parser.add_argument("--muon-lr", type=float, default=4e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)


def start(args: argparse.Namespace) -> None:
    """Join the other processes of ``torchrun``, if there are any."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    if "RANK" in os.environ:
        dist.init_process_group("gloo", timeout=timedelta(hours=1))
        torch.manual_seed(args.seed + 1000 * dist.get_rank())
    args.out.mkdir(parents=True, exist_ok=True)


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=STAGES)
    add_arguments(parser, out=HERE / "run")
    args = parser.parse_args(arguments)
    start(args)
    Trainer(STAGES[args.stage](args.out), args).run()


if __name__ == "__main__":
    main()
