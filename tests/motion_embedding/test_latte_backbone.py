"""Latte's temporal attentions, and what a motion adds to them, on diffusers' own class."""

from __future__ import annotations

import pytest
import torch
from diffusers import LatteTransformer3DModel
from torch import nn

from motion_embedding.applied import Applied
from motion_embedding.backbones import Call, find_backbone
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from motion_embedding.install import Installation
from tests.tiny_latte import FRAMES, TEXT_WIDTH, TRANSFORMER

WIDTH = 16
LAYERS = ["temporal_transformer_blocks.0", "temporal_transformer_blocks.1"]


@pytest.fixture(scope="module")
def latte() -> LatteTransformer3DModel:
    torch.manual_seed(0)
    return LatteTransformer3DModel(**TRANSFORMER).eval().requires_grad_(False)


def run(latte: nn.Module, height: int, width: int) -> torch.Tensor:
    """Two clips, one for each prompt of the guidance."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, FRAMES, height, width, generator=generator)
    return latte(x, torch.tensor([500, 500]), torch.randn(2, 3, TEXT_WIDTH, generator=generator)).sample


def motion(rows: int, columns: int, scale: float = 0.5) -> MotionEmbedding:
    generator = torch.Generator().manual_seed(2)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, FRAMES, WIDTH, generator=generator) * scale

    layers = {name: LayerEmbedding(draw(), {"attn1": draw(rows, columns)}) for name in LAYERS}
    return MotionEmbedding(layers, "latte", FRAMES, 2 * rows, 2 * columns)


def test_layers_and_presets(latte) -> None:
    backbone, attentions = find_backbone(latte)
    assert backbone.family == "latte"
    assert [(a.layer, a.name, a.width) for a in attentions] == [(layer, "attn1", WIDTH) for layer in LAYERS]
    assert [a.query for a in attentions] == [b.attn1.to_q for b in latte.temporal_transformer_blocks]
    for preset in ("paper", "paper + next level", "paper + next level + mid", "recommended", "all"):
        assert backbone.select(attentions, preset) == attentions, "no block is wider than the others"


def test_the_published_layout() -> None:
    """Latte-1's config. Values of a 512x512 clip lie on 16 x 16 positions, not on its 32 x 32 tokens."""
    size = {"num_attention_heads": 16, "attention_head_dim": 72, "num_layers": 28, "cross_attention_dim": 1152}
    text = {"caption_channels": 4096, "sample_size": 64, "video_length": 16}
    with torch.device("meta"):
        published = LatteTransformer3DModel(**{**TRANSFORMER, **size, **text})
    backbone, attentions = find_backbone(published)
    chosen = backbone.select(attentions, "recommended")
    assert [a.layer for a in chosen] == [f"temporal_transformer_blocks.{i}" for i in range(28)]
    assert {a.width for a in chosen} == {1152}
    seen = torch.empty(2 * 32 * 32, 16, 1152, device="meta")
    assert backbone.grid(seen, Call(frames=16, height=64, width=64, groups=(0, 1), batch=2)) == (16, 16)


def test_names_do_not_depend_on_wrapping(latte) -> None:
    host = nn.Module()
    host.inner = torch.compile(latte)
    assert [a.layer for a in find_backbone(host)[1]] == LAYERS


def test_blocks_are_in_the_order_in_which_they_run(latte) -> None:
    order, hooks = [], []
    blocks = find_backbone(latte)[0].blocks(latte)
    for block in [*latte.transformer_blocks, *latte.temporal_transformer_blocks]:
        hooks.append(block.register_forward_hook(lambda module, *_: order.append(module)))
    run(latte, 8, 8)
    for hook in hooks:
        hook.remove()
    assert blocks == order and len(blocks) == 4


def test_spatial_layers_are_those_of_the_blocks_that_see_one_frame(latte) -> None:
    spatial = find_backbone(latte)[0].spatial_linears(latte)
    assert spatial == [m for m in latte.transformer_blocks.modules() if isinstance(m, nn.Linear)]
    assert len(spatial) == 2 * 10  # of each block: self-attention 4, attention to the text 4, feed-forward 2


@pytest.mark.parametrize(("size", "grid"), [((8, 6), (4, 3)), ((7, 5), (4, 3)), ((64, 48), (16, 12))])
def test_values_lie_on_the_tokens_grid_up_to_a_limit(latte, size, grid) -> None:
    backbone, _ = find_backbone(latte)
    tokens = -(-size[0] // 2) * -(-size[1] // 2)
    call = Call(FRAMES, *size, groups=(0, 1), batch=2)
    assert backbone.grid(torch.zeros(2 * tokens, FRAMES, 1), call) == grid


def test_an_addition_by_hand(latte) -> None:
    """Two groups of one clip, tokens 1 x 2, two frames; then values on a capped grid, brought to 17 x 1 tokens."""
    backbone, _ = find_backbone(latte)
    call = Call(frames=2, height=2, width=4, groups=(0, 1), batch=2)
    values = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[10.0, 20.0], [30.0, 40.0]]]).unsqueeze(-1)  # G, P, F, C
    out = backbone.add(torch.zeros(4, 2, 1), values, call)
    assert out.squeeze(-1).tolist() == [[1, 2], [3, 4], [10, 20], [30, 40]]
    rows = backbone.add(torch.zeros(4, 2, 1), values[:1, :1], call)
    assert rows.squeeze(-1).tolist() == [[1, 2]] * 4
    ramp = torch.arange(16.0).view(1, 16, 1, 1).expand(-1, -1, 2, -1)
    out = backbone.add(torch.zeros(17, 2, 1), ramp, Call(frames=2, height=34, width=2))
    places = ((torch.arange(17) + 0.5) * 16 / 17 - 0.5).clamp(0, 15)
    torch.testing.assert_close(out[:, 0, 0], places)
    assert torch.equal(out[:, 0], out[:, 1])


def test_an_empty_motion_changes_nothing_and_nothing_stays(latte) -> None:
    backbone, _ = find_backbone(latte)
    plain = run(latte, 8, 6)
    call = backbone.call(torch.zeros(2, 4, FRAMES, 8, 6), (0, 1))
    with torch.no_grad(), Installation(latte, [Applied(motion(4, 3, scale=0.0))], call):
        assert torch.equal(run(latte, 8, 6), plain)
    with torch.no_grad(), Installation(latte, [Applied(motion(4, 3))], call):
        assert not torch.allclose(run(latte, 8, 6), plain, atol=1e-2)
    assert torch.equal(run(latte, 8, 6), plain)
    assert not [n for n, m in latte.named_modules() if "forward" in m.__dict__]


def test_a_motion_does_what_its_equations_say(latte) -> None:
    """Against attention written out: scores and values from inputs with the rows on them, both clips alike."""
    backbone, _ = find_backbone(latte)
    learnt = motion(4, 3)
    call = backbone.call(torch.zeros(2, 4, FRAMES, 8, 6), (0, 1))
    with Installation(latte, [Applied(learnt)], call):
        ours = run(latte, 8, 6)
    hooks = []
    for block, layer in zip(latte.temporal_transformer_blocks, learnt.layers.values(), strict=True):

        def attend(attention: nn.Module, inputs: tuple, output: torch.Tensor, layer=layer) -> torch.Tensor:
            frames = inputs[0].unflatten(0, (2, 12))  # clips, tokens, F, C
            rows, own = layer.query_key, layer.value["attn1"].flatten(0, 1)
            heads = [
                projection(x).unflatten(-1, (2, 8)).transpose(-2, -3)
                for projection, x in (
                    (attention.to_q, frames + rows),
                    (attention.to_k, frames + rows),
                    (attention.to_v, frames + own),
                )
            ]
            scores = (heads[0] @ heads[1].mT / 8**0.5).softmax(-1)
            return attention.to_out[0]((scores @ heads[2]).transpose(-2, -3).flatten(-2)).flatten(0, 1)

        hooks.append(block.attn1.register_forward_hook(attend))
    expected = run(latte, 8, 6)
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
