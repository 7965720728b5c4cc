"""The motion modules against loops over clip, position, frame and head in float64, and the layout of their files."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import gelu, group_norm

from motion_embedding import motion_module
from motion_embedding.motion_module import MotionModel, MotionModule
from tests.small_sd15 import fill, motion_model

WIDTH, HEADS, FRAMES = 64, 4, 3
ONE_MODULE = {
    "norm.weight": (64,),
    "norm.bias": (64,),
    "proj_in.weight": (64, 64),
    "proj_in.bias": (64,),
    "transformer_blocks.0.attention_blocks.0.to_q.weight": (64, 64),
    "transformer_blocks.0.attention_blocks.0.to_k.weight": (64, 64),
    "transformer_blocks.0.attention_blocks.0.to_v.weight": (64, 64),
    "transformer_blocks.0.attention_blocks.0.to_out.0.weight": (64, 64),
    "transformer_blocks.0.attention_blocks.0.to_out.0.bias": (64,),
    "transformer_blocks.0.attention_blocks.0.pos_encoder.pe": (1, 32, 64),
    "transformer_blocks.0.attention_blocks.1.to_q.weight": (64, 64),
    "transformer_blocks.0.attention_blocks.1.to_k.weight": (64, 64),
    "transformer_blocks.0.attention_blocks.1.to_v.weight": (64, 64),
    "transformer_blocks.0.attention_blocks.1.to_out.0.weight": (64, 64),
    "transformer_blocks.0.attention_blocks.1.to_out.0.bias": (64,),
    "transformer_blocks.0.attention_blocks.1.pos_encoder.pe": (1, 32, 64),
    "transformer_blocks.0.norms.0.weight": (64,),
    "transformer_blocks.0.norms.0.bias": (64,),
    "transformer_blocks.0.norms.1.weight": (64,),
    "transformer_blocks.0.norms.1.bias": (64,),
    "transformer_blocks.0.ff.net.0.proj.weight": (512, 64),
    "transformer_blocks.0.ff.net.0.proj.bias": (512,),
    "transformer_blocks.0.ff.net.2.weight": (64, 256),
    "transformer_blocks.0.ff.net.2.bias": (64,),
    "transformer_blocks.0.ff_norm.weight": (64,),
    "transformer_blocks.0.ff_norm.bias": (64,),
    "proj_out.weight": (64, 64),
    "proj_out.bias": (64,),
}


@pytest.fixture
def module() -> MotionModule:
    module = MotionModule(WIDTH, 8, HEADS, torch.nn, dtype=torch.float64).eval().requires_grad_(False)
    fill(module, 0)
    for attention in module.temporal_transformer.transformer_blocks[0].attention_blocks:
        attention.pos_encoder.pe.normal_(generator=torch.Generator().manual_seed(1))  # whatever the file holds
    return module


def clips(count: int = 2, height: int = 2, width: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count * FRAMES, WIDTH, height, width, generator=generator, dtype=torch.float64)


def naive(w: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The equations once more, one clip, position, head and frame at a time."""

    def linear(name: str, v: torch.Tensor) -> torch.Tensor:
        bias = w.get(f"{name}.bias")
        return w[f"{name}.weight"] @ v + (0 if bias is None else bias)

    def layer_norm(name: str, v: torch.Tensor) -> torch.Tensor:
        return (v - v.mean()) / (v.var(unbiased=False) + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]

    def attend(name: str, rows: list[torch.Tensor]) -> list[torch.Tensor]:
        rows = [row + w[f"{name}.pos_encoder.pe"][0, f] for f, row in enumerate(rows)]
        q, k, v = ([linear(f"{name}.{part}", row) for row in rows] for part in ("to_q", "to_k", "to_v"))
        size, out = WIDTH // HEADS, []
        for f in range(len(rows)):
            heads = []
            for h in range(HEADS):
                part = slice(h * size, (h + 1) * size)
                scores = [math.exp(float(q[f][part] @ k[g][part]) / math.sqrt(size)) for g in range(len(rows))]
                heads.append(sum(s * v[g][part] for g, s in enumerate(scores)) / sum(scores))
            out.append(linear(f"{name}.to_out.0", torch.cat(heads)))
        return out

    out, block = x.clone(), "transformer_blocks.0"
    normal = group_norm(x, 32, w["norm.weight"], w["norm.bias"], eps=1e-6)
    for clip in range(0, len(x), FRAMES):
        for y in range(x.shape[2]):
            for z in range(x.shape[3]):
                rows = [linear("proj_in", normal[clip + f, :, y, z]) for f in range(FRAMES)]
                for a in range(2):
                    mixed = attend(
                        f"{block}.attention_blocks.{a}", [layer_norm(f"{block}.norms.{a}", row) for row in rows]
                    )
                    rows = [row + m for row, m in zip(rows, mixed, strict=True)]
                for f, row in enumerate(rows):
                    value, gate = linear(f"{block}.ff.net.0.proj", layer_norm(f"{block}.ff_norm", row)).chunk(2)
                    row = row + linear(f"{block}.ff.net.2", value * gelu(gate))
                    out[clip + f, :, y, z] += linear("proj_out", row)
    return out


def test_a_module_is_what_the_equations_say(module: MotionModule) -> None:
    x = clips()
    expected = naive(module.temporal_transformer.state_dict(), x)
    assert (expected - x).abs().max() > 0.5
    assert torch.allclose(module(x, FRAMES), expected, rtol=0, atol=1e-12)


def test_strength_scales_what_is_added(module: MotionModule) -> None:
    x = clips()
    assert torch.allclose(module(x, FRAMES, 0.25), x + 0.25 * (module(x, FRAMES) - x))


def test_more_positions_than_a_kernel_takes_make_no_difference(
    module: MotionModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = clips()
    whole = module(x, FRAMES)
    monkeypatch.setattr(motion_module, "_LARGEST_BATCH", 5)  # of the 12 positions
    assert torch.allclose(module(x, FRAMES), whole, rtol=0, atol=1e-13)


def test_a_module_that_has_learnt_nothing_changes_nothing() -> None:
    x = clips().float()
    assert torch.equal(MotionModule(WIDTH, 8, HEADS, torch.nn)(x, FRAMES), x)


def test_positions_are_sines_and_cosines() -> None:
    pe = motion_module.PositionalEncoding(6, 4).pe
    for f in range(4):
        for c in range(6):
            angle = f / 10000 ** (2 * (c // 2) / 6)
            expected = math.cos(angle) if c % 2 else math.sin(angle)
            assert float(pe[0, f, c]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("version", "count"), [("v2", 588), ("v3", 560)])
def test_a_model_has_the_keys_of_the_published_files(version: str, count: int) -> None:
    shapes = {key: tuple(tensor.shape) for key, tensor in motion_model(version).state_dict().items()}
    assert len(shapes) == count
    place = "up_blocks.1.motion_modules.2.temporal_transformer."
    assert {key.removeprefix(place): shape for key, shape in shapes.items() if key.startswith(place)} == ONE_MODULE


@pytest.mark.parametrize(
    "layout",
    [
        {"widths_down": [32, 64], "widths_up": [64, 32], "mid": True},
        {"widths_down": [32, 32, 64], "widths_up": [64, 32, 32], "blocks_down": 1, "blocks_up": 2, "positions": 24},
    ],
)
def test_a_file_says_how_the_model_is_built(layout: dict) -> None:
    model = MotionModel(**layout)
    fill(model, 0)
    read = MotionModel.from_state_dict(model.half().state_dict())
    assert read.positions == layout.get("positions", 32)
    assert all(tensor.dtype is torch.float16 for tensor in read.state_dict().values())
    assert read.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in read.state_dict().items())


def test_a_file_of_another_layout_is_refused() -> None:
    state = motion_model().state_dict()
    state.pop("down_blocks.1.motion_modules.0.temporal_transformer.proj_in.bias")
    with pytest.raises(RuntimeError, match=r"proj_in\.bias"):
        MotionModel.from_state_dict(state)
    with pytest.raises(ValueError, match="no motion modules"):
        MotionModel.from_state_dict({"model.weight": torch.zeros(1)})
