"""Families whose self-attention sees all tokens of a clip: where an addition goes, and what it leaves alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from motion_embedding.backbones import Call
from motion_embedding.backbones.base import TemporalAttention
from motion_embedding.backbones.joint import JointTokens, capped, frame_major
from motion_embedding.backbones.wan import Wan
from motion_embedding.install import Installation


class Joint(JointTokens):
    family, patch, presets = "joint", (2, 2), {}

    def attentions(self, model, beside=()):
        return model.sites


@pytest.mark.parametrize(
    ("grid", "expected"), [((8, 8), (8, 8)), ((30, 52), (9, 16)), ((52, 30), (16, 9)), ((16, 17), (15, 16))]
)
def test_values_lie_on_a_capped_grid_of_the_same_proportions(grid, expected) -> None:
    assert capped(grid) == expected


def test_rows_follow_the_frames_then_the_rows_of_the_picture() -> None:
    addition = torch.arange(2 * 6 * 3 * 5.0).view(2, 6, 3, 5)  # G, P of a 2x3 grid, F, C
    rows = frame_major(addition, (2, 3), (2, 3))
    for g in range(2):
        for f in range(3):
            for y in range(2):
                for x in range(3):
                    assert torch.equal(rows[g, (f * 2 + y) * 3 + x], addition[g, y * 3 + x, f])


def test_one_row_for_a_frame_reaches_all_its_tokens() -> None:
    rows = frame_major(torch.tensor([[[[1.0], [2.0]]]]), (1, 1), (2, 2))
    assert rows.flatten().tolist() == [1, 1, 1, 1, 2, 2, 2, 2]


def test_a_capped_grid_is_brought_to_the_tokens_bilinearly() -> None:
    addition = torch.tensor([0.0, 4.0]).view(1, 2, 1, 1)
    assert frame_major(addition, (1, 2), (1, 4)).flatten().tolist() == [0.0, 1.0, 3.0, 4.0]  # half-pixel centres


def test_tokens_that_are_not_the_clips_are_left_alone() -> None:
    call = Call(frames=2, height=4, width=4, groups=(0, 1), batch=4, leading=3)
    x = torch.zeros(4, 3 + 2 * 4 + 5, 1)
    addition = torch.tensor([[1.0, 2.0], [10.0, 20.0]]).view(2, 1, 2, 1)  # of the positive and of the negative
    out = Joint().add(x, addition, call)
    for batch, (first, second) in enumerate([(1, 2), (1, 2), (10, 20), (10, 20)]):
        assert out[batch].flatten().tolist() == [0] * 3 + [first] * 4 + [second] * 4 + [0] * 5
    assert not x.any()


def test_odd_latents_are_padded_up_to_the_patch() -> None:
    assert Joint().tokens(Call(frames=1, height=5, width=6)) == (3, 3)


class Adding:
    """Adds fixed rows."""

    settled, whole = True, False

    def __init__(self, **rows: torch.Tensor) -> None:
        self.rows = rows

    def addition(self, site, projection, grid, call, device=None):
        return self.rows.get(projection)


@pytest.mark.parametrize("prepared", [False, True])
def test_a_fused_projection_gives_what_three_with_their_own_inputs_would(prepared) -> None:
    """The reference slices the matrix; the module runs whole, with an input that cannot differ by part."""
    from motion_embedding.install import Prepared

    torch.manual_seed(0)
    fused = nn.Linear(4, 3 * 4 + 2, dtype=torch.float64)  # and two outputs that are none of the attention's
    parts = (slice(0, 8), slice(8, 12))
    site = TemporalAttention("blocks.0", "attn", fused, fused, fused, parts=parts)
    model = nn.Module()
    model.fused, model.sites = fused, [site]
    call = Call(frames=2, height=4, width=4, leading=1)
    x = torch.randn(1, 1 + 8 + 2, 4, dtype=torch.float64)
    query_key, value = (torch.randn(1, p, 2, 4, dtype=torch.float64) for p in (1, 4))
    on_tokens = torch.zeros(2, 1, 11, 4, dtype=torch.float64)
    for f in range(2):
        for p in range(4):
            on_tokens[0, 0, 1 + 4 * f + p] = query_key[0, 0, f]
            on_tokens[1, 0, 1 + 4 * f + p] = value[0, p, f]
    w, b = fused.weight, fused.bias
    expected = torch.cat(
        [(x + on_tokens[0]) @ w[:8].T + b[:8], (x + on_tokens[1]) @ w[8:12].T + b[8:12], x @ w[12:].T + b[12:]], -1
    )
    source, kept = Adding(query_key=query_key, value=value), Prepared()
    for _ in range(2 if prepared else 1):
        with Installation(model, [source], call, kept, (Joint(), [site])):
            torch.testing.assert_close(fused(x), expected, rtol=0, atol=1e-12)
    assert torch.equal(fused(x), x @ w.T + b) or torch.allclose(fused(x), x @ w.T + b)
    assert "forward" not in fused.__dict__


def test_a_wan_reference_picture_comes_first() -> None:
    call = Call(frames=3, height=8, width=6)
    picture = {"reference_latent": torch.zeros(1, 16, 8, 6)}
    with_reference, without = SimpleNamespace(ref_conv=nn.Identity()), SimpleNamespace(ref_conv=None)
    assert Wan().extended(call, with_reference, picture).leading == 4 * 3
    assert Wan().extended(call, with_reference, {}).leading == 0
    assert Wan().extended(call, without, picture).leading == 0  # appended, as Wan S2V and HuMo do
