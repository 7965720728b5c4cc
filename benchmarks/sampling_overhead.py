"""What an applied motion adds to a step of sampling: time, preparation, synchronising operations, memory.

    python -m benchmarks.sampling_overhead [--rounds 5] [--steps 40] [--out benchmarks/sampling_overhead.md]
    python -m benchmarks.sampling_overhead --size real --device cuda --steps 12     real sizes, random weights
    python -m benchmarks.sampling_overhead --only wan1.3b --device cuda             one model alone
    python -m benchmarks.sampling_overhead --only preparing                         preparing at ZeroScope's size

The host's own sampler (euler, guidance 2). The motion acts in every second step, so that what else runs on the machine
slows both alike: seconds of the thread on the CPU, of the clock behind ``torch.cuda.synchronize`` on a GPU. "More" is
the median over rounds of the ratio of the lower quartiles, and its range over rounds. "Prepare" is all that a run does
once: fitting and debiasing rows, moving them, noting what comes in where. "Waits" counts per step the operations that
make the host wait for a GPU or send it something of its own (a number read off a tensor, a tensor made of numbers), and
how many a motion adds that acts in a part of the steps; on the CPU too. On the CPU the C library is told to keep what
is freed, as the host's allocator does on a GPU: else it gives memory back and asks for it again as chance has it, up to
0.05 s a step with a motion or without.

"preparing" is that alone for a motion of ZeroScope at 576x320, 24 frames, read from a file, debiased: from nothing
prepared to all it adds lying on the device. On the CPU one attention of each kind is prepared and counted for all of
it. ``--out`` adds the rows to a table, each in the place of the same model on the same device.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from . import in_process
from . import preparing as preparing_alone
from .devices import add_device, chosen_device, device_name, free_memory
from .tables import Cells, Table, keep

UNTIL = 0.9
PREPARING = "preparing"
_MEASURED = ("step, ms", "with a motion", "more", "prepare, ms", "waits a step", "its own", "its memory, MB")
TABLE = Table(("model", "device", *_MEASURED), 2)
log = logging.getLogger(__name__)
WAITS = {"item", "_local_scalar_dense", "is_nonzero", "equal", "nonzero", "lift_fresh", "masked_select", "unique_dim"}


def keep_freed_memory() -> None:
    """Of glibc; elsewhere nothing."""
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        trim_threshold, mmap_threshold = -1, -3
        for limit in (trim_threshold, mmap_threshold):
            mallopt(limit, 2**30)


@dataclass
class Case:
    """model: a ``ModelPatcher``. shape: of the latent. text: conditionings, positive and negative."""

    name: str
    model: Any
    shape: tuple[int, ...]
    text: tuple[list, list]


class Waits(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.count += func.overloadpacket.__name__ in WAITS
        return func(*args, **(kwargs or {}))


@dataclass
class Run:
    """Seconds of each step, waits in each, and bytes at the peak (on a GPU)."""

    seconds: list[float] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)
    peak: int = 0


def sample(
    case: Case, model: Any, steps: int, cuda: bool, counting: bool = False, after: Callable[[], None] | None = None
) -> Run:
    import comfy.sample

    run, waits = Run(), Waits()
    clock: Callable[[], float] = time.perf_counter if cuda else time.thread_time

    def stamp() -> tuple[float, int]:
        if cuda:
            torch.cuda.synchronize()
        return clock(), waits.count

    def after_step(*_: Any) -> None:
        nonlocal last
        now = stamp()
        run.seconds.append(now[0] - last[0])
        run.waits.append(now[1] - last[1])
        last = now
        if after is not None:
            after()

    noise = torch.randn(case.shape, generator=torch.Generator().manual_seed(0))
    how = (steps, 2.0, "euler", "sgm_uniform", *case.text, torch.zeros_like(noise))
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    last = stamp()
    with waits if counting else nullcontext():
        comfy.sample.sample(model, noise, *how, callback=after_step, disable_pbar=True, seed=0)
    run.peak = torch.cuda.max_memory_allocated() if cuda else 0
    return run


def measure(case: Case, host: in_process.Host, rounds: int, steps: int, cuda: bool) -> Cells:
    """What the table has of a model, behind the device."""
    moved, size = with_motion(case, host)
    stack = host.part("injection").options_of(moved)["motion_embedding"]
    acting, turn = stack.acting, [0]
    every: list[Run] = []
    prepare: list[float] = []
    waits = {name: sample(case, model, 8, cuda, counting=True).waits for name, model in named(case, moved)}
    for _ in range(rounds):
        gc.collect()
        turn[0] = 0
        stack.acting = lambda *call: acting(*call) if turn[0] % 2 == 0 else []
        with preparing(host, cuda) as spent:
            every.append(sample(case, moved, steps, cuda, after=lambda: turn.__setitem__(0, turn[0] + 1)))
        prepare.append(sum(spent))
    del stack.acting
    last = int(steps * UNTIL) - 1
    fast = [[statistics.quantiles(r.seconds[n:last:2], n=4)[0] for n in (2, 3)] for r in every]
    ratios = [100 * (w / o - 1) for w, o in fast]
    extra = max(w - o for w, o in zip(waits["with"][2:], waits["without"][2:], strict=True))
    memory = size
    if cuda:
        peaks = {name: sample(case, model, 4, cuda).peak for name, model in named(case, moved)}
        memory = peaks["with"] - peaks["without"]
    return (
        f"{1e3 * statistics.median(o for _, o in fast):.1f}",
        f"{1e3 * statistics.median(w for w, _ in fast):.1f}",
        f"{statistics.median(ratios):+.1f} % ({min(ratios):+.1f} to {max(ratios):+.1f})",
        f"{1e3 * statistics.median(prepare):.0f}",
        f"{max(waits['without'][2:])}",
        f"{extra:+d}",
        f"{memory / 2**20:.1f}",
    )


def named(case: Case, moved: Any) -> list[tuple[str, Any]]:
    return [("without", case.model), ("with", moved)]


@contextmanager
def preparing(host: in_process.Host, cuda: bool) -> Iterator[list[float]]:
    """While open, gives the seconds that preparing takes, one entry for each thing prepared."""
    install, spent = host.part("install"), []
    owner, inside = install.Additions, [False]
    originals = owner.arrived, install._changes

    def timed(original: Callable, made: Callable = lambda result: result) -> Callable:
        def run(*args: Any) -> Any:
            if inside[0]:
                return original(*args)
            inside[0] = True
            if cuda:
                torch.cuda.synchronize()
            begin = time.perf_counter() if cuda else time.thread_time()
            result = made(original(*args))
            if cuda:
                torch.cuda.synchronize()
            spent.append((time.perf_counter() if cuda else time.thread_time()) - begin)
            inside[0] = False
            return result

        return run

    owner.arrived, install._changes = timed(originals[0]), timed(originals[1], list)
    try:
        yield spent
    finally:
        owner.arrived, install._changes = originals


def with_motion(case: Case, host: in_process.Host) -> tuple[Any, int]:
    """``case.model`` with a random motion on all its recommended layers, and the bytes of what that adds."""
    part = host.part
    injection = part("injection")
    backbone, sites = injection.wired_family(case.model.model, injection.options_of(case.model))
    chosen, call = backbone.select(sites, "recommended"), backbone.call(torch.empty(case.shape), (0,))
    grids: dict[tuple[str, str], tuple[int, int]] = {}
    probe = injection.with_source(case.model, Probe(grids))
    sample(case, probe, 1, next(case.model.model.parameters()).is_cuda)
    generator, layers = torch.Generator().manual_seed(1), {}
    embedding = part("embedding")
    for site in chosen:
        layer = layers.setdefault(site.layer, (torch.randn(call.frames, site.width, generator=generator) * 0.1, {}))
        grid = grids[site.layer, site.name]
        layer[1][site.name] = torch.randn(*grid, call.frames, site.width, generator=generator) * 0.1
    layers = {name: embedding.LayerEmbedding(*rows) for name, rows in layers.items()}
    motion = embedding.MotionEmbedding(layers, backbone.family, call.frames, call.height, call.width)
    motion = motion.replace(debias=part("debias").Debias("difference", until=UNTIL))
    item = next(case.model.model.parameters()).element_size()
    values = sum(row.query_key.numel() + sum(v.numel() for v in row.value.values()) for row in layers.values())
    return injection.apply_embedding(case.model, motion), values * item


class Probe:
    """Adds nothing and notes the grid at every attention."""

    settled, whole = False, False

    def __init__(self, grids: dict) -> None:
        self.grids = grids

    def addition(self, site: Any, projection: str, grid: tuple[int, int], *where: Any) -> None:
        self.grids[site.layer, site.name] = grid


def tiny_unet(host: in_process.Host) -> Case:
    return Case("tiny text-to-video UNet, 64x64x8", host.model, (1, 12, 8, 16, 16), _texts(host))


def tiny_animatediff(host: in_process.Host) -> Case:
    from demo.tiny_animatediff.config import MOTION

    image = in_process.demo_node("tiny_animatediff")
    model = host.part("animatediff").load_animatediff(image.load_model(), MOTION, own_betas=False)
    return Case("tiny AnimateDiff, 64x64x8", model, (8, 12, 16, 16), _texts(host))


def tiny_wan(host: in_process.Host) -> Case:
    import comfy.sd

    from demo.tiny_wan.files import CHANNELS, MODEL

    wan = comfy.sd.load_diffusion_model(str(MODEL), {"dtype": torch.float32})
    host = in_process.Host(wan, in_process.demo_node("tiny_wan").load_text(), host.vae)
    return Case("tiny Wan, 64x64x8", wan, (1, CHANNELS, 8, 16, 16), _texts(host))


def _texts(host: in_process.Host) -> tuple[list, list]:
    return host.prompt("a red star on a navy background"), host.prompt("")


TINY = {"unet": tiny_unet, "animatediff-tiny": tiny_animatediff, "wan-tiny": tiny_wan}
REAL = ("zeroscope", "svd", "animatediff", "wan1.3b")


def case_of(name: str, host: in_process.Host, cuda: bool) -> Case:
    if name in TINY:
        return TINY[name](host)
    from .real_sizes import SIZES

    return SIZES[name].case(host, small=not cuda)


def prepared(device: torch.device) -> Iterator[Cells]:
    """Rows of what preparing alone takes."""
    for layers in preparing_alone.PRESETS:
        spent, each = preparing_alone.whole(layers, device)
        for name, one in each.items():
            log.warning("preparing one of %s: %.0f ms", name, 1e3 * one)
        name = f"preparing at ZeroScope size, {layers}"
        yield (name, device_name(device), *["-"] * 3, f"{1e3 * spent:.0f}", *["-"] * 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("tiny", "real"), default="tiny", help="all models of these sizes (tiny)")
    add_device(parser)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--only", nargs="+", choices=(*TINY, *REAL, PREPARING), help="these in place of all")
    parser.add_argument("--out", type=Path, help="add the rows to the table there")
    arguments = parser.parse_args()
    device = chosen_device(parser, arguments)
    cuda = device.type == "cuda"
    names = arguments.only or (REAL if arguments.size == "real" else tuple(TINY))
    keep_freed_memory()
    with torch.inference_mode():
        host = in_process.start(1, cpu=not cuda)
        table = TABLE
        for name in names:
            if name == PREPARING:
                rows: list[Cells] = list(prepared(device))
            else:
                case = case_of(name, host, cuda)
                rows = [(case.name, device_name(device), *measure(case, host, arguments.rounds, arguments.steps, cuda))]
                del case
            free_memory(device)
            log.warning("%s", rows)
            table = table.with_rows([*table.rows, *rows])
            if arguments.out:
                keep(arguments.out, table)
    print(table.text)


if __name__ == "__main__":
    main()
