"""How long a ZeroScope motion at 576x320, 24 frames takes until all it adds lies on the model's device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from motion_embedding.applied import Applied
from motion_embedding.backbones import Backbone, TemporalAttention
from motion_embedding.backbones.base import level_grid
from motion_embedding.backbones.unet3d import level_of
from motion_embedding.debias import Debias
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from motion_embedding.install import Installation, Prepared

from .step_networks import EXTENTS, network

FRAMES, HEIGHT, WIDTH = EXTENTS["zeroscope"]
ROUNDS = 3
PRESETS = ("paper", "recommended")


class Through(nn.Module):
    """A projection that costs nothing, so that what is measured is what is added in front of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_features = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def attentions(layers: str) -> tuple[Backbone, list[TemporalAttention]]:
    """Those of ``layers`` in the layout of ZeroScope, with projections that cost nothing."""
    backbone, found = network("zeroscope", torch.device("meta"), torch.float16).family
    chosen = backbone.select(found, layers)
    return backbone, [replace(a, **{p: Through(a.width) for p in ("query", "key", "value")}) for a in chosen]


def grid_of(site: TemporalAttention) -> tuple[int, int]:
    return level_grid(HEIGHT, WIDTH, level_of(site.layer, 4))


def motion_of(backbone: Backbone, sites: Sequence[TemporalAttention]) -> MotionEmbedding:
    """As a file gives it: in half precision, on the CPU; debiased when it is prepared."""
    layers: dict[str, tuple[torch.Tensor, dict[str, torch.Tensor]]] = {}
    for site in sites:
        rows = layers.setdefault(site.layer, (torch.randn(FRAMES, site.width).half(), {}))
        rows[1][site.name] = torch.randn(*grid_of(site), FRAMES, site.width).half()
    made = {name: LayerEmbedding(*rows) for name, rows in layers.items()}
    return MotionEmbedding(made, backbone.family, FRAMES, HEIGHT, WIDTH, debias=Debias("difference", until=0.9))


def seconds(backbone: Backbone, sites: Sequence[TemporalAttention], device: torch.device, dtype: torch.dtype) -> float:
    """From nothing prepared to all additions of ``sites``, after a call that showed what comes in; the median."""
    call = backbone.call(torch.empty(2, 4, FRAMES, HEIGHT, WIDTH, device="meta"), (1, 0))
    model = nn.ModuleList([p for site in sites for p in (site.query, site.key, site.value)])
    prepared, source = Prepared(), Applied(motion_of(backbone, sites))
    opened = model, [source], call, prepared, (backbone, sites)
    with torch.no_grad():
        with Installation(*opened):
            for site in sites:
                rows, columns = grid_of(site)
                x = torch.zeros(2 * rows * columns, FRAMES, site.width, device=device, dtype=dtype)
                for projection in (site.query, site.key, site.value):
                    projection(x)
        times = []
        for _ in range(ROUNDS):
            prepared.clear()
            begin = _now(device)
            Installation(*opened)
            times.append(_now(device) - begin)
    if not prepared.additions:
        raise RuntimeError("nothing was prepared")
    return statistics.median(times)


def _now(device: torch.device) -> float:
    """Of the clock once the device is done; on the CPU of this thread, since its cores may be shared."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.thread_time()


def levels(sites: Sequence[TemporalAttention]) -> list[tuple[TemporalAttention, int]]:
    """One attention of every grid and width, and how many there are of it."""
    kinds: dict[Any, list[TemporalAttention]] = {}
    for site in sites:
        kinds.setdefault((grid_of(site), site.width), []).append(site)
    return [(of_kind[0], len(of_kind)) for of_kind in kinds.values()]


def whole(layers: str, device: torch.device) -> tuple[float, dict[str, float]]:
    """Seconds for all of ``layers``, and on a CPU those of one attention of each kind, which add up to it.

    A GPU has room for all at once, and works on one while the next is sent.
    """
    backbone, sites = attentions(layers)
    if device.type == "cuda":
        return seconds(backbone, sites, device, torch.float16), {}
    total, each = 0.0, {}
    for site, count in levels(sites):
        rows, columns = grid_of(site)
        name = f"{columns}x{rows}x{FRAMES}x{site.width}, {count} of them"
        each[name] = seconds(backbone, [site], device, torch.float32)
        total += count * each[name]
    return total, each
