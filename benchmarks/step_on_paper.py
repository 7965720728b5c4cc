"""Operations, traffic and memory of a training step at a real size, from shapes without contents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from motion_embedding.checkpointing import Cost
from motion_embedding.install import Installation, Prepared
from motion_embedding.memory import of_values

from .devices import floors
from .step_networks import Network, network
from .tables import Table

META, HALF = torch.device("meta"), torch.float16
BUDGETS = {"none again": ("none", 0), "6 GB kept": ("automatic", 6e9), "all again": ("all", 0)}
CHOICES = (("paper", "full"), ("recommended", "full"), ("recommended", "low rank 8"))
KEYS = ("layers", "values", "again")
_ADAMW = 28  # bytes for a value in one pass: it, its gradient and two moments read, all but the gradient written


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


def _attention(run: Callable, *args: Any, **kwargs: Any) -> torch.Tensor:
    """PyTorch's, in place of the one the host has on a CPU, which asks how much memory there is."""
    from comfy.ldm.modules.attention import attention_pytorch

    return attention_pytorch(*args, **kwargs)


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


_HOSTS = {"optimized_attention_override": _attention}


class Step:
    """A step of training ``layers`` on a network without contents. value_form: as ``TrainableMotion`` takes it."""

    def __init__(self, net: Network, layers: str, value_form: str = "full") -> None:
        self.net, self.prepared = net, Prepared()
        self.inputs = {} if hasattr(net.module, "transformer_in") else {"transformer_options": _HOSTS}
        self.trainable, self.checkpoints = net.to_learn(layers, value_form)
        self.checkpoints.measuring = True
        with torch.no_grad():
            self.forward()  # as it is written: the work of attention is known
            work = {i: cost.flop for i, cost in self.checkpoints.costs.items()}
            with as_flash():
                self.forward()
        kept = self.checkpoints.costs.items()
        self.checkpoints.costs = {i: Cost(cost.kept, cost.input, work[i]) for i, cost in kept}
        self.checkpoints.measuring = False
        self.learnt = sum(p.numel() for p in self.trainable.allocate(META))

    def forward(self) -> torch.Tensor:
        net = self.net
        motion = Installation(net.module, [self.trainable], net.call, self.prepared, net.family)
        with motion, self.checkpoints.around(lambda: motion):
            return net.run(torch.empty(net.latent, dtype=HALF, device=META), net.prompt(), **self.inputs)

    def flop(self) -> int:
        with FlopCounterMode(display=False) as counter:
            self.forward().square().mean().backward()
        return counter.get_total_flops()

    def traffic(self) -> int:
        """Of forward and backward, every operation by itself, and of the optimiser in one pass."""
        with as_flash(), Traffic() as counter:
            self.forward().square().mean().backward()
        return counter.bytes + _ADAMW * self.learnt


def table(size: str, card: str, speed: tuple[float | None, float | None]) -> Table:
    """What a step of ``size`` takes. speed: operations and bytes a second of ``card``."""
    net, rows = network(size, META, HALF), []
    for layers, value_form in CHOICES:
        step = Step(net, layers, value_form)
        learnt = of_values(step.learnt)
        for name, (choice, budget) in BUDGETS.items():
            kept = step.checkpoints.choose(choice, int(budget))
            memory = [f"{n / 1e9:.1f} GB" for n in (kept, net.weights, learnt, kept + net.weights + learnt)]
            flop, traffic = step.flop(), step.traffic()
            again = f"{len(step.checkpoints.again)} of {len(step.checkpoints.blocks)}"
            counted = f"{flop / 1e12:.1f}", f"{traffic / 1e9:.0f} GB"
            rows.append((layers, value_form, name, again, *memory, *counted, floors(flop, traffic, speed)))
    memory = ("kept", "weights", "the motion", "peak")
    return Table((*KEYS, "blocks again", *memory, "TFLOP", "traffic", f"floors on {card}"), len(KEYS), tuple(rows))


def counted(page: str, layers: str, value_form: str, again: str) -> tuple[float, float] | None:
    """Operations and bytes of a step as such a table on ``page`` has them; None if it has no such row."""
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if tuple(cells[: len(KEYS)]) == (layers, value_form, again):
            return float(cells[-3]) * 1e12, float(cells[-2].removesuffix(" GB")) * 1e9
    return None
