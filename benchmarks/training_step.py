"""What one training step costs, against a plain implementation of the published recipe in the same run.

    python -m benchmarks.training_step [--out]                                   how a narrow UNet's grows, on the CPU
    python -m benchmarks.training_step --size zeroscope --device cuda [--out]    a real network, random weights
    python -m benchmarks.training_step --size zeroscope --device cuda --sweep    how its cost grows with the clip
    python -m benchmarks.training_step --paper [--size zeroscope] [--out]        counted from shapes alone

A real size is run with nothing, with all, and with as much running again as leaves ``--keep`` gigabytes kept; ours
before plain, each with the device to itself. The peak is of all that is allocated. Values in another form than full
have no plain step, since the published recipe learns all of them; no text is encoded in the plain steps of Wan, whose
encoder has billions of values, nor of Stable Video Diffusion, which reads none.

``--paper`` counts operations, traffic and memory of a step, of every size if none is named. Where
``benchmarks/training_step.md`` has these counts, a run on a GPU shows its floors: operations over the device's peak,
bytes over its bandwidth. ``--out`` adds what was measured to that page, mode by mode; another device, type, choice of
layers or form of values is another part of it.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Sequence

import torch

from demo.host import ROOT
from demo.tiny_animatediff.image_unet import import_comfyui
from motion_embedding.errors import InputError
from motion_embedding.learnt_factors import rank_of
from motion_embedding.spatial import DEGREES

from . import step_growth, step_on_paper
from .devices import SPEEDS, add_device, add_speed, chosen_device, device_name, floors, speed_of
from .step_modes import OURS, PLAIN, Choice, Row, alone, with_kept
from .step_networks import REAL, SIZES, network
from .tables import Cells, Table, keep, part, read

OUT = ROOT / "benchmarks" / "training_step.md"
CARD = "NVIDIA H100 80GB HBM3"
Speed = tuple[float | None, float | None]
log = logging.getLogger(__name__)


def on_paper(size: str) -> str:
    """The part of the page that has the counts of ``size``."""
    return f"{size} on paper"


def part_of(size: str, choice: Choice, dtype: torch.dtype, device: torch.device, what: str = "") -> str:
    """The part of the page that a run belongs to."""
    form = f"{choice.layers}, values {choice.value_form}, {str(dtype).removeprefix('torch.')}"
    return f"{size}{what}, {form}, {device_name(device)}"


def table(rows: Sequence[Row], size: str, choice: Choice, speed: Speed) -> Table:
    """speed: operations and bytes a second of the device."""
    page = part(read(OUT), on_paper(size))
    memory = ("peak", "its weights", "the rest", "the motion, between steps")
    columns = ("mode", "step", *memory, "floors: operations, bytes", "times the larger")
    return Table(columns, 1, tuple(_cells(row, page, choice, speed) for row in rows))


def _cells(row: Row, page: str, choice: Choice, speed: Speed) -> Cells:
    if math.isnan(row.seconds):
        return (row.name, "out of memory", *["-"] * 6)
    memory = (f"{size / 1e9:.2f} GB" for size in (row.peak, row.weights, row.beside, row.resting))
    least, times = "-", "-"
    counted = step_on_paper.counted(page, choice.layers, choice.value_form, row.again)
    if counted and row.name not in PLAIN:
        least = floors(*counted, speed)
        if all(speed):
            times = f"{row.seconds / max(amount / rate for amount, rate in zip(counted, speed, strict=True)):.1f}"
    return (row.name, f"{row.seconds:.3f} s", *memory, least, times)


def paper(size: str, arguments: argparse.Namespace) -> None:
    given = arguments.peak_tflops or arguments.bandwidth
    card = f"{arguments.card}, as given" if given else arguments.card
    counts = step_on_paper.table(size, card, speed_of(arguments.card, arguments))
    print(f"## {on_paper(size)}\n\n{counts.text}")
    if arguments.out:
        keep(OUT, counts, on_paper(size))


def grow(size: str, device: torch.device, dtype: torch.dtype, choice: Choice, arguments: argparse.Namespace) -> None:
    name, found = part_of(size, choice, dtype, device, " growing"), {}
    modes, apart = modes_of(arguments, [], choice), device.type == "cuda"
    for found in step_growth.run(size, device, dtype, choice, modes, arguments.steps, apart):
        if arguments.out:
            keep(OUT, step_growth.table(found), name)
            keep(OUT, step_growth.fits(found, size, choice.layers), name)
    print(f"## {name}\n\n{step_growth.table(found).text}\n{step_growth.fits(found, size, choice.layers).text}")


def one(size: str, device: torch.device, dtype: torch.dtype, choice: Choice, arguments: argparse.Namespace) -> None:
    half = dtype in (torch.float16, torch.bfloat16)
    name, speed = part_of(size, choice, dtype, device), speed_of(device_name(device), arguments, half)
    net, rows = network(size, device, dtype), []
    for mode in modes_of(arguments, arguments.keep, choice):
        rows.append(alone(mode, net, choice, arguments.steps))
        log.warning("%s: %.3f s, %.2f GB", mode, rows[-1].seconds, rows[-1].peak / 1e9)
        if arguments.out:
            keep(OUT, table(rows, size, choice, speed), name)
    print(f"## {name}\n\n{table(rows, size, choice, speed).text}")


def modes_of(arguments: argparse.Namespace, kept: Sequence[float], choice: Choice) -> list[str]:
    """Ours first: a plain step changes the weights of its network."""
    plain = [] if arguments.ours or choice.value_form != "full" else PLAIN
    return [*OURS, *map(with_kept, kept), *plain]


def check(parser: argparse.ArgumentParser, size: str, choice: Choice) -> None:
    """A usage error for what could not be learnt, before a network is built that takes minutes."""
    form = choice.value_form
    if form != "full" and form not in DEGREES and not rank_of(form):
        parser.error(f"--value-form: {form!r} is none of full, {', '.join(DEGREES)} and low rank N")
    backbone, attentions = network(size, step_on_paper.META, step_on_paper.HALF).family
    try:
        backbone.select(attentions, choice.layers)
    except InputError as error:
        parser.error(f"--layers: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, help="a network (tiny; with --paper all real ones)")
    add_device(parser)
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], help="(float16 on a GPU, else float32)")
    parser.add_argument("--layers", help="a preset or patterns (paper; recommended with --sweep)")
    parser.add_argument("--value-form", default="full", help="as the training node has it (full)")
    parser.add_argument("--keep", type=float, nargs="*", default=[6.0], help="GB kept for backward, a mode each (6)")
    parser.add_argument("--ours", action="store_true", help="without the plain steps")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--sweep", action="store_true", help="how the cost grows (the tiny network on the CPU: always)")
    parser.add_argument("--paper", action="store_true", help="count a step from its shapes")
    parser.add_argument("--card", choices=list(SPEEDS), default=CARD, help=f"whose floors --paper has ({CARD})")
    add_speed(parser)
    parser.add_argument("--out", action="store_true", help=f"add to {OUT.name}")
    arguments = parser.parse_args()
    device, size = chosen_device(parser, arguments), arguments.size or "tiny"
    import_comfyui()
    torch.set_num_threads(1)
    if arguments.paper:
        for size in [arguments.size] if arguments.size else REAL:
            paper(size, arguments)
        return
    growing = arguments.sweep or (size == "tiny" and device.type == "cpu")
    choice = Choice(arguments.layers or ("recommended" if growing else "paper"), arguments.value_form)
    check(parser, size, choice)
    dtype = getattr(torch, arguments.dtype or ("float16" if device.type == "cuda" else "float32"))
    (grow if growing else one)(size, device, dtype, choice, arguments)


if __name__ == "__main__":
    main()
