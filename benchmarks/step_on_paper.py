"""Operations, traffic and memory of ZeroScope's training step at 576x320x24, from shapes without contents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from motion_embedding.checkpointing import Checkpoints, Cost
from motion_embedding.install import Installation, Prepared
from motion_embedding.memory import learning, of_values
from motion_embedding.trainable import TrainableMotion

from .step_networks import Network, network

META, HALF = torch.device("meta"), torch.float16
PEAK, BANDWIDTH = 989e12, 3.35e12  # of an H100, in half precision
BUDGETS = {"none again": None, "for 12 GB": 6e9, "all again": 0.0}


class Flash(torch.autograd.Function):
    """What memory-efficient attention keeps: query, key, value, its output, and a number for each query and head."""

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(q)
        ctx.save_for_backward(q, k, v, out, q.new_empty(q.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple:
        q, k, v, *_ = ctx.saved_tensors
        return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


@contextmanager
def as_flash() -> Iterator[None]:
    """While open, attention keeps what it does on a GPU; tensors without contents would go to another kind of it."""

    def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **rest: Any) -> torch.Tensor:
        return Flash.apply(query, key, value)

    with mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", attention):
        yield


class Traffic(TorchDispatchMode):
    """Bytes that the operations read and write, each by itself; views are free."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Mapping | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            given = (t for t in (*args, *(out if isinstance(out, (tuple, list)) else (out,))))
            self.bytes += sum(t.nbytes for t in given if isinstance(t, torch.Tensor))
        return out


class Step:
    """A step of training ``layers`` on a network without contents. value_form: as ``TrainableMotion`` takes it."""

    def __init__(self, net: Network, layers: str, value_form: str = "full") -> None:
        self.net, self.prepared = net, Prepared()
        backbone, attentions = net.family
        chosen = backbone.select(attentions, layers)
        self.trainable = TrainableMotion(chosen, value_form)
        self.checkpoints = Checkpoints(learning(backbone.blocks(net.module), chosen))
        self.checkpoints.measuring = True
        with torch.no_grad():
            self.forward()  # as it is written: the work of attention is known
            work = {i: cost.flop for i, cost in self.checkpoints.costs.items()}
            with as_flash():
                self.forward()
        kept = self.checkpoints.costs.items()
        self.checkpoints.costs = {i: Cost(cost.kept, cost.input, work[i]) for i, cost in kept}
        self.checkpoints.measuring = False
        self.trainable.allocate(META)

    def forward(self) -> torch.Tensor:
        net = self.net
        motion = Installation(net.module, [self.trainable], net.call, self.prepared, net.family)
        with motion, self.checkpoints.around(lambda: motion):
            return net.run(torch.empty(net.latent, dtype=HALF, device=META), net.prompt())

    def flop(self) -> int:
        with FlopCounterMode(display=False) as counter:
            self.forward().square().mean().backward()
        return counter.get_total_flops()

    def traffic(self) -> int:
        with as_flash(), Traffic() as counter:
            self.forward().square().mean().backward()
        return counter.bytes


def table() -> str:
    net = network("zeroscope", META, HALF)
    weights = sum(p.nbytes for p in net.module.parameters())
    lines = [
        "| layers | blocks again | kept | weights | the motion | peak | TFLOP | traffic | floors on an H100 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for layers, value_form in (("paper", "full"), ("recommended", "full"), ("recommended", "low rank 8")):
        step = Step(net, layers, value_form)
        learnt = of_values(sum(p.numel() for p in step.trainable.parameters()))
        for name, budget in BUDGETS.items():
            choice = "none" if budget is None else "automatic" if budget else "all"
            kept = step.checkpoints.choose(choice, int(budget or 0))
            again = f"{name}: {len(step.checkpoints.again)} of {len(step.checkpoints.blocks)}"
            memory = [f"{n / 1e9:.1f} GB" for n in (kept, weights, learnt, kept + weights + learnt)]
            flop, traffic = step.flop(), step.traffic()
            floors = f"{1e3 * flop / PEAK:.0f} ms, {1e3 * traffic / BANDWIDTH:.0f} ms"
            cells = [
                layers if value_form == "full" else f"{layers}, {value_form}",
                again,
                *memory,
                f"{flop / 1e12:.1f}",
                f"{traffic / 1e9:.0f} GB",
                floors,
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def put(path: Path, name: str, text: str) -> None:
    """Set the part ``name`` of the page at ``path`` to ``text``."""
    page = path.read_text("utf-8") if path.exists() else ""
    part = f"## {name}\n\n{text}"
    found = re.search(rf"## {re.escape(name)}\n.*?(?=\n## |\Z)", page, flags=re.S)
    page = page[: found.start()] + part + page[found.end() :] if found else f"{page}\n{part}".lstrip()
    path.write_text(page, "utf-8")
