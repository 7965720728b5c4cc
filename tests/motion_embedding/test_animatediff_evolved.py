"""What of AnimateDiff-Evolved's modules in a UNet mixes frames, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from motion_embedding.backbones.animatediff import AnimateDiff
from motion_embedding.backbones.base import Call
from motion_embedding.errors import InputError
from tests import animatediff_evolved as ade
from tests import small_sd15
from tests.animatediff_evolved import VanillaTemporalModule


@pytest.fixture
def blocks(comfy: Path) -> nn.Module:
    """A UNet with the modules of a version 3 in its blocks."""
    patcher = small_sd15.model()
    ade.AnimateDiffModel(small_sd15.motion_model("v3")).inject(patcher)
    return patcher.model.diffusion_model


def test_a_module_without_transformer_blocks_is_not_counted(blocks: nn.Module) -> None:
    """AnimateLCM-I2V's hold no more than features of a picture; the next in the block keeps the plain name."""
    before = [(a.layer, a.name) for a in AnimateDiff().attentions(blocks)]
    empty = VanillaTemporalModule(small_sd15.motion_model().down_blocks[0].motion_modules[0])
    empty.temporal_transformer = nn.Identity()
    blocks.input_blocks[1].insert(2, empty)
    assert [(a.layer, a.name) for a in AnimateDiff().attentions(blocks)] == before


def test_an_attention_to_the_prompt_is_none_to_other_frames(blocks: nn.Module) -> None:
    before = AnimateDiff().attentions(blocks)
    module = next(m for m in blocks.input_blocks[1] if isinstance(m, VanillaTemporalModule))
    module.temporal_transformer.transformer_blocks[0].attention_blocks[1].is_cross_attention = True
    left = [(a.layer, a.name) for a in AnimateDiff().attentions(blocks)]
    assert left == [(a.layer, a.name) for a in before if a is not before[1]]


def test_a_part_of_the_clip_without_a_number_is_refused(blocks: nn.Module) -> None:
    call = Call(6, 2, 2)
    with pytest.raises(InputError, match="view options"):
        AnimateDiff().add(torch.zeros(4, 3, 8), torch.zeros(1, 1, 6, 8), call)
