"""What a training is expected to need, before the model is loaded."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from motion_embedding import memory
from motion_embedding.backbones import Call, TemporalAttention
from motion_embedding.backbones.unet3d import UNet3D
from motion_embedding.backbones.wan import Wan
from motion_embedding.trainable import TrainableMotion


def sites(width: int, count: int) -> list[TemporalAttention]:
    with torch.device("meta"):
        return [TemporalAttention(f"blocks.{i}", "self_attn", *[nn.Linear(width, 1)] * 3) for i in range(count)]


def test_wan_14b_is_expected_to_need_what_was_measured_on_paper() -> None:
    """832x480x49 in bfloat16, 20 layers, 30 blocks in the graph: 12.3 and 3.1 GB."""
    call = Call(frames=13, height=60, width=104)
    expected = memory.expected(Wan(), call, sites(5120, 20), 30, 2)
    values = 20 * 13 * 5120 * (9 * 16 + 1)
    assert expected == 13 * 30 * 52 * 5120 * 2 * (30 + 32) + 16 * values
    assert abs(expected - 15.4e9) < 1e9


def test_a_low_rank_motion_is_expected_to_need_its_factors_alone() -> None:
    """The same clip, values on a grid of 9 x 16: 20 layers of 8 positions' and channels' factors."""
    call = Call(frames=13, height=60, width=104)
    model = 13 * 30 * 52 * 5120 * 2 * (30 + 32)
    expected = memory.expected(Wan(), call, sites(5120, 20), 30, 2, "low rank 8")
    assert expected == model + 16 * 20 * (8 * (9 * 16 * 13 + 5120) + 13 * 5120)


@pytest.mark.parametrize("value_form", ["full", "mean", "linear", "quadratic", "low rank 4", "low rank 16"])
@pytest.mark.parametrize("grid", [(1, 2), (2, 3), (4, 5)])
def test_counted_is_what_is_learnt(value_form: str, grid: tuple[int, int]) -> None:
    [site] = sites(12, 1)
    trainable = TrainableMotion([site], value_form)
    trainable.addition(site, "value", grid, Call(frames=3, height=8, width=8))
    trainable.allocate(torch.device("cpu"))
    made = sum(parameter.numel() for parameter in trainable.parameters())
    assert made == 3 * 12 + memory.learnt_values(value_form, grid, 3, 12)


def test_a_unet_has_to_run_to_be_known() -> None:
    assert memory.expected(UNet3D(), Call(frames=8, height=8, width=8), sites(8, 1), 3, 2) is None


def test_only_blocks_from_the_first_that_learns_on_count() -> None:
    blocks = [nn.Sequential(nn.Linear(2, 2)) for _ in range(4)]
    chosen = [TemporalAttention("b", "a", *[blocks[2][0]] * 3)]
    assert memory.learning(blocks, chosen) == blocks[2:]


def test_both_sizes_are_said() -> None:
    from motion_embedding.checkpointing import Checkpoints

    checkpoints = Checkpoints([nn.Identity()] * 3)
    checkpoints.again = {0, 2}
    said = memory.needs(int(1.5e9), int(12.4e9), checkpoints, int(24e9))
    assert said == (
        "Training needs about 14 GB beside the model: 1.50 GB for the motion, 12 GB for what backward needs "
        "(2 of 3 blocks run again). 24 GB are free."
    )
