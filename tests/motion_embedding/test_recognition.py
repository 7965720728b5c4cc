"""Which of the host's networks each family takes for its own, at the published layouts and without weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from motion_embedding.backbones import find_backbone
from motion_embedding.errors import InputError
from tests import small_cosmos, small_hunyuan, small_mochi

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("comfy")]


def built(path: str, **config: Any) -> nn.Module:
    """A class of the host, by its full name."""
    from importlib import import_module

    import comfy.ops

    module, name = path.rsplit(".", 1)
    with torch.device("meta"):
        return getattr(import_module(f"comfy.ldm.{module}"), name)(
            **config, device="meta", dtype=torch.float32, operations=comfy.ops.disable_weight_init
        )


def on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return make()


FLUX = {
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": 8,
    "context_in_dim": 8,
    "hidden_size": 128,
    "mlp_ratio": 4.0,
    "num_heads": 1,
    "depth": 2,
    "depth_single_blocks": 2,
    "axes_dim": [16, 56, 56],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
}
CHROMA = {k: v for k, v in FLUX.items() if k != "vec_in_dim"} | {
    "in_dim": 64,
    "out_dim": 128,
    "hidden_dim": 64,
    "n_layers": 1,
}
OTHERS: dict[str, Callable[[], nn.Module]] = {
    "Flux": lambda: built("flux.model.Flux", **FLUX, guidance_embed=True),
    "Chroma": lambda: built("chroma.model.Chroma", **CHROMA),
    "SD3": lambda: built("modules.diffusionmodules.mmdit.MMDiT", depth=2, context_embedder_config=None),
    "HiDream": lambda: built(
        "hidream.model.HiDreamImageTransformer2DModel",
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=32,
        num_attention_heads=4,
        caption_channels=[8, 8],
        text_emb_dim=8,
        num_routed_experts=2,
        num_activated_experts=1,
        axes_dims_rope=(8, 12, 12),
        max_resolution=(8, 8),
        llama_layers=[0, 1],
    ),
    "Qwen-Image": lambda: built(
        "qwen_image.model.QwenImageTransformer2DModel", num_layers=2, attention_head_dim=128, num_attention_heads=2
    ),
    "Lumina 2": lambda: built(
        "lumina.model.NextDiT",
        dim=96,
        n_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=8,
        axes_dims=[16, 16, 16],
        axes_lens=[8, 8, 8],
    ),
    "Cosmos 1": lambda: built(
        "cosmos.model.GeneralDIT",
        max_img_h=240,
        max_img_w=240,
        max_frames=128,
        in_channels=16,
        out_channels=16,
        patch_spatial=2,
        patch_temporal=1,
        model_channels=192,
        num_blocks=2,
        num_heads=4,
        affline_emb_norm=True,
        pos_emb_cls="rope3d",
        use_adaln_lora=True,
    ),
    "HunyuanImage": lambda: on_meta(
        lambda: small_hunyuan.network(patch_size=[1, 1], axes_dim=[64, 64], vec_in_dim=None)
    ),
    "HunyuanImage refiner": lambda: on_meta(
        lambda: small_hunyuan.network("1.5", vision_in_dim=None, use_cond_type_embedding=False)
    ),
}


@pytest.mark.parametrize("name", list(OTHERS))
def test_networks_with_blocks_of_like_names_are_nobodys(name) -> None:
    with pytest.raises(InputError, match="no temporal attention that this pack knows"):
        find_backbone(OTHERS[name]())


PUBLISHED = {
    "hunyuan_video": lambda: small_hunyuan.network(hidden_size=3072, num_heads=24, depth=20, depth_single_blocks=40),
    "hunyuan_video_15": lambda: small_hunyuan.network(
        "1.5", hidden_size=2048, num_heads=16, depth=54, depth_single_blocks=0
    ),
    "mochi": lambda: small_mochi.network(
        hidden_size_x=3072, hidden_size_y=1536, depth=48, num_heads=24, mlp_ratio_x=4.0, t5_feat_dim=4096
    ),
    "cosmos_predict2": lambda: small_cosmos.network(model_channels=2048, num_blocks=28),
}
LAYERS = {
    "hunyuan_video": ([f"double_blocks.{i}" for i in range(20)] + [f"single_blocks.{i}" for i in range(40)], 3072),
    "hunyuan_video_15": ([f"double_blocks.{i}" for i in range(54)], 2048),
    "mochi": ([f"blocks.{i}" for i in range(48)], 3072),
    "cosmos_predict2": ([f"blocks.{i}" for i in range(28)], 2048),
}


@pytest.mark.parametrize("family", list(PUBLISHED))
def test_every_frame_mixing_attention_of_the_published_layouts(family) -> None:
    network = on_meta(PUBLISHED[family])
    backbone, attentions = find_backbone(network)
    layers, width = LAYERS[family]
    assert backbone.family == family
    assert [a.layer for a in attentions] == layers
    assert {a.width for a in attentions} == {width}
    assert backbone.blocks(network) == [network.get_submodule(layer) for layer in layers]
    assert backbone.select(attentions, "all") == attentions


class Compiled(nn.Module):
    """What ``torch.compile`` puts in a module's place, without its slow import."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(name) if name == "_orig_mod" else getattr(self._orig_mod, name)


@pytest.mark.parametrize("family", list(PUBLISHED))
def test_names_do_not_depend_on_compiling(family) -> None:
    network = on_meta(
        {
            "hunyuan_video": small_hunyuan.network,
            "hunyuan_video_15": lambda: small_hunyuan.network("1.5"),
            "mochi": small_mochi.network,
            "cosmos_predict2": small_cosmos.network,
        }[family]
    )
    plain = find_backbone(network)[1]
    backbone, attentions = find_backbone(Compiled(network))
    assert backbone.family == family
    assert [(a.layer, a.query, a.value) for a in attentions] == [(a.layer, a.query, a.value) for a in plain]


def test_query_and_key_come_first_and_then_the_value() -> None:
    """Of what one module gives; in the single blocks of HunyuanVideo, what the MLP needs comes last."""
    attentions = find_backbone(on_meta(small_hunyuan.network))[1]
    assert all(a.parts == (slice(0, 256), slice(256, 384)) for a in attentions)
    assert {a.query.out_features for a in attentions} == {3 * 128, 3 * 128 + 4 * 128}
    mochi = find_backbone(on_meta(small_mochi.network))[1]
    assert all(a.parts == (slice(0, 96), slice(96, 144)) and a.query.out_features == 144 for a in mochi)
