"""Every network of the host is claimed by its own family and no other, and those that make pictures by none."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from motion_embedding.backbones import BACKBONES
from tests import small_cosmos, small_hunyuan, small_ltxv, small_mochi, small_sd15, small_svd, small_wan

pytestmark = pytest.mark.host
VIDEO: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    **{f"Wan {v}": ("wan", lambda v=v: small_wan.network(v)) for v in small_wan.VARIANTS},
    "LTX-Video": ("ltxv", small_ltxv.network),
    "HunyuanVideo": ("hunyuan_video", small_hunyuan.network),
    "HunyuanVideo 1.5": ("hunyuan_video_15", lambda: small_hunyuan.network("1.5")),
    "Mochi": ("mochi", small_mochi.network),
    "Cosmos Predict2": ("cosmos_predict2", small_cosmos.network),
    "SVD": ("svd", small_svd.unet),
}
_FLUX = {"image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": 16, "context_in_dim": 16}
_FLUX |= {"hidden_size": 128, "num_heads": 1, "depth": 1, "depth_single_blocks": 1, "axes_dim": [16, 56, 56]}
_FLUX |= {"mlp_ratio": 4.0, "theta": 10000, "patch_size": 2, "qkv_bias": True, "guidance_embed": False}
_LUMINA = {"dim": 256, "n_layers": 2, "n_refiner_layers": 1, "n_heads": 4, "n_kv_heads": 4, "cap_feat_dim": 16}
_LUMINA |= {"axes_dims": (16, 24, 24), "axes_lens": (1, 16, 16)}
PICTURES: list[tuple[str, str, dict[str, Any]]] = [
    ("modules.diffusionmodules.openaimodel", "UNetModel", small_sd15.unet_config()),
    ("modules.diffusionmodules.mmdit", "MMDiT", {"in_channels": 16, "depth": 2}),
    ("aura.mmdit", "MMDiT", {"n_layers": 2}),
    ("flux.model", "Flux", _FLUX),
    ("hydit.models", "HunYuanDiT", {"depth": 2}),
    ("lumina.model", "NextDiT", _LUMINA),
    ("qwen_image.model", "QwenImageTransformer2DModel", {"num_layers": 2, "image_model": None}),
    ("omnigen.omnigen2", "OmniGen2Transformer2DModel", {"num_layers": 2}),
    ("ace.model", "ACEStepTransformer2DModel", {"num_layers": 2}),
    ("audio.dit", "AudioDiffusionTransformer", {"depth": 2}),
    ("hunyuan3dv2_1.hunyuandit", "HunYuanDiTPlain", {"depth": 2}),
    ("hunyuan3d.model", "Hunyuan3Dv2", {"depth": 2, "depth_single_blocks": 2}),
]


def claims(network: nn.Module) -> list[str]:
    return [backbone.family for backbone in BACKBONES if backbone.attentions(network)]


@pytest.mark.parametrize("name", list(VIDEO))
def test_a_video_model_is_of_one_family(comfy, name: str) -> None:
    family, build = VIDEO[name]
    network = build()
    assert claims(network) == [family]
    assert claims(nn.ModuleDict({"inside": network})) == [family]


@pytest.mark.parametrize(("place", "name", "config"), PICTURES, ids=[place for place, *_ in PICTURES])
def test_a_model_of_pictures_or_sound_is_of_none(comfy, place: str, name: str, config: dict[str, Any]) -> None:
    import comfy.ops

    kind = getattr(importlib.import_module(f"comfy.ldm.{place}"), name)
    settings = {"operations": comfy.ops.disable_weight_init, "dtype": torch.float32, "device": "meta"}
    with torch.device("meta"):
        network = kind(**{**config, **settings})
    assert claims(network) == []


@pytest.mark.parametrize("name", ["VaceWanModel", "CameraWanModel", "WanModel_S2V", "HumoWanModel", "AnimateWanModel"])
def test_what_is_built_on_wan_learns_in_the_blocks_of_the_clip(comfy, name: str) -> None:
    import comfy.ops

    place = "model_animate" if name == "AnimateWanModel" else "model"
    kind = getattr(importlib.import_module(f"comfy.ldm.wan.{place}"), name)
    sizes = {"dim": 128, "ffn_dim": 64, "num_heads": 1, "num_layers": 4}
    more = {"vace_layers": 2, "vace_in_dim": 96} if name == "VaceWanModel" else {}
    with torch.device("meta"):
        network = kind(**sizes, **more, operations=comfy.ops.disable_weight_init, dtype=torch.float32, device="meta")
    assert claims(network) == ["wan"]
    (wan,) = [backbone for backbone in BACKBONES if backbone.family == "wan"]
    assert [attention.layer for attention in wan.attentions(network)] == [f"blocks.{i}" for i in range(4)]
