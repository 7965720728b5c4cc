from __future__ import annotations

import pytest
import torch
from torch import nn

from motion_embedding.backbones import Call, find_backbone
from motion_embedding.backbones.base import add_position_major
from motion_embedding.errors import InputError


def test_unet3d_names_every_temporal_attention(small) -> None:
    layers = [a.layer for a in small.attentions if a.name == "attn1"]
    assert layers[0] == "transformer_in.transformer_blocks.0"
    assert "mid_block.temp_attentions.0.transformer_blocks.0" in layers
    assert sum(layer.startswith("down_blocks") for layer in layers) == 2
    assert sum(layer.startswith("up_blocks") for layer in layers) == 4
    assert len(small.attentions) == 2 * len(set(layers))


def test_names_do_not_depend_on_wrapping(small) -> None:
    class Host(nn.Module):
        def __init__(self, unet: nn.Module) -> None:
            super().__init__()
            self.inner = nn.ModuleDict({"unet": unet})

    _, wrapped = find_backbone(Host(small.unet))
    assert [a.layer for a in wrapped] == [a.layer for a in small.attentions]


def test_presets(small) -> None:
    names = {k: {a.layer for a in small.backbone.select(small.attentions, k)} for k in small.backbone.presets}
    assert names["all"] - names["recommended"] == {"transformer_in.transformer_blocks.0"}
    assert {n.split(".temp")[0] for n in names["paper"]} == {"down_blocks.1", "up_blocks.0"}
    chosen = small.backbone.select(small.attentions, "up_blocks.1.*, mid_block*")
    assert {a.layer.split(".")[0] for a in chosen} == {"up_blocks", "mid_block"}


def test_pattern_that_matches_nothing_lists_the_layers(small) -> None:
    with pytest.raises(InputError, match=r"'decoder\.\*' matches no temporal layer.*mid_block"):
        small.backbone.select(small.attentions, "decoder.*")


def test_model_of_no_family_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"^model: Linear has no temporal attention.*unet3d"):
        find_backbone(nn.Linear(2, 2))


def test_image_latent_is_refused_with_the_mend(small) -> None:
    with pytest.raises(InputError, match=r"image latent.*EmptyVideoLatent"):
        small.backbone.call(torch.zeros(1, 4, 8, 8), (0,))


@pytest.mark.parametrize(("size", "grids"), [((40, 72), [(40, 72), (20, 36), (10, 18), (5, 9)]), ((13, 7), [(7, 4)])])
def test_grid_is_read_off_the_activation(small, size, grids) -> None:
    call = Call(frames=3, height=size[0], width=size[1], groups=(0, 1), batch=4)
    for grid in grids:
        assert small.backbone.grid(torch.zeros(4 * grid[0] * grid[1], 3, 2), call) == grid


def test_add_position_major_by_hand() -> None:
    x = torch.zeros(2 * 2 * 3, 1, 1)  # two groups of two clips, three positions
    addition = torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]).view(2, 3, 1, 1)
    assert add_position_major(x, addition, 2).flatten().tolist() == [1, 2, 3, 1, 2, 3, 10, 20, 30, 10, 20, 30]
    assert add_position_major(x, addition[:1], 2).flatten().tolist() == [1, 2, 3] * 4
    assert add_position_major(x, addition[:1, :1], 2).flatten().tolist() == [1] * 12
    assert add_position_major(x, addition[:, :1], 2).flatten().tolist() == [1] * 6 + [10] * 6
