"""Blocks that run again in ``backward``: the same gradients, what is kept, and which blocks are chosen."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch import nn

from motion_embedding.checkpointing import Checkpoints, Cost, needed, plan


class Block(nn.Module):
    """Adds to its input in place, as the blocks of LTX-Video and HunyuanVideo do."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor, gate: torch.Tensor, options: dict | None = None) -> torch.Tensor:
        x.addcmul_(self.first(self.norm(x)), gate)
        x += torch.tanh(self.second(torch.nn.functional.rms_norm(x, x.shape[-1:])))
        return x


class Pure(Block):
    """The same without in-place operations: the reference."""

    def forward(self, x, gate, options=None):
        x = x + self.first(self.norm(x)) * gate
        return x + torch.tanh(self.second(torch.nn.functional.rms_norm(x, x.shape[-1:])))


def network(kind: type[Block], blocks: int = 4) -> nn.ModuleList:
    torch.manual_seed(0)
    return nn.ModuleList([kind() for _ in range(blocks)]).double().requires_grad_(False)


def gradient(blocks: nn.ModuleList, checkpoints: Checkpoints | None) -> torch.Tensor:
    """Of a vector that is added before the second block."""
    torch.manual_seed(1)
    x, gate = torch.randn(2, 5, 6, dtype=torch.float64), torch.randn(2, 1, 6, dtype=torch.float64)
    rows = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    with checkpoints.around(nullcontext) if checkpoints else nullcontext():
        for index, block in enumerate(blocks):
            x = block(x + rows if index == 1 else x.clone(), gate, options={})
    x.square().sum().backward()
    return rows.grad


@pytest.mark.parametrize("again", [set(), {1}, {0, 2, 3}, {0, 1, 2, 3}])
def test_gradients_are_those_of_a_network_that_changes_nothing_in_place(again: set[int]) -> None:
    blocks = network(Block)
    checkpoints = Checkpoints(blocks, in_place=True)
    checkpoints.again = again
    torch.testing.assert_close(gradient(blocks, checkpoints), gradient(network(Pure), None), rtol=1e-12, atol=1e-12)
    assert all("forward" not in block.__dict__ for block in blocks)


def test_without_care_in_place_additions_break_backward() -> None:
    """Why the care is taken; should this fail one day, PyTorch takes it."""
    blocks = network(Block)
    checkpoints = Checkpoints(blocks, in_place=False)
    checkpoints.again = {0, 1, 2, 3}
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradient(blocks, checkpoints)


def test_what_was_open_is_opened_again() -> None:
    blocks, opened = network(Pure, 2), []

    @contextmanager
    def scaled(factor: float):
        opened.append(factor)
        before = blocks[1].first.forward
        blocks[1].first.forward = lambda x: factor * before(x)
        try:
            yield
        finally:
            del blocks[1].first.forward

    results = []
    for again in (set(), {0, 1}):
        checkpoints = Checkpoints(blocks)
        checkpoints.again = again
        rows, gate = torch.zeros(6, dtype=torch.float64, requires_grad=True), torch.ones(6, dtype=torch.float64)
        with scaled(3.0), checkpoints.around(lambda: scaled(3.0)):
            out = blocks[1](blocks[0](torch.arange(6.0).double() + rows, gate), gate)
        out.square().sum().backward()
        results.append(rows.grad)
    torch.testing.assert_close(results[0], results[1])
    assert opened == [3.0, 3.0, 3.0]  # each call, and the one of two blocks that it changes


def test_what_a_block_keeps_is_measured() -> None:
    """Of ``tanh(linear(x * 2))`` with frozen weights, ``backward`` needs the output of ``tanh`` alone."""

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 4).requires_grad_(False)

        def forward(self, x):
            return torch.tanh(self.linear(x * 2))

    block = Small()
    checkpoints = Checkpoints([block])
    checkpoints.measuring = True
    x = torch.randn(3, 8)
    with checkpoints.around(nullcontext), torch.no_grad():
        out = block(x)
    assert torch.equal(out, block(x)) and not out.requires_grad
    assert checkpoints.costs == {0: Cost(kept=3 * 4 * 4, input=3 * 8 * 4, flop=2 * 3 * 8 * 4)}


def test_only_what_can_learn_counts() -> None:
    """A prompt or a noise level goes into every block and comes out of none: nothing is kept for their gradients."""

    class Told(nn.Module):
        def forward(self, x, told, gives_both=False):
            changed = torch.tanh(x) + torch.tanh(told).mean()
            return (changed, torch.tanh(told)) if gives_both else changed

    x, told = torch.randn(3, 8), torch.randn(5, 4)
    for gives_both, kept in ((False, x.nbytes), (True, x.nbytes + 2 * told.nbytes)):
        checkpoints = Checkpoints([block := Told()])
        checkpoints.measuring = True
        with checkpoints.around(nullcontext), torch.no_grad():
            block(x, told, gives_both=gives_both)
        assert checkpoints.costs[0].kept == kept
    checkpoints = Checkpoints([block := nn.Sequential(nn.Tanh(), nn.Flatten(0))])  # gives no shape that came in
    checkpoints.measuring = True
    with checkpoints.around(nullcontext), torch.no_grad():
        block(x)
    assert checkpoints.costs[0].kept == x.nbytes


def test_work_ends_where_backward_has_all_it_needs() -> None:
    """Of ``second(tanh(first(x)))``, that is before ``second``: it gives what comes after the block."""

    class Two(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 100))
            self.requires_grad_(False)

    convolution = nn.Sequential(nn.SiLU(), nn.Conv1d(8, 9, 1).requires_grad_(False))
    for block, shape, flop in ((Two(), (3, 8), 2 * 3 * 8 * 4), (convolution, (3, 8, 5), 0)):
        checkpoints = Checkpoints([block])
        checkpoints.measuring = True
        with checkpoints.around(nullcontext), torch.no_grad():
            block(torch.randn(shape))
        assert checkpoints.costs[0].flop == flop


def test_what_frees_most_for_its_work_runs_again_first() -> None:
    costs = [Cost(1000, 100, 10**6), Cost(800, 100, 10**3), Cost(500, 100, 0)]
    assert plan(costs, 2300) == set()
    assert plan(costs, needed(costs, {1, 2})) == {1, 2}
    assert plan(costs, needed(costs, {0, 1}) - 1) == {0, 1, 2}


def test_none_runs_again_that_others_have_made_needless() -> None:
    """The first by what it is worth frees too little; with the large ones, which free enough, it need not run again."""
    costs = [Cost(100, 30, 10), Cost(10**6, 10, 10**9), Cost(10**6, 10, 10**9)]
    assert costs[0].worth() > costs[1].worth()
    free = needed(costs, {1, 2})
    assert needed(costs, {0, 1}) > free and plan(costs, free) == {1, 2}


def test_as_few_blocks_as_fit_and_the_greediest_first() -> None:
    costs = [Cost(100, 10), Cost(400, 20), Cost(300, 10)]
    assert needed(costs, set()) == 800
    assert needed(costs, {1}) == 100 + 300 + 20 + 400
    assert plan(costs, 800) == set()
    assert needed(costs, {1, 2}) == 100 + 30 + 400
    assert plan(costs, 799) == {1, 2}  # {1} alone needs 820, more than none
    assert plan(costs, 530) == {1, 2}
    assert plan(costs, 1) == {0, 1, 2}


@pytest.mark.parametrize(("choice", "expected"), [("none", set()), ("all", {0, 1}), ("automatic", {0, 1})])
def test_by_hand(choice: str, expected: set[int]) -> None:
    checkpoints = Checkpoints([nn.Identity(), nn.Identity()])
    checkpoints.costs = {0: Cost(50, 10), 1: Cost(50, 10)}
    assert checkpoints.choose(choice, free=75) == needed([Cost(50, 10)] * 2, expected)
    assert checkpoints.again == expected
