"""Networks at real sizes, without contents: what is measured on them is measured on the published architectures."""

from __future__ import annotations

from dataclasses import replace

import diffusers
import pytest
import torch

from benchmarks.real_sizes import SIZES, weights
from benchmarks.step_networks import network
from motion_embedding.motion_module_install import places

META = torch.device("meta")
pytestmark = pytest.mark.host


def values(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "published", "config"),
    [
        ("zeroscope", diffusers.UNet3DConditionModel, {"cross_attention_dim": 1024}),
        ("svd", diffusers.UNetSpatioTemporalConditionModel, {"num_attention_heads": (5, 10, 20, 20)}),
        ("animatediff", diffusers.UNet2DConditionModel, {"cross_attention_dim": 768}),
        (
            "wan1.3b",
            diffusers.WanTransformer3DModel,
            {"num_attention_heads": 12, "attention_head_dim": 128, "num_layers": 30, "ffn_dim": 8960},
        ),
    ],
)
def test_a_network_has_as_many_values_as_the_published_class(comfy, name: str, published, config: dict) -> None:
    with META:
        theirs = published(**config)
    assert values(network(name, META, torch.float16).module) == values(theirs)


def test_zeroscope_has_the_published_names_and_shapes(comfy) -> None:
    with META:
        theirs = diffusers.UNet3DConditionModel(cross_attention_dim=1024).state_dict()
    ours = network("zeroscope", META, torch.float16).module.state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in theirs.items()}


def test_animatediff_v3_has_the_published_motion_model(comfy) -> None:
    """20 modules, in each 2 attentions with 5 weights and an encoding, and 16 weights more."""
    net = network("animatediff", META, torch.float16)
    [motion] = net.beside
    with META:
        theirs = diffusers.MotionAdapter(use_motion_mid_block=False)
    assert values(motion) == values(theirs) == 417_137_600
    assert len(places(net.module, motion)) == 20
    assert len(motion.state_dict()) == 20 * (2 * 6 + 16)
    encodings = [t.shape for n, t in motion.state_dict().items() if n.endswith(".pe")]
    assert len(encodings) == 40
    assert {shape[:2] for shape in encodings} == {(1, 32)}


@pytest.mark.parametrize(
    ("name", "attentions", "recommended", "paper", "widths"),
    [
        ("zeroscope", 34, 32, 10, {320, 512, 640, 1280}),
        ("svd", 16, 16, 5, {320, 640, 1280}),
        ("animatediff", 40, 40, 20, {320, 640, 1280}),
        ("wan1.3b", 30, 16, 16, {1536}),
    ],
)
def test_attentions_that_learn(comfy, name: str, attentions: int, recommended: int, paper: int, widths: set) -> None:
    """2 a temporal transformer of UNets (SVD: 1): 17, 16 and 20 of those; Wan: 1 a block of 30, the middle half."""
    backbone, found = network(name, META, torch.float16).family
    assert len(found) == attentions
    assert {site.width for site in found} == widths
    assert len(backbone.select(found, "recommended")) == recommended
    assert len(backbone.select(found, "paper")) == paper


@pytest.mark.parametrize("name", SIZES)
def test_small_clips_are_of_the_same_kind(name: str) -> None:
    size = SIZES[name]
    assert len(size.small) == len(size.latent)
    frames = 0 if len(size.latent) == 4 else 2
    assert size.small[frames] == 2 < size.latent[frames]
    assert size.small[1] == size.latent[1]


def test_weights_are_small_enough_for_half_precision() -> None:
    made = weights({"a.weight": torch.empty(64, 400), "b.weight": torch.empty(3), "b.bias": torch.empty(3)})
    assert made["a.weight"].dtype == torch.float16
    assert made["a.weight"].float().std().item() == pytest.approx(0.5 / 20, rel=0.02)
    assert made["b.weight"].tolist() == [1, 1, 1]
    assert made["b.bias"].tolist() == [0, 0, 0]


def test_a_case_says_what_it_is_of() -> None:
    size = replace(SIZES["svd"], build=lambda host: "the model")
    case = size.case(None, small=True)
    assert (case.name, case.model, case.shape) == ("SVD, 64x64, 2 latent frames", "the model", (2, 4, 8, 8))
    for [[text, said]] in case.text:
        assert text.shape == (1, 1, 1024)
        assert said["concat_latent_image"].shape == (1, 4, 8, 8)
    wan = replace(SIZES["wan1.3b"], build=lambda host: None)
    assert wan.case(None, small=False).name == "Wan 1.3B, 832x480, 13 latent frames"
    assert wan.case(None, small=False).text[0][0][0].shape == (1, 512, 4096)
    assert wan.case(None, small=True).text[0][0][0].shape == (1, 8, 4096)
