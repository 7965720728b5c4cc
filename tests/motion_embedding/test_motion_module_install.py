"""Motion modules around ComfyUI's own UNet: at the published places, for one call, and gone afterwards."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from motion_embedding.errors import InputError
from motion_embedding.motion_module import MotionModel, MotionModule
from motion_embedding.motion_module_install import attached, places
from tests.small_sd15 import TEXT, WIDTHS, fill, model, motion_model

pytestmark = pytest.mark.host
FRAMES = 4
PUBLISHED = {  # SD1.5: after the spatial transformer, which is layer 1, or the residual block, which is layer 0
    "down_blocks.0.motion_modules.0": "input_blocks.1.1",
    "down_blocks.0.motion_modules.1": "input_blocks.2.1",
    "down_blocks.1.motion_modules.0": "input_blocks.4.1",
    "down_blocks.1.motion_modules.1": "input_blocks.5.1",
    "down_blocks.2.motion_modules.0": "input_blocks.7.1",
    "down_blocks.2.motion_modules.1": "input_blocks.8.1",
    "down_blocks.3.motion_modules.0": "input_blocks.10.0",
    "down_blocks.3.motion_modules.1": "input_blocks.11.0",
    "mid_block.motion_modules.0": "middle_block.1",
    "up_blocks.0.motion_modules.0": "output_blocks.0.0",
    "up_blocks.0.motion_modules.1": "output_blocks.1.0",
    "up_blocks.0.motion_modules.2": "output_blocks.2.0",
    "up_blocks.1.motion_modules.0": "output_blocks.3.1",
    "up_blocks.1.motion_modules.1": "output_blocks.4.1",
    "up_blocks.1.motion_modules.2": "output_blocks.5.1",
    "up_blocks.2.motion_modules.0": "output_blocks.6.1",
    "up_blocks.2.motion_modules.1": "output_blocks.7.1",
    "up_blocks.2.motion_modules.2": "output_blocks.8.1",
    "up_blocks.3.motion_modules.0": "output_blocks.9.1",
    "up_blocks.3.motion_modules.1": "output_blocks.10.1",
    "up_blocks.3.motion_modules.2": "output_blocks.11.1",
}


class Inserted(nn.Module):
    """A motion module as a layer of a block, as AnimateDiff-Evolved puts it there."""

    def __init__(self, module: MotionModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.module(x, FRAMES)


@pytest.fixture
def unet(comfy: Path) -> nn.Module:
    return model().model.diffusion_model.requires_grad_(False)


def run(unet: nn.Module, part: slice = slice(None)) -> torch.Tensor:
    """Of two clips, or of a part of the batch."""

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(2 * FRAMES, *shape, generator=torch.Generator().manual_seed(len(shape)))[part]

    x = noise(4, 8, 8)
    return unet(x, torch.full((len(x),), 500.0), noise(5, TEXT))


def overridden(unet: nn.Module) -> list[str]:
    return [name for name, module in unet.named_modules() if "forward" in module.__dict__]


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_modules_come_after_the_layers_they_were_published_for(unet: nn.Module, version: str) -> None:
    motion = motion_model(version)
    names = {module: name for name, module in (*unet.named_modules(), *motion.named_modules())}
    found = {names[module]: names[layer] for layer, module in places(unet, motion)}
    assert found == {k: v for k, v in PUBLISHED.items() if version == "v2" or not k.startswith("mid")}


def test_it_is_as_if_the_modules_were_layers_of_the_unet(unet: nn.Module) -> None:
    motion, plain = motion_model("v2"), run(unet)
    with attached(unet, motion, FRAMES):
        moving = run(unet)
    built = copy.deepcopy(unet)
    for module, layer in PUBLISHED.items():
        block, index = layer.rsplit(".", 1)
        built.get_submodule(block).insert(int(index) + 1, Inserted(motion.get_submodule(module)))
    assert torch.equal(moving, run(built))
    assert (moving - plain).abs().max() > 0.1 * plain.abs().max()


def test_afterwards_the_unet_is_as_before(unet: nn.Module) -> None:
    before, weights = run(unet), {k: v.clone() for k, v in unet.state_dict().items()}
    with attached(unet, motion_model(), FRAMES):
        run(unet)
    assert overridden(unet) == []
    assert torch.equal(run(unet), before)
    assert all(torch.equal(v, weights[k]) for k, v in unet.state_dict().items())


def test_it_is_gone_after_an_error_too(unet: nn.Module) -> None:
    with pytest.raises(ZeroDivisionError), attached(unet, motion_model(), FRAMES):
        raise ZeroDivisionError
    with pytest.raises(RuntimeError, match="already attached"), attached(unet, motion_model(), FRAMES):  # noqa: SIM117
        with attached(unet, motion_model(), FRAMES):
            pass
    assert overridden(unet) == []


def test_a_motion_model_that_has_learnt_nothing_changes_nothing(unet: nn.Module) -> None:
    plain = run(unet)
    with attached(unet, motion_model(scale=0), FRAMES):
        assert torch.equal(run(unet), plain)
    with attached(unet, motion_model(), FRAMES, strength=0.0):
        assert torch.equal(run(unet), plain)


def test_another_packs_override_acts_first_and_stays(unet: nn.Module) -> None:
    layer, motion = unet.input_blocks[1][1], motion_model()
    with attached(unet, motion, FRAMES):
        unscaled = run(unet)

    def override(x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        return 2 * type(layer).forward(layer, x, *args, **kwargs)

    layer.forward = override
    with attached(unet, motion, FRAMES):
        assert not torch.allclose(run(unet), unscaled)
    assert layer.__dict__["forward"] is override
    assert overridden(unet) == ["input_blocks.1.1"]


def test_clips_of_a_batch_do_not_mix(unet: nn.Module) -> None:
    motion = motion_model()
    with torch.no_grad(), attached(unet, motion, FRAMES):
        second = run(unet)[FRAMES:]
        assert torch.allclose(run(unet, slice(FRAMES, None)), second, atol=1e-5 * float(second.abs().max()))


def test_compiled_it_gives_the_same(comfy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One compiled UNet, with and without the motion model, in turns; and in one graph, so nothing falls back."""
    import comfy.ldm.modules.attention as host_attention

    # The CPU's default asks the operating system for free memory, which no graph can hold.
    monkeypatch.setattr(host_attention, "optimized_attention", host_attention.attention_pytorch)
    small = {"num_res_blocks": [1], "channel_mult": [1], "transformer_depth": [1], "transformer_depth_output": [0, 1]}
    unet = model(**small).model.diffusion_model.requires_grad_(False)
    motion = MotionModel([32], [32], blocks_down=1, blocks_up=2, mid=True)
    fill(motion, 2)
    torch.compiler.reset()
    compiled = torch.compile(unet, backend="aot_eager", fullgraph=True)

    def in_turns(which: nn.Module) -> list[torch.Tensor]:
        out = [run(which)]
        with attached(which, motion, FRAMES):
            out.append(run(which))
        return [*out, run(which)]

    with torch.no_grad():
        for expected, given in zip(in_turns(unet), in_turns(compiled), strict=True):
            assert torch.allclose(given, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_more_frames_than_it_knows_are_refused(unet: nn.Module) -> None:
    with pytest.raises(InputError, match=r"8 frames at once are more than the 7 .* context windows") as refused:  # noqa: SIM117
        with attached(unet, motion_model(positions=7), 2 * FRAMES):
            pass
    assert refused.value.name == "latent_image"


@pytest.mark.parametrize(
    ("motion", "cause"),
    [
        (lambda: MotionModel(WIDTHS[:3], WIDTHS[2::-1]), "for 6 blocks where this model has 8"),
        (lambda: MotionModel([32, 64, 64, 32], WIDTHS[::-1]), "32 wide where this model is 64"),
    ],
)
def test_a_motion_model_for_another_unet_is_refused(
    unet: nn.Module, motion: Callable[[], MotionModel], cause: str
) -> None:
    with pytest.raises(InputError, match=cause) as refused:
        places(unet, motion())
    assert refused.value.name == "motion_model"


def test_gradients_reach_what_enters_every_module(unet: nn.Module) -> None:
    motion = motion_model("v2")
    fill(motion, 4)
    with attached(unet, motion, FRAMES):
        run(unet).square().mean().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in motion.parameters())
