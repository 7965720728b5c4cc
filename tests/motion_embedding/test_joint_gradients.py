"""Gradients of a motion through the host's video transformers, in float64, against central differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from motion_embedding.backbones import find_backbone
from motion_embedding.checkpointing import Checkpoints
from motion_embedding.install import Installation
from motion_embedding.trainable import TrainableMotion
from tests import small_cosmos, small_hunyuan, small_ltxv, small_mochi, small_wan
from tests.joint_rig import fill

pytestmark = pytest.mark.host
FRAMES, HEIGHT, WIDTH, STEP = 3, 4, 6, 1e-3


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def wan(variant: str) -> tuple[nn.Module, torch.Tensor, dict]:
    network = fill(small_wan.network(variant, num_layers=3)).double()
    network.patch_embedding.float()  # the host has it in float32 always
    context = {"context": random(1, 5, small_wan.TEXT, seed=1)}
    if variant == "2.1 control":
        context["reference_latent"] = random(1, 16, HEIGHT, WIDTH, seed=2)
    return network, random(1, network.in_dim, FRAMES, HEIGHT, WIDTH), context


def ltxv(guides: int = 0) -> tuple[nn.Module, torch.Tensor, dict]:
    given = {"context": random(1, 5, small_ltxv.TEXT, seed=1), "attention_mask": None}
    if guides:
        given["keyframe_idxs"] = 8 * random(1, 3, guides * HEIGHT * WIDTH, seed=2).abs()
    x = random(1, small_ltxv.CHANNELS, FRAMES + guides, HEIGHT, WIDTH)
    return fill(small_ltxv.network(blocks=3)).double(), x, given


def hunyuan(version: str = "1", **more: torch.Tensor) -> tuple[nn.Module, torch.Tensor, dict]:
    network = fill(small_hunyuan.network(version)).double()
    network.pe_embedder.register_forward_hook(lambda module, inputs, turns: turns.double())  # else float32 throughout
    given = {"context": random(1, 5, small_hunyuan.TEXT, seed=1), **more}
    if version == "1":
        given |= {"y": random(1, small_hunyuan.LABEL, seed=2), "guidance": random(1, seed=3).abs()}
    return network, random(1, network.in_channels, FRAMES, HEIGHT, WIDTH), given


def mochi() -> tuple[nn.Module, torch.Tensor, dict]:
    given = {"context": random(1, 5, small_mochi.TEXT, seed=1), "attention_mask": torch.ones(1, 5), "num_tokens": 4}
    return fill(small_mochi.network()).double(), random(1, 12, FRAMES, HEIGHT, WIDTH), given


def cosmos() -> tuple[nn.Module, torch.Tensor, dict]:
    network = fill(small_cosmos.network(num_blocks=3)).double()
    return network, random(1, 16, FRAMES, HEIGHT, WIDTH), {"context": random(1, 5, small_cosmos.TEXT, seed=1)}


NETWORKS: dict[str, Callable[[], tuple[nn.Module, torch.Tensor, dict]]] = {
    "Wan": lambda: wan("2.1 T2V"),
    "Wan after a reference picture": lambda: wan("2.1 control"),
    "LTX-Video": ltxv,
    "LTX-Video with a guide": lambda: ltxv(guides=1),
    "HunyuanVideo": hunyuan,
    "HunyuanVideo with a guiding frame": lambda: hunyuan(guiding_frame_index=torch.zeros(1, dtype=torch.float64)),
    "HunyuanVideo after a reference picture": lambda: hunyuan(ref_latent=random(1, 16, 1, HEIGHT, WIDTH, seed=4)),
    "HunyuanVideo 1.5": lambda: hunyuan("1.5"),
    "Mochi": mochi,
    "Cosmos Predict2": cosmos,
}


@pytest.mark.parametrize("again", ["none", "all"])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_gradients_agree_with_central_differences(comfy, name: str, again: str) -> None:
    network, x, given = NETWORKS[name]()
    network.requires_grad_(False)
    backbone, attentions = find_backbone(network)
    call = backbone.extended(backbone.call(x, (0,)), network, given)
    motion, blocks = TrainableMotion(attentions), backbone.blocks(network)
    checkpoints = Checkpoints(blocks, backbone.in_place)
    checkpoints.again = set(range(len(blocks))) if again == "all" else set()

    def loss() -> torch.Tensor:
        opened = Installation(network, [motion], call)
        with opened, checkpoints.around(lambda: opened):
            return network(x.clone(), torch.tensor([0.6], dtype=torch.float64), **given).square().mean()

    with torch.no_grad():
        loss()  # which notes the grids
    parameters = motion.allocate(x.device, dtype=torch.float64)
    with torch.no_grad():
        for index, parameter in enumerate(parameters):
            parameter.copy_(0.3 * random(*parameter.shape, seed=20 + index))
    loss().backward()
    for index, parameter in enumerate(parameters):
        direction = random(*parameter.shape, seed=50 + index)
        with torch.no_grad():
            ends = []
            for sign in (1, -2):
                parameter.add_(sign * STEP * direction)
                ends.append(loss().item())
            parameter.add_(STEP * direction)
        slope = (ends[0] - ends[1]) / (2 * STEP)
        assert (parameter.grad * direction).sum().item() == pytest.approx(slope, rel=2e-3, abs=1e-7), index
        assert abs(slope) > 1e-6
