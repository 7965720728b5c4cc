from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from diffusers import UNet3DConditionModel
from torch import nn

from motion_embedding.backbones import BACKBONES, Call, find_backbone, title_of
from motion_embedding.backbones.base import add_position_major
from motion_embedding.backbones.unet3d import level_of
from motion_embedding.errors import InputError
from motion_embedding.install import Installation


def test_unet3d_names_every_temporal_attention(small) -> None:
    layers = [a.layer for a in small.attentions if a.name == "attn1"]
    assert layers[0] == "transformer_in.transformer_blocks.0"
    assert "mid_block.temp_attentions.0.transformer_blocks.0" in layers
    assert sum(layer.startswith("down_blocks") for layer in layers) == 2
    assert sum(layer.startswith("up_blocks") for layer in layers) == 4
    assert len(small.attentions) == 2 * len(set(layers))


def test_the_editor_calls_the_families_as_messages_do() -> None:
    text = (Path(__file__).parents[2] / "js" / "motion_words.js").read_text("utf-8")
    table = re.search(r"const FAMILIES = \{(.*?)\};", text, re.S)[1]
    assert dict(re.findall(r'(\w+): "(.*?)"', table)) == {one.family: one.title for one in BACKBONES}
    assert title_of("wan") == "Wan" and title_of("one to come") == "one to come"


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


LEVELS = {
    1280: [
        "down_blocks.2.temp_attentions.0",
        "down_blocks.2.temp_attentions.1",
        "up_blocks.1.temp_attentions.0",
        "up_blocks.1.temp_attentions.1",
        "up_blocks.1.temp_attentions.2",
    ],
    640: [
        "down_blocks.1.temp_attentions.0",
        "down_blocks.1.temp_attentions.1",
        "up_blocks.2.temp_attentions.0",
        "up_blocks.2.temp_attentions.1",
        "up_blocks.2.temp_attentions.2",
    ],
    320: [
        "down_blocks.0.temp_attentions.0",
        "down_blocks.0.temp_attentions.1",
        "up_blocks.3.temp_attentions.0",
        "up_blocks.3.temp_attentions.1",
        "up_blocks.3.temp_attentions.2",
    ],
}
MID = ["mid_block.temp_attentions.0"]


@pytest.mark.parametrize(
    ("preset", "names"),
    [
        ("paper", LEVELS[1280]),
        ("paper + next level", LEVELS[1280] + LEVELS[640]),
        ("paper + next level + mid", LEVELS[1280] + LEVELS[640] + MID),
        ("recommended", LEVELS[1280] + LEVELS[640] + MID + LEVELS[320]),
        ("all", LEVELS[1280] + LEVELS[640] + MID + LEVELS[320] + ["transformer_in"]),
    ],
)
def test_presets_on_the_layout_of_zeroscope(zeroscope, preset, names) -> None:
    backbone, attentions = find_backbone(zeroscope)
    chosen = [(a.layer, a.name) for a in backbone.select(attentions, preset)]
    expected = [(f"{name}.transformer_blocks.0", attention) for name in names for attention in ("attn1", "attn2")]
    assert sorted(chosen) == sorted(expected)


def test_presets_only_grow(zeroscope) -> None:
    backbone, attentions = find_backbone(zeroscope)
    sizes = [len(backbone.select(attentions, preset)) for preset in backbone.presets]
    assert sizes == sorted(set(sizes))


class GridsSeen:
    """A source that adds nothing and notes the grid of every attention."""

    settled = False
    whole = False

    def __init__(self) -> None:
        self.grids: dict[str, tuple[int, int]] = {}

    def addition(self, site, projection, grid, call, device=None) -> None:
        self.grids[f"{site.layer.split('.temp')[0]} {site.name}"] = grid


def test_odd_sizes_at_every_level_and_in_the_middle() -> None:
    torch.manual_seed(0)
    unet = UNet3DConditionModel(
        down_block_types=("CrossAttnDownBlock3D",) * 4,
        up_block_types=("CrossAttnUpBlock3D",) * 4,
        block_out_channels=(4, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=8,
        attention_head_dim=4,
    ).eval()
    backbone, attentions = find_backbone(unet)
    x, seen = torch.randn(2, 4, 2, 21, 13), GridsSeen()
    with torch.no_grad(), Installation(unet, [seen], backbone.call(x, (0, 1))):
        unet(x, 500, torch.randn(2, 3, 8))
    levels = [(21, 13), (11, 7), (6, 4), (3, 2)]
    expected = {"transformer_in.transformer_blocks.0": levels[0], "mid_block": levels[3]}
    expected |= {f"down_blocks.{i}": grid for i, grid in enumerate(levels)}
    expected |= {f"up_blocks.{i}": grid for i, grid in enumerate(reversed(levels))}
    assert seen.grids == {f"{place} {name}": grid for place, grid in expected.items() for name in ("attn1", "attn2")}
    assert len(attentions) == len({a.layer for a in attentions}) * 2


def test_positions_that_fit_no_level_are_refused(small) -> None:
    with pytest.raises(ValueError, match="7 positions fit no level of a 8x6 latent"):
        small.backbone.grid(torch.zeros(7, 3, 2), Call(frames=3, height=8, width=6))


@pytest.mark.parametrize(
    ("layer", "level"),
    [("transformer_in.transformer_blocks.0", 0), ("mid_block.x", 3), ("down_blocks.2.x", 2), ("up_blocks.1.x", 2)],
)
def test_level_of_a_layer_by_its_name(layer, level) -> None:
    assert level_of(layer, 4) == level


def test_pattern_that_matches_nothing_lists_the_layers(small) -> None:
    with pytest.raises(InputError, match=r"'decoder\.\*' matches no temporal layer.*mid_block"):
        small.backbone.select(small.attentions, "decoder.*")


def test_model_of_no_family_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"^model: Linear has no temporal attention.*ModelScope, ZeroScope"):
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


def test_spatial_layers_are_those_of_the_attentions_that_see_one_frame(small) -> None:
    names = {module: name for name, module in small.unet.named_modules()}
    spatial = [names[linear] for linear in small.backbone.spatial_linears(small.unet)]
    assert {"down_blocks.0.attentions.0.proj_in", "mid_block.attentions.0.transformer_blocks.0.attn2.to_v"} <= {
        *spatial
    }
    blocks = [m for n, m in small.unet.named_modules() if type(m).__name__ == "Transformer2DModel"]
    assert len(spatial) == sum(isinstance(m, nn.Linear) for block in blocks for m in block.modules())
    assert small.backbone.spatial_linears(nn.Linear(2, 2)) == []
