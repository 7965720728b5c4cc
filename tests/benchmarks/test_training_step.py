"""What the training step is measured against takes the same step, and what is said of sizes is what the numbers say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.plain_step import Plain
from benchmarks.step_networks import small
from benchmarks.step_on_paper import put
from benchmarks.training_step import Ours, exponent

pytestmark = pytest.mark.host


@pytest.mark.parametrize("again", [False, True])
def test_the_plain_step_learns_what_ours_does(comfy, again: bool) -> None:
    """Rates of Adam turn rounding of small gradients into steps of their own, so plain descent is compared."""
    torch.manual_seed(0)
    net = small(torch.device("cpu"), torch.float32, 4, 8, 8)
    ours = Ours(net, "recommended", "all" if again else "none")
    plain = Plain(net, "recommended", again, lambda: ours.prompt)
    ours.optimiser = torch.optim.SGD(ours.trainable.parameters(), 1.0)
    plain.optimiser = torch.optim.SGD([*plain.rows.values(), *plain.values.values()], 1.0)
    losses = []
    for step in (ours.step, plain.step):
        torch.manual_seed(1)
        losses.append(step())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for layer, row in plain.rows.items():
        assert row.abs().max() > 0
        torch.testing.assert_close(ours.trainable.query_key[layer], row[0], rtol=1e-3, atol=1e-9)
    for (layer, name), value in ours.trainable.value.items():
        torch.testing.assert_close(value.flatten(0, 1), plain.values[layer + name], rtol=1e-3, atol=1e-9)


def test_growth_is_the_slope_between_logarithms() -> None:
    assert exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


def test_a_part_of_the_page_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    put(page, "one", "1\n")
    put(page, "two", "2\n")
    put(page, "one", "3\n")
    assert page.read_text() == "## one\n\n3\n\n## two\n\n2\n"
