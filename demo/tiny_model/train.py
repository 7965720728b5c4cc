"""Train the tiny text-to-video model on sprite clips, resumably, on every core of this machine.

    torchrun --nproc-per-node 2 -m demo.tiny_model.train --minutes 120 --out demo/tiny_model/run

Single frames first (the look), then clips (how things move). A checkpoint is written every two
minutes; the same command goes on from it. ``demo.tiny_model.export`` turns the result into the
committed diffusers folder.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import nn

from . import network, text, world
from .codec import PatchCodec

HERE = Path(__file__).parent


def concept_targets(ids: torch.Tensor, words: dict[int, int], table: torch.Tensor) -> torch.Tensor:
    """What each token should encode before joint training: its own concept, else one already read.

    ids ``[B, L]``, words maps token id to a row of ``table [N, 64]``; returns ``[B, L, 64]``.
    """
    out = torch.zeros(*ids.shape, table.shape[1])
    for b, row in enumerate(ids.tolist()):
        seen: list[int] = []
        for i, token in enumerate(row):
            if token in words:
                seen.append(words[token])
                out[b, i] = table[seen[-1]]
            elif seen:
                out[b, i] = table[seen[i % len(seen)]]
    return out


def warm_start(unet: nn.Module, encoder: nn.Module, tokenizer, folder: Path, seed: int = 5) -> None:
    """Take over a UNet trained on a word table, and teach the text encoder to speak that table."""
    unet.load_state_dict({k: v.float() for k, v in load_file(folder / "unet.safetensors").items()})
    old = load_file(folder / "text_table.safetensors")
    vocab = json.loads((folder / "text_vocab.json").read_text())["vocab"]
    generator = torch.Generator().manual_seed(seed)
    fields = (tuple(world.COLORS), world.SHAPES, tuple(world.BACKGROUNDS), world.PATTERNS)
    renamed = {"checkered": "checker"}
    words, rows = {}, []
    for position, names in enumerate(fields):
        for name in names:
            key = renamed.get(name, name)
            new = torch.randn(text.HIDDEN, generator=generator)
            words[tokenizer(name)["input_ids"][1]] = len(rows)
            rows.append(old["pos"][position] + (old["emb"][vocab.index(key)] if key in vocab else new))
    table, rng = torch.stack(rows), np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(encoder.parameters(), 2e-3)
    for step in range(1200):
        prompts = [world.random_prompt(rng, world.random_look(rng)) for _ in range(48)]
        ids = tokenizer(prompts, padding="max_length", return_tensors="pt")["input_ids"]
        loss = (encoder(ids).last_hidden_state - concept_targets(ids, words, table)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 200 == 0:
            print(f"text encoder warm start: step {step}, error {loss.item():.4f}", flush=True)


class Trainer:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.rank, self.ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.rng = np.random.default_rng([args.seed, self.rank, int(time.time())])
        self.codec = PatchCodec.load(HERE / "codec.safetensors")
        torch.manual_seed(args.seed)
        args.out.mkdir(parents=True, exist_ok=True)
        if self.rank == 0:
            text.write_tokenizer(args.out / "tokenizer")
        self.barrier()
        self.tokenizer = text.load_tokenizer(args.out / "tokenizer")
        self.model = nn.ModuleDict({"unet": network.new_unet(), "text": text.new_text_encoder(self.tokenizer)})
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        self.step = self.images = self.clips = 0
        self.elapsed = 0.0
        self.checkpoint = args.out / "checkpoint.pt"
        resuming = self.checkpoint.exists()
        if args.warm_start and not resuming and self.rank == 0:
            warm_start(self.model["unet"], self.model["text"], self.tokenizer, args.warm_start)
        for p in self.model.parameters():
            if self.ranks > 1:
                dist.broadcast(p.data, 0)
        self._optimisers()
        self.ema = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        if resuming:
            self._load()

    def barrier(self) -> None:
        if self.ranks > 1:
            dist.barrier()

    def _optimisers(self) -> None:
        edge = ("unet.conv_in", "unet.conv_out", "unet.time_embedding.linear_1")
        named = list(self.model.named_parameters())
        matrices = [p for n, p in named if p.ndim >= 2 and n.startswith("unet") and not n.startswith(edge)]
        owned = {id(p) for p in matrices}
        rest = [p for _, p in named if id(p) not in owned]
        self.muon = network.Muon(matrices, self.args.muon_lr)
        self.adam = torch.optim.AdamW(rest, self.args.adam_lr, betas=(0.9, 0.99), weight_decay=0.01, foreach=True)

    def _load(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema, self.muon.buffers = state["ema"], state["muon"]
        self.adam.load_state_dict(state["adam"])
        self.step, self.images, self.clips, self.elapsed = state["progress"]

    def save(self) -> None:
        if self.rank:
            return
        progress = [self.step, self.images, self.clips, self.elapsed]
        state = {"model": self.model.state_dict(), "ema": self.ema, "muon": self.muon.buffers}
        torch.save({**state, "adam": self.adam.state_dict(), "progress": progress}, f"{self.checkpoint}.tmp")
        os.replace(f"{self.checkpoint}.tmp", self.checkpoint)
        ema = {k: v.contiguous() for k, v in self.ema.items()}
        save_file(ema, self.args.out / "ema.tmp")
        os.replace(self.args.out / "ema.tmp", self.args.out / "ema.safetensors")

    def batch(self, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents ``[B, 12, F, 16, 16]`` and token ids ``[B, L]``; one prompt in ten is empty (for guidance)."""
        count = self.args.images_per_step if frames == 1 else self.args.clips_per_step
        clips, prompts = [], []
        for _ in range(count):
            pixels, look, _ = world.random_clip(self.rng, frames)
            clips.append(pixels)
            prompts.append("" if self.rng.random() < 0.1 else world.random_prompt(self.rng, look))
        ids = self.tokenizer(prompts, padding="max_length", return_tensors="pt")["input_ids"]
        return self.codec.encode(np.stack(clips)).permute(0, 4, 1, 2, 3).contiguous(), ids

    def loss(self, latents: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """``MSE(x0) / (sigma^2 + 0.1)`` at stratified noise levels."""
        n = len(latents)
        t = (((torch.arange(n) + torch.rand(n)) / n) * network.TRAIN_STEPS).long().clamp(0, network.TRAIN_STEPS - 1)
        alpha, sigma = (v.view(-1, 1, 1, 1, 1) for v in network.alpha_sigma(t.float()))
        noisy = alpha * latents + sigma * torch.randn_like(latents)
        x0 = self.model["unet"](noisy, t, self.model["text"](ids).last_hidden_state, return_dict=False)[0]
        return ((x0 - latents).square().mean((1, 2, 3, 4)) / (sigma.flatten() ** 2 + 0.1)).mean()

    def learning_rate(self, progress: float) -> float:
        """Warm-up, plateau, then cosine to 2 % over the last 45 % of the run."""
        decay = 1.0
        if progress > 0.55:
            decay = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (progress - 0.55) / 0.45))
        return min(1.0, (self.step + 1) / 100) * decay

    def run(self) -> None:
        last_time, last_save, losses = time.time(), time.time(), []
        log = (self.args.out / "log.csv").open("a")
        if self.rank == 0 and log.tell() == 0:
            log.write("step,images,clips,seconds,loss,learning_rate\n")
        while True:
            now = time.time()
            self.elapsed, last_time = self.elapsed + now - last_time, now
            progress = torch.tensor([self.elapsed / (60 * self.args.minutes)])
            if self.ranks > 1:
                dist.broadcast(progress, 0)
            progress = progress.item()
            if progress >= 1:
                break
            frames = 1 if progress < self.args.image_share else world.FRAMES
            losses.append(self.train_step(frames, self.learning_rate(progress)))
            if self.rank == 0 and self.step % 50 == 0:
                row = (self.step, self.images, self.clips, round(self.elapsed), np.mean(losses))
                log.write("{},{},{},{},{:.4f},{:.3f}\n".format(*row, self.learning_rate(progress)))
                log.flush()
                losses = []
            if now - last_save > 120:
                last_save = now
                self.save()
        self.save()

    def train_step(self, frames: int, rate: float) -> float:
        self.adam.param_groups[0]["lr"], self.muon.lr = self.args.adam_lr * rate, self.args.muon_lr * rate
        latents, ids = self.batch(frames)
        loss = self.loss(latents, ids)
        parameters = list(self.model.parameters())
        for p in parameters:
            p.grad = torch.zeros_like(p)
        loss.backward()
        network.sum_over_ranks([p.grad for p in parameters], self.ranks)
        for p in parameters:
            p.grad /= self.ranks
        nn.utils.clip_grad_norm_(parameters, 1.0)
        self.adam.step()
        self.muon.step(self.rank, self.ranks)
        self.step += 1
        if frames == 1:
            self.images += len(latents) * self.ranks
        else:
            self.clips += len(latents) * self.ranks
        decay = min(0.998, (1 + self.step) / (10 + self.step))
        state = self.model.state_dict()
        floats = [k for k in self.ema if self.ema[k].is_floating_point()]
        torch._foreach_lerp_([self.ema[k] for k in floats], [state[k] for k in floats], 1 - decay)
        return loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--image-share", type=float, default=0.17, help="part of the time spent on single frames")
    parser.add_argument("--out", type=Path, default=HERE / "run")
    parser.add_argument("--warm-start", type=Path, help="folder with unet.safetensors and a word table")
    parser.add_argument("--images-per-step", type=int, default=20, help="per process")
    parser.add_argument("--clips-per-step", type=int, default=4, help="per process")
    parser.add_argument("--adam-lr", type=float, default=1.5e-3)
    parser.add_argument("--muon-lr", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ.get("WORLD_SIZE", 1))))
    if "RANK" in os.environ:
        dist.init_process_group("gloo", timeout=timedelta(hours=1))
    Trainer(args).run()


if __name__ == "__main__":
    main()
