"""Training in the memory there is: blocks that run again in ``backward`` instead of keeping all they did (design 5).

What a block keeps, and what running it again would take, is measured on the clip itself, one block at a time, before
the first step; blocks are then chosen until the rest fits, those that free most for their work first. Nothing needs to
be known of the family but its blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import flop_registry

CHOICES = ("automatic", "none", "all")
_FLOP_PER_BYTE = 100  # that a GPU does in the time of reading a byte; 50 to 300 on those of 2018 to 2025
_NORMS = {torch.nn.functional.layer_norm, torch.nn.functional.rms_norm, torch.layer_norm, torch.rms_norm}


@dataclass(frozen=True)
class Cost:
    """Bytes that a block keeps for ``backward``, and of the input it needs to run again.

    flop: floating-point operations of running it again, which ends where ``backward`` has all it needs.
    """

    kept: int
    input: int
    flop: int = 0

    def worth(self) -> float:
        """Bytes freed for the time it takes to run again."""
        return (self.kept - self.input) / (self.flop + _FLOP_PER_BYTE * self.kept + 1)


def needed(costs: Sequence[Cost], again: set[int]) -> int:
    """Bytes kept at the worst moment of ``backward`` if the blocks ``again`` run again, one at a time."""
    inputs = sum(costs[i].input for i in again)
    kept = sum(cost.kept for i, cost in enumerate(costs) if i not in again)
    return inputs + kept + max((costs[i].kept for i in again), default=0)


def plan(costs: Sequence[Cost], free: int) -> set[int]:
    """The blocks to run again for the rest to fit into ``free`` bytes, by what they are worth; all if it never does."""
    order = sorted(range(len(costs)), key=lambda i: costs[i].worth(), reverse=True)
    fitting = (n for n in range(len(costs)) if needed(costs, set(order[:n])) <= free)
    again = set(order[: next(fitting, len(costs))])
    for i in sorted(again, key=lambda i: costs[i].flop, reverse=True):
        if needed(costs, again - {i}) <= free:
            again.remove(i)  # a costly one, and those that came after it have made it needless
    return again


class _Work(TorchDispatchMode):
    """Counts floating-point operations while open."""

    def __init__(self) -> None:
        super().__init__()
        self.flop = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Mapping | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.flop += count(*args, **(kwargs or {}), out_val=out)
        return out


class OwnNormInputs(TorchFunctionMode):
    """Gives every norm a copy of its input.

    Some transformers add to the residual in place, after a norm has read it. ``backward`` needs it as the norm saw it;
    where a block runs again nothing checks that, and gradients would be wrong without a word.
    """

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Mapping | None = None) -> Any:
        if func in _NORMS and args:
            args = (args[0].clone(), *args[1:])
        return func(*args, **(kwargs or {}))


class Checkpoints:
    """Swaps the ``forward`` of blocks for the length of a call.

    blocks: of the model, in order of use. Those before the first that learns keep nothing and need not be among them.
    in_place: whether they add to their inputs in place.
    ``costs`` is filled by the first call; ``again`` are the indices of the blocks that run again.
    """

    def __init__(self, blocks: Sequence[nn.Module], in_place: bool = False) -> None:
        self.blocks, self.in_place = list(blocks), in_place
        self.costs: dict[int, Cost] = {}
        self.again: set[int] = set()
        self.measuring = False

    def choose(self, choice: str, free: int) -> int:
        """Settle which blocks run again, of :data:`CHOICES`; returns the bytes kept. After a call while measuring."""
        costs = [self.costs.get(i, Cost(0, 0)) for i in range(len(self.blocks))]
        every = set(range(len(costs)))
        self.again = {"automatic": plan(costs, free), "none": set(), "all": every}[choice]
        return needed(costs, self.again)

    def least(self) -> int:
        """Bytes kept where every block runs again. After a call while measuring."""
        costs = [*self.costs.values()]
        return needed(costs, set(range(len(costs))))

    @contextmanager
    def around(self, reopened: Callable[[], AbstractContextManager]) -> Iterator[None]:
        """While open, the blocks do as chosen. reopened: what else has to be open when a block runs again."""
        swapped = []
        try:
            for index, block in enumerate(self.blocks):
                if self.measuring or self.in_place or index in self.again:
                    swapped.append((block, block.__dict__.get("forward")))
                    block.__dict__["forward"] = partial(self._forward, index, block.forward, reopened)
            yield
        finally:
            for block, before in reversed(swapped):
                if before is None:
                    block.__dict__.pop("forward", None)
                else:
                    block.__dict__["forward"] = before

    def _forward(self, index: int, run: Callable, reopened: Callable, *args: Any, **kwargs: Any) -> Any:
        if self.measuring:
            self.costs[index], output = self._measured(self.blocks[index], run, args, kwargs)
            return output
        if index not in self.again or not torch.is_grad_enabled():
            with self._mode():
                return run(*args, **kwargs)
        # Most blocks of a UNet mix no frames, and opening what is open for all of the model takes its time.
        again = reopened if _swapped_inside(self.blocks[index]) else nullcontext
        return checkpoint(
            partial(self._from_copies, run),
            *map(_of_now, args),
            use_reentrant=False,
            preserve_rng_state=False,
            context_fn=lambda: (nullcontext(), again()),
            **{k: _of_now(v) for k, v in kwargs.items()},
        )

    def _mode(self) -> AbstractContextManager:
        return OwnNormInputs() if self.in_place else nullcontext()

    def _from_copies(self, run: Callable, *args: Any, **kwargs: Any) -> Any:
        if not self.in_place:
            return run(*args, **kwargs)
        with self._mode():
            return run(*map(_copy, args), **{k: _copy(v) for k, v in kwargs.items()})

    def _measured(self, block: nn.Module, run: Callable, args: tuple, kwargs: dict) -> tuple[Cost, Any]:
        """What it keeps when those of its inputs learn that it changes and gives back, or the first if it gives none.

        A prompt or a noise level goes into every block and comes out of none.
        """
        inputs = [t.shape for t in (*args, *kwargs.values()) if _is_float(t)]
        learn = set(inputs[:1])
        cost, output = self._measured_once(block, run, args, kwargs, learn)
        given = {t.shape for t in _tensors(output)} & set(inputs) or learn
        return (cost, output) if given == learn else self._measured_once(block, run, args, kwargs, given)

    def _measured_once(
        self, block: nn.Module, run: Callable, args: tuple, kwargs: dict, shapes: set[torch.Size]
    ) -> tuple[Cost, Any]:
        """shapes: of the inputs that learn."""
        own = {t.untyped_storage()._cdata for t in (*block.parameters(), *block.buffers())}
        kept: dict[int, int] = {}
        work, until_last = _Work(), 0

        def note(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal until_last
            until_last, storage = work.flop, tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = storage.nbytes()
            return tensor

        def passed(value: Any) -> Any:
            return _learning(value, _is_float(value) and value.shape in shapes)

        inputs = [t.nbytes for t in (*args, *kwargs.values()) if _is_float(t)]
        with torch.enable_grad():
            args, kwargs = tuple(map(passed, args)), {k: passed(v) for k, v in kwargs.items()}
            with saved_tensors_hooks(note, lambda tensor: tensor), work:
                output = self._from_copies(run, *args, **kwargs)
        return Cost(sum(kept.values()), max(inputs, default=0), until_last), _detached(output)


def _swapped_inside(block: nn.Module) -> bool:
    """Whether a module in ``block`` runs another ``forward`` than its own for the length of the call."""
    return any("forward" in module.__dict__ for module in block.modules() if module is not block)


def _of_now(value: Any) -> Any:
    """The host's options as they are now: they change during a call, and a block must see the same when run again."""
    return dict(value) if type(value) is dict else value


def _is_float(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _copy(value: Any) -> Any:
    return value.clone() if _is_float(value) else value


def _learning(value: Any, learns: bool) -> Any:
    """A copy, since a leaf that wants a gradient must not be changed in place; unchanged if it is no tensor."""
    return value.detach().requires_grad_(learns).clone() if _is_float(value) else value


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """All in nested tuples and lists."""
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, torch.Tensor):
        yield value


def _detached(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(map(_detached, value))
    return value.detach() if isinstance(value, torch.Tensor) else value
