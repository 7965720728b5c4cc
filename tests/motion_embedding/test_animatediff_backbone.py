"""AnimateDiff's temporal attentions: ours beside the UNet, AnimateDiff-Evolved's in its blocks, by the same names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from motion_embedding.applied import Applied
from motion_embedding.backbones import becoming, find_backbone
from motion_embedding.backbones.animatediff import AnimateDiff
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from motion_embedding.errors import InputError
from motion_embedding.install import Installation
from motion_embedding.motion_module import MotionModel
from motion_embedding.motion_module_install import attached, places
from tests.small_sd15 import LAYERS, TEXT, model, motion_model

pytestmark = pytest.mark.host


class InBlock(nn.Module):
    """What AnimateDiff-Evolved puts into a block: known by its attributes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.temporal_transformer = module.temporal_transformer


@pytest.fixture
def unet(comfy: Path) -> nn.Module:
    return model().model.diffusion_model.requires_grad_(False)


def insert(unet: nn.Module, motion: MotionModel) -> None:
    """Into the blocks, as AnimateDiff-Evolved does it: right behind what the module follows."""
    blocks = [*unet.input_blocks, unet.middle_block, *unet.output_blocks]
    for layer, module in places(unet, motion):
        block = next(block for block in blocks if layer in list(block))
        block.insert(list(block).index(layer) + 1, InBlock(module))


def names(attentions: list) -> list[tuple[str, str]]:
    return [(a.layer, a.name) for a in attentions]


BOTH = [(layer, f"attention_blocks.{i}") for layer in LAYERS for i in range(2)]


def test_both_kinds_have_the_names_of_the_published_files_in_order_of_use(unet: nn.Module) -> None:
    motion = motion_model("v2")
    backbone, ours = find_backbone(unet, beside=(motion,))
    assert backbone.family == "animatediff"
    assert names(ours) == BOTH
    insert(unet, motion)
    _, evolved = find_backbone(unet)
    assert names(evolved) == BOTH
    for a, b in zip(ours, evolved, strict=True):
        assert (a.query, a.key, a.value) == (b.query, b.key, b.value)
        assert a.query is motion.get_submodule(a.layer).attention_blocks[int(a.name[-1])].to_q


def test_without_a_middle(unet: nn.Module) -> None:
    _, attentions = find_backbone(unet, beside=(motion_model("v3"),))
    assert names(attentions) == [pair for pair in BOTH if not pair[0].startswith("mid_block")]


def test_the_second_of_stacked_models_has_a_prefix(unet: nn.Module) -> None:
    first, second = motion_model("v3"), motion_model("v2")
    insert(unet, second)
    insert(unet, first)  # right behind the layer, so it runs before the one that was there
    _, attentions = find_backbone(unet)
    found = {a.layer: a.query for a in attentions if a.name == "attention_blocks.0"}
    layer = LAYERS[0]
    assert found[layer] is first.get_submodule(layer).attention_blocks[0].to_q
    assert found[f"model2.{layer}"] is second.get_submodule(layer).attention_blocks[0].to_q
    middle = next(layer for layer in LAYERS if layer.startswith("mid_block"))
    assert found[middle] is second.get_submodule(middle).attention_blocks[0].to_q  # the only one there
    assert len(attentions) == 40 + 42


def test_other_numbers_of_blocks_a_level(comfy: Path) -> None:
    small = {"num_res_blocks": [1, 1], "channel_mult": [1, 2], "transformer_depth": [1, 0]}
    unet = model(**small, transformer_depth_output=[0, 0, 1, 1]).model.diffusion_model
    motion = MotionModel([32, 64], [64, 32], blocks_down=1, blocks_up=2, mid=True)
    _, beside = find_backbone(unet, beside=(motion,))
    insert(unet, motion)
    _, inside = find_backbone(unet)
    assert names(beside) == names(inside)
    assert {a.layer.split(".temporal")[0] for a in inside} == {
        "down_blocks.0.motion_modules.0",
        "down_blocks.1.motion_modules.0",
        "mid_block.motion_modules.0",
        "up_blocks.0.motion_modules.0",
        "up_blocks.0.motion_modules.1",
        "up_blocks.1.motion_modules.0",
        "up_blocks.1.motion_modules.1",
    }


def test_a_plain_unet_may_become_one(unet: nn.Module) -> None:
    assert isinstance(becoming(unet), AnimateDiff)
    with pytest.raises(InputError, match="no temporal attention"):
        find_backbone(unet)


@pytest.mark.parametrize(
    ("preset", "levels"),
    [
        ("paper", ["down_blocks.1", "down_blocks.2", "up_blocks.0", "up_blocks.1"]),
        ("paper + next level + mid", ["down_blocks.0", "mid_block", "up_blocks.2"]),
        ("recommended", ["down_blocks.0", "mid_block", "up_blocks.0", "up_blocks.2"]),
    ],
)
def test_presets(comfy: Path, preset: str, levels: list[str]) -> None:
    """``levels`` are among those chosen; all of the widest for the paper's, and nothing left out in all."""
    backbone = AnimateDiff()
    motion = MotionModel([32, 64, 64], [64, 64, 32], mid=True)
    attentions = backbone.attentions(model().model.diffusion_model, (motion,))
    chosen = {a.layer.split(".motion")[0] for a in backbone.select(attentions, preset)}
    assert chosen >= set(levels)
    assert (len(chosen) == len(levels)) == (preset == "paper")
    assert (len(backbone.select(attentions, preset)) == len(attentions)) == (preset != "paper")


def test_spatial_linears_are_those_of_the_unets_own_transformers(unet: nn.Module) -> None:
    insert(unet, motion_model("v2"))
    found = set(AnimateDiff().spatial_linears(unet))
    expected = {
        linear
        for name, linear in unet.named_modules()
        if isinstance(linear, nn.Linear) and ".transformer_blocks." in name and "temporal_transformer" not in name
    }
    assert found == expected
    assert len(found) == 16 * 10  # transformers, and attentions' four projections twice and a feed-forward's two


def test_the_projections_see_the_equations_of_the_paper(unet: nn.Module) -> None:
    """Position by position of two clips: ``Wq, Wk`` see ``n + m_qk[f]``, ``Wv`` sees ``n + m_v[y, x, f]``."""
    frames, height, width, motion = 3, 8, 6, motion_model("v3")
    backbone, attentions = find_backbone(unet, beside=(motion,))
    site = next(a for a in attentions if a.layer.startswith("up_blocks.3.motion_modules.2"))

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))

    x = noise(2 * frames, 4, height, width)
    query_key, value = noise(frames, 32), noise(height, width, frames, 32)
    embedding = MotionEmbedding(
        {site.layer: LayerEmbedding(query_key, {site.name: value})}, "animatediff", frames, height, width
    )
    call = backbone.call(x, (1, 0))
    assert (call.frames, call.batch) == (frames, 2)

    def inputs(sources: list) -> dict[str, torch.Tensor]:
        seen: dict[str, torch.Tensor] = {}
        for name, linear in (("query", site.query), ("key", site.key), ("value", site.value)):

            def spy(x: torch.Tensor, linear: nn.Module = linear, name: str = name) -> torch.Tensor:
                seen[name] = x.clone()
                return type(linear).forward(linear, x)

            linear.forward = spy
        with attached(unet, motion, frames), Installation(unet, sources, call, family=(backbone, attentions)):
            unet(x, torch.full((len(x),), 500.0), noise(len(x), 5, TEXT))
        for linear in (site.query, site.key, site.value):
            del linear.forward
        return seen

    before, after = inputs([]), inputs([Applied(embedding, 0.5, 2.0)])
    for b in range(2):
        for y in range(height):
            for z in range(width):
                row = (b * height + y) * width + z
                for f in range(frames):
                    for part in ("query", "key"):
                        expected = before[part][row, f] + 0.5 * query_key[f]
                        assert torch.allclose(after[part][row, f], expected, atol=1e-5)
                    expected = before["value"][row, f] + 2.0 * value[y, z, f]
                    assert torch.allclose(after["value"][row, f], expected, atol=1e-5)
