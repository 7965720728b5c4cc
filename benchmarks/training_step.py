"""What one training step costs, against a plain implementation of the published recipe in the same run.

    python -m benchmarks.training_step [--size zeroscope --device cuda] [--out]
    python -m benchmarks.training_step --paper [--out]

Without a GPU, a narrow UNet of ZeroScope's layout is run at several frame counts, sizes and choices of layers. With
one, ``--size`` runs a real network with random weights. ``--paper`` counts the operations and the memory of ZeroScope's
step from its shapes alone. ``--out`` writes ``benchmarks/training_step.md``.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from demo.host import ROOT
from demo.tiny_animatediff.image_unet import import_comfyui
from motion_embedding.checkpointing import Checkpoints
from motion_embedding.install import Installation, Prepared
from motion_embedding.memory import learning
from motion_embedding.optimising import Arriving, adamw, descend
from motion_embedding.trainable import TrainableMotion

from . import step_on_paper
from .devices import add_device, chosen_device
from .plain_step import RATE, Plain
from .step_networks import SIZES, Network, network, small

OUT = ROOT / "benchmarks" / "training_step.md"
PAPER, NEXT, ALL = "paper", "paper + next level", "recommended"


class Ours:
    """A step as ``training_loop`` takes it. checkpointing, free: as ``Checkpoints.choose``; text is encoded once."""

    def __init__(self, network: Network, layers: str, checkpointing: str, free: int = 0) -> None:
        self.network, self.prepared, self.prompt = network, Prepared(), network.prompt()
        backbone, attentions = network.family
        chosen = backbone.select(attentions, layers)
        self.trainable = TrainableMotion(chosen)
        blocks = backbone.blocks(network.module, network.beside)
        self.checkpoints = Checkpoints(learning(blocks, chosen), backbone.in_place)
        self.checkpoints.measuring = True
        with torch.no_grad():
            self.predict(network.noise())
        self.checkpoints.measuring = False
        self.kept = self.checkpoints.choose(checkpointing, free)
        self.optimiser = adamw(self.trainable.allocate(network.device), RATE)
        self.scaler = torch.amp.GradScaler(network.device.type, enabled=network.dtype == torch.float16)

    @property
    def resting(self) -> int:
        """Bytes of the motion and its moments."""
        return 12 * sum(p.numel() for p in self.trainable.parameters())

    def predict(self, noisy: torch.Tensor) -> torch.Tensor:
        net = self.network
        motion = Installation(net.module, [self.trainable], net.call, self.prepared, net.family)
        with motion, self.checkpoints.around(lambda: motion):
            return net.run(noisy, self.prompt)

    def step(self) -> float:
        noise = self.network.noise()
        loss = (self.predict(noise).float() - noise.float()).square().mean()
        arriving = Arriving(loss)
        self.scaler.scale(loss).backward()
        value = arriving.get()
        descend(self.optimiser, self.scaler)
        self.scaler.update()
        return value


@dataclass(frozen=True)
class Row:
    """seconds: of a step, the median. peak: bytes at its worst moment, beside the weights.

    resting: of them, what the motion takes between steps: itself, its moments, and gradients that are kept till later.
    """

    name: str
    seconds: float
    peak: int
    resting: int


def encoder(net: Network) -> Callable[[], torch.Tensor]:
    """A text encoder of random weights, as deep and wide as ZeroScope's where the network is as large."""
    from transformers import CLIPTextConfig, CLIPTextModel

    width = net.text[-1]
    shape = {"hidden_size": width, "intermediate_size": 4 * width, "max_position_embeddings": net.text[1]}
    depth = {"num_hidden_layers": 23 if width > 512 else 4, "num_attention_heads": max(width // 64, 1)}
    with torch.device(net.device):
        model = CLIPTextModel(CLIPTextConfig(**shape, **depth)).eval().requires_grad_(False)
        tokens = torch.zeros(net.text[:2], dtype=torch.long)
    return lambda: model(tokens).last_hidden_state


def peak_of(step: Callable[[], float], device: torch.device) -> int:
    """Bytes allocated at the worst moment of a step, above those before it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    now = worst = 0
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        worst = max(worst, now)
    return worst


def timed(step: Callable[[], float], device: torch.device) -> float:
    """Seconds; on the CPU those of this process, since its cores may be shared."""
    if device.type != "cuda":
        begin = time.process_time()
        step()
        return time.process_time() - begin
    torch.cuda.synchronize()
    begin = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return time.perf_counter() - begin


def compare(make: Callable[[], Network], layers: str, steps: int, modes: tuple[str, ...]) -> list[Row]:
    """Steps taken in turn, so that what else the machine does meets all alike."""
    runners, device = {}, make().device
    for mode in modes:
        net = make()
        who, how = mode.split(", ")
        if who == "plain":
            runners[mode] = Plain(net, layers, how == "all again", encoder(net))
        else:
            runners[mode] = Ours(net, layers, {"none again": "none", "all again": "all"}[how])
    times: dict[str, list[float]] = {mode: [] for mode in modes}
    for runner in runners.values():
        runner.step()
    for _ in range(steps):
        for mode, runner in runners.items():
            times[mode].append(timed(runner.step, device))
    return [
        Row(mode, statistics.median(times[mode]), peak_of(runner.step, device) + runner.resting, runner.resting)
        for mode, runner in runners.items()
    ]


MODES = ("plain, none again", "plain, all again", "ours, none again", "ours, all again")


def exponent(sizes: list[float], costs: list[float]) -> float:
    """The power of the size that the cost grows with: the slope of a line through their logarithms."""
    x, y = [math.log(s) for s in sizes], [math.log(c) for c in costs]
    mx, my = statistics.mean(x), statistics.mean(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / sum((a - mx) ** 2 for a in x)


def cells(rows: list[Row]) -> str:
    return " | ".join(f"{1e3 * row.seconds:.0f} ms, {row.peak / 1e6:.0f} MB" for row in rows)


def sweep(steps: int) -> str:
    """The narrow UNet at several sizes."""
    device, base = torch.device("cpu"), {"frames": 8, "height": 16, "width": 16}
    cases = [
        ("frames", [{"frames": f} for f in (4, 8, 16)]),
        ("size", [{"height": n, "width": n} for n in (8, 16, 24)]),
    ]
    lines = [f"| {' | '.join(['clip', 'layers', *MODES])} |", "|" + "---|" * (2 + len(MODES))]
    fits = []
    for name, changes in cases:
        found: list[list[Row]] = []
        for change in changes:
            shape = {**base, **change}
            found.append(compare(lambda shape=shape: small(device, torch.float32, **shape), ALL, steps, MODES))
            lines.append(f"| {shape['width']}x{shape['height']}x{shape['frames']} | {ALL} | {cells(found[-1])} |")
        sizes = [float(math.prod(change.values())) for change in changes]
        for i, mode in enumerate(MODES):
            powers = [exponent(sizes, [cost(rows[i]) for rows in found]) for cost in (_seconds, _peak)]
            fits.append(f"| {name} | {mode} | {powers[0]:.2f} | {powers[1]:.2f} |")
    for layers in (PAPER, NEXT):
        rows = compare(lambda: small(device, torch.float32, **base), layers, steps, MODES)
        lines.append(f"| 16x16x8 | {layers} | {cells(rows)} |")
    head = ["", "| grows with | step | time ~ n^ | peak ~ n^ |", "|---|---|---|---|"]
    return "\n".join([*lines, *head, *fits]) + "\n"


def _seconds(row: Row) -> float:
    return row.seconds


def _peak(row: Row) -> float:
    return float(row.peak)


def one(size: str, device: torch.device, dtype: torch.dtype, layers: str, steps: int) -> str:
    """A real network."""
    rows: list[Row] = []
    for mode in MODES:  # one at a time: two do not fit beside each other
        try:
            rows += compare(lambda: network(size, device, dtype), layers, steps, (mode,))
        except torch.OutOfMemoryError:
            rows.append(Row(mode, math.nan, 0, 0))
    lines = [f"| {size}, {layers} | step | peak of a step | the motion, between steps |", "|---|---|---|---|"]
    lines += [f"| {r.name} | {r.seconds:.3f} s | {r.peak / 1e9:.2f} GB | {r.resting / 1e9:.2f} GB |" for r in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    add_device(parser)
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--layers", default=PAPER)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--paper", action="store_true", help="count ZeroScope's step from its shapes")
    parser.add_argument("--out", action="store_true", help=f"write {OUT.name}")
    arguments = parser.parse_args()
    device = chosen_device(parser, arguments)
    import_comfyui()
    torch.set_num_threads(1)
    if arguments.paper:
        name, text = "on paper", step_on_paper.table()
    elif arguments.size == "tiny" and device.type == "cpu":
        name, text = "narrow UNet", sweep(arguments.steps)
    else:
        name = f"{arguments.size} on {device.type}"
        text = one(arguments.size, device, getattr(torch, arguments.dtype), arguments.layers, arguments.steps)
    print(text)
    if arguments.out:
        step_on_paper.put(OUT, name, text)


if __name__ == "__main__":
    main()
