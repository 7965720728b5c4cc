from __future__ import annotations

import pytest
import torch

from motion_embedding.debias import VALUE_STRATEGIES, Debias

ROWS = torch.tensor([[1.0, 10.0], [3.0, 10.0], [8.0, 4.0]])
EXPECTED = {
    "plain": [[1, 10], [3, 10], [8, 4]],
    "difference": [[1, 10], [2, 0], [5, -6]],
    "difference_without_first": [[0, 0], [2, 0], [5, -6]],
    "without_mean": [[-3, 2], [-1, 2], [4, -4]],
    "camera": [[0, 0], [0, 0], [0, 0]],
}


@pytest.mark.parametrize("name", VALUE_STRATEGIES)
def test_strategy_on_rows_worked_out_by_hand(name: str) -> None:
    expected = torch.tensor(EXPECTED[name], dtype=torch.float32)
    assert torch.equal(VALUE_STRATEGIES[name](ROWS), expected)
    stacked = VALUE_STRATEGIES[name](torch.stack([ROWS, 2 * ROWS])[None])
    assert torch.equal(stacked, torch.stack([expected, 2 * expected])[None])


def test_unknown_strategy_is_refused() -> None:
    with pytest.raises(ValueError, match="sharpen"):
        Debias("sharpen")


def test_unknown_rescale_is_refused() -> None:
    with pytest.raises(ValueError, match="double"):
        Debias(rescale="double")


@pytest.mark.parametrize("until", [0.0, -0.1, 1.01])
def test_a_motion_acts_during_some_of_the_sampling(until: float) -> None:
    with pytest.raises(ValueError, match="until"):
        Debias(until=until)


def test_description_says_where_it_stops() -> None:
    assert Debias("difference", until=0.65).describe() == "debias difference, until 0.65"
    assert Debias("difference", rescale="total").describe() == "debias difference, rescaled by total"
    assert Debias().describe() == "debias plain"
