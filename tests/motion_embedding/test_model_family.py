"""The family of a model file by its header, against what the loaded network is taken for."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from motion_embedding.backbones import becoming, find_backbone
from tests import small_cosmos, small_hunyuan, small_ltxv, small_mochi, small_sd15, small_svd, small_wan

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("comfy")]


def sd15() -> torch.nn.Module:
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    config = small_sd15.unet_config(context_dim=768, num_heads=8, model_channels=320, channel_mult=[1, 1, 1, 1])
    return UNetModel(operations=comfy.ops.disable_weight_init, **config)


NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    **{f"wan {variant}": lambda variant=variant: small_wan.network(variant) for variant in small_wan.VARIANTS},
    "ltxv": small_ltxv.network,
    "hunyuan_video": small_hunyuan.network,
    "hunyuan_video_15": lambda: small_hunyuan.network("1.5"),
    "mochi": small_mochi.network,
    "cosmos_predict2": small_cosmos.network,
    "svd": lambda: small_svd.unet(
        context_dim=1024, num_head_channels=64, model_channels=320, channel_mult=[1, 1, 1, 1]
    ),
    "animatediff": sd15,
}


def write_header(path: Path, weights: dict[str, torch.Tensor], prefix: str = "") -> Path:
    """A file of those shapes whose numbers, one byte each, take no room on the disk."""
    header, end = {}, 0
    for name, weight in weights.items():
        header[prefix + name] = {
            "dtype": "F8_E4M3",
            "shape": list(weight.shape),
            "data_offsets": [end, end + weight.numel()],
        }
        end += weight.numel()
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return path


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_file_is_of_the_family_of_its_network(tmp_path: Path, name: str, prefix: str) -> None:
    from motion_embedding.model_family import family_of_file

    with torch.device("meta"):
        network = NETWORKS[name]()
    taken_for = becoming(network) if name == "animatediff" else find_backbone(network)[0]
    assert taken_for.family == name.split()[0]
    assert family_of_file(write_header(tmp_path / "m.safetensors", network.state_dict(), prefix)) == taken_for.family


def test_what_is_no_video_model_has_no_family(tmp_path: Path) -> None:
    from motion_embedding.model_family import family_of_file

    save_file({"a.weight": torch.zeros(2, 2)}, other := tmp_path / "other.safetensors")
    (broken := tmp_path / "broken.safetensors").write_bytes(b"nothing")
    (pickle := tmp_path / "model.ckpt").write_bytes(b"PK")
    for path in (other, broken, pickle, tmp_path / "absent.safetensors"):
        assert family_of_file(path) is None, path
