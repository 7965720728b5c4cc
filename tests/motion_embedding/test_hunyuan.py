"""How HunyuanVideo's tokens lie, by the sizes that are sampled."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from motion_embedding.backbones import Call
from motion_embedding.backbones.hunyuan import HunyuanVideo, HunyuanVideo15

VERSIONS = pytest.mark.parametrize(
    ("backbone", "size", "tokens", "grid"),
    [
        (HunyuanVideo(), (90, 160), (45, 80), (9, 16)),  # 720 x 1280 pixels
        (HunyuanVideo(), (7, 5), (4, 3), (4, 3)),
        (HunyuanVideo15(), (45, 80), (45, 80), (9, 16)),
        (HunyuanVideo15(), (7, 5), (7, 5), (7, 5)),
    ],
)


@VERSIONS
def test_tokens_and_the_grid_of_values(backbone, size, tokens, grid) -> None:
    call = Call(33, *size)
    assert backbone.tokens(call) == tokens
    assert backbone.grid(torch.empty(1, 1, 1), call) == grid


@VERSIONS
@pytest.mark.parametrize("frames", [1, 2])
def test_a_reference_comes_first_whatever_its_size(backbone, size, tokens, grid, frames) -> None:
    call = Call(33, 8, 6)
    reference = torch.empty(1, 16, frames, *size)
    extended = backbone.extended(call, SimpleNamespace(), {"ref_latent": reference})
    assert extended.leading == frames * tokens[0] * tokens[1]
    assert (extended.frames, extended.height, extended.width) == (33, 8, 6)
    assert backbone.extended(call, SimpleNamespace(), {"guiding_frame_index": 0}) == call
