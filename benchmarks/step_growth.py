"""How the cost of a training step grows with the frames, the area and the layers."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from .step_modes import PLAIN, Choice, Row, alone, in_turns
from .step_networks import EXTENTS, Extent, network
from .tables import Table

LAYERS = ("paper", "paper + next level", "recommended")
_NARROW = {"frames": [(n, 16, 16) for n in (4, 8, 16)], "area": [(8, n, n) for n in (8, 16, 24)]}
_PARTS = (0.5, 0.75, 1.0)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Point:
    """extent: of the latent clip."""

    extent: Extent
    layers: str

    @property
    def clip(self) -> str:
        return "x".join(map(str, (*self.extent[:0:-1], self.extent[0])))


def grown(size: str) -> dict[str, list[Extent]]:
    """The clips of a sweep, by what grows in it. Sides stay multiples of eight, which is what the networks halve."""
    if size == "tiny":
        return _NARROW
    frames, *sides = EXTENTS[size]
    lengths = [(max(2, round(part * frames)), *sides) for part in _PARTS]
    areas = [(frames, *(side if part == 1 else int(part * side) // 8 * 8 for side in sides)) for part in _PARTS]
    return {"frames": lengths, "area": areas}


def points(size: str, layers: str) -> list[Point]:
    """Every clip with ``layers``, then the whole one with others; none twice."""
    clips = [Point(extent, layers) for extents in grown(size).values() for extent in extents]
    return list(dict.fromkeys([*clips, *(Point(EXTENTS[size], other) for other in LAYERS)]))


Found = dict[tuple[Point, str], Row]
"""By the point and the mode."""


def run(
    size: str, device: torch.device, dtype: torch.dtype, choice: Choice, modes: Sequence[str], steps: int, apart: bool
) -> Iterator[Found]:
    """What has been found so far, again and again.

    apart: each mode has the device to itself, as on a GPU; else they take turns, as where the CPU has more to do.
    """
    found: Found = {}
    todo = points(size, choice.layers)
    if not apart:
        for point in todo:
            make = partial(network, size, device, dtype, point.extent)
            for row in in_turns(make, modes, Choice(point.layers, choice.value_form), steps):
                found[point, row.name] = row
            yield found
        return
    net = network(size, device, dtype)
    for mode in sorted(modes, key=lambda mode: mode in PLAIN):  # last, since they change its weights
        for point in todo:
            clip = network(size, device, dtype, point.extent, net)
            found[point, mode] = row = alone(mode, clip, Choice(point.layers, choice.value_form), steps)
            log.warning("%s, %s, %s: %.3f s", mode, point.clip, point.layers, row.seconds)
            yield found


def table(found: Found) -> Table:
    rows = [
        (point.clip, point.layers, mode, f"{1e3 * row.seconds:.0f} ms", f"{row.beside / 1e6:.0f} MB")
        if not math.isnan(row.seconds)
        else (point.clip, point.layers, mode, "out of memory", "-")
        for (point, mode), row in found.items()
    ]
    return Table(("latent clip", "layers", "mode", "step", "peak beside the weights"), 3, tuple(rows))


def fits(found: Found, size: str, layers: str) -> Table:
    """The powers of frames and of area that time and peak grow with."""
    rows = []
    for kind, extents in grown(size).items():
        axes = slice(0, 1) if kind == "frames" else slice(1, 3)
        sizes = [float(math.prod(extent[axes])) for extent in extents]
        for mode in dict.fromkeys(mode for _, mode in found):
            all_ = [found.get((Point(extent, layers), mode), Row(mode)) for extent in extents]
            powers = exponent(sizes, [row.seconds for row in all_]), exponent(sizes, [row.beside for row in all_])
            rows.append((kind, mode, *(f"{power:.2f}" for power in powers)))
    return Table(("grows with", "mode", "time ~ n^", "peak ~ n^"), 2, tuple(rows))


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The power of the size that the cost grows with: the slope of a line through their logarithms.

    Of those that fitted into memory; not a number where that is one alone.
    """
    points = [(math.log(s), math.log(c)) for s, c in zip(sizes, costs, strict=True) if not math.isnan(c)]
    if len(points) < 2:
        return math.nan
    mx, my = (statistics.mean(values) for values in zip(*points, strict=True))
    return sum((x - mx) * (y - my) for x, y in points) / sum((x - mx) ** 2 for x, _ in points)
