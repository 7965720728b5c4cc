"""Factors of values against torch's own singular value decomposition and numbers set by hand."""

from __future__ import annotations

import pytest
import torch

from motion_embedding.low_rank import Factors, factorise, from_bytes, relative_error, to_bytes


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def strengths_of(values: torch.Tensor) -> torch.Tensor:
    return torch.linalg.svdvals(values.flatten(0, 2))


def test_the_error_by_hand() -> None:
    assert relative_error(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 1.0])) == pytest.approx(0.6)
    assert relative_error(torch.zeros(2), torch.zeros(2)) == 0


@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (2, 2, 3, 40)], ids=["tall", "wide"])
def test_full_rank_is_exact(shape) -> None:
    values = random(*shape).double()
    factors = factorise(values)
    assert factors.rank == len(strengths_of(values))
    assert torch.allclose(factors.values(), values, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (2, 2, 3, 40)], ids=["tall", "wide"])
def test_each_rank_is_as_far_as_the_strengths_it_leaves_out(shape) -> None:
    values = random(*shape).double()
    strengths = strengths_of(values)
    for rank in (1, 2, 3):
        factors = factorise(values, rank=rank)
        assert factors.rank == rank
        expected = float((strengths[rank:].square().sum() / strengths.square().sum()).sqrt())
        assert relative_error(values, factors.values()) == pytest.approx(expected, rel=1e-9)


def test_the_smallest_rank_within_the_error() -> None:
    values = random(4, 3, 5, 6).double()
    for error in (0.1, 0.3, 0.6):
        factors = factorise(values, error)
        assert relative_error(values, factors.values()) <= error
        assert relative_error(values, factorise(values, rank=factors.rank - 1).values()) > error


def test_nothing_needs_one_direction() -> None:
    factors = factorise(torch.zeros(2, 2, 3, 4), 0.5)
    assert factors.rank == 1
    assert not factors.values().any()


def test_eight_bits_are_off_by_half_a_step_at_most() -> None:
    factors = factorise(random(4, 3, 5, 6), rank=3)
    positions, channels, scales = to_bytes(factors)
    assert positions.dtype == channels.dtype == torch.int8
    for coded, exact in ((positions.movedim(-1, 0), factors.positions.movedim(-1, 0)), (channels, factors.channels)):
        for code, row in zip(coded, exact, strict=True):
            assert (code.float() / 127 * row.abs().max() - row).abs().max() <= row.abs().max() / 254 * 1.001
    assert relative_error(factors.values(), from_bytes(positions, channels, scales).values()) < 0.01


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_four_bits_share_bytes_and_come_back(rank) -> None:
    """Whole numbers up to 7, one of them 7, are their own rounding: nothing may be lost, whatever the rank."""
    generator = torch.Generator().manual_seed(rank)
    positions = torch.randint(-7, 8, (2, 3, 4, rank), generator=generator).float()
    channels = torch.randint(-7, 8, (rank, 5), generator=generator).float()
    positions[0, 0, 0], channels[:, 0] = 7, -7
    low, high, scales = to_bytes(Factors(positions, channels), bits=4)
    assert low.dtype == high.dtype == torch.uint8
    assert (low.shape, high.shape) == ((2, 3, 4, (rank + 1) // 2), ((rank + 1) // 2, 5))
    assert torch.allclose(scales, torch.ones(rank))
    factors = from_bytes(low, high, scales)
    assert torch.equal(factors.values(), torch.tensordot(positions, channels, 1))


def test_four_bits_cost_an_eighth_of_normal_numbers() -> None:
    factors = factorise(random(8, 8, 8, 64), rank=8)
    assert 0.1 < relative_error(factors.values(), from_bytes(*to_bytes(factors, 4)).values()) < 0.2


@pytest.mark.parametrize("bits", [4, 8])
def test_a_direction_of_nothing_comes_back_as_nothing(bits) -> None:
    factors = Factors(torch.zeros(2, 2, 3, 1), torch.zeros(1, 4))
    assert torch.equal(from_bytes(*to_bytes(factors, bits)).values(), torch.zeros(2, 2, 3, 4))
