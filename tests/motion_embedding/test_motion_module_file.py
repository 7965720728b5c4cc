"""Every kind of motion model is told by its keys, and named when it is refused."""

from __future__ import annotations

import pytest
import torch

from motion_embedding.errors import InputError
from motion_embedding.motion_module_file import motion_modules, plain_keys, recognise

ATTENTION = "temporal_transformer.transformer_blocks.0.attention_blocks.0"


def animatediff(levels: int = 4, positions: int | None = 32, mid: bool = False) -> dict[str, tuple[int, ...]]:
    places = [f"{side}_blocks.{i}.motion_modules.0" for side in ("down", "up") for i in range(levels)]
    places += ["mid_block.motion_modules.0"] * mid
    shapes = {f"{place}.{ATTENTION}.to_q.weight": (320, 320) for place in places}
    if positions:
        shapes |= {f"{place}.{ATTENTION}.pos_encoder.pe": (1, positions, 320) for place in places}
    return shapes


HOTSHOT = "down_blocks.0.temporal_attentions.0.transformer_blocks.0.attention_blocks.0.pos_encoder.positional_encoding"
HELLOMEME = "down_blocks.0.motion_modules.0.transformer_blocks.0.pos_embed.pe"
CAMERA = f"down_blocks.0.motion_modules.0.{ATTENTION}.processor.qkv_merge.weight"
MOTIONCTRL = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.cc_projection.weight"
LORA = f"down_blocks.0.motion_modules.0.{ATTENTION}.processor.to_q_lora.down.weight"
ADAPTER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight"
CHECKPOINT = "model.diffusion_model.input_blocks.0.0.weight"


def test_the_two_that_run() -> None:
    assert recognise(animatediff(mid=True)) == "v2"
    assert recognise(animatediff()) == "v3"
    assert recognise(animatediff(mid=True, positions=64)) == "v2"  # a fine-tune for longer clips


@pytest.mark.parametrize(
    ("shapes", "kind"),
    [
        (animatediff(positions=24), "AnimateDiff version 1"),
        (animatediff(levels=3), "AnimateDiff for SDXL"),
        (animatediff(positions=None), "AnimateLCM"),
        ({HOTSHOT: (1, 24, 320)}, "HotShot-XL"),
        ({**animatediff(), "conv_in.weight": (320, 9, 3, 3)}, "PIA"),
        ({**animatediff(positions=None), "img_encoder.conv_in.weight": (320, 4, 3, 3)}, "AnimateLCM-I2V"),
        ({**animatediff(), CAMERA: (320, 320)}, "CameraCtrl"),
        ({"encoder_down_conv_blocks.0.0.block1.weight": (320, 320, 3, 3)}, "CameraCtrl"),
        ({**animatediff(), MOTIONCTRL: (320, 332)}, "MotionCtrl"),
        ({**animatediff(), "fps_embedding.linear.weight": (1280, 1)}, "FancyVideo"),
        ({HELLOMEME: (1, 64, 320)}, "HelloMeme"),
        ({LORA: (4, 320)}, "a motion LoRA"),
        ({**animatediff(), "controlnet_down_blocks.0.weight": (320, 320, 1, 1)}, "SparseCtrl"),
    ],
)
def test_the_others_are_refused_by_name(shapes: dict, kind: str) -> None:
    with pytest.raises(InputError, match=f"this is {kind}") as refused:
        recognise(shapes)
    assert refused.value.name == "motion_model"
    assert "AnimateDiff-Evolved" in refused.value.mend


def test_a_file_of_something_else_is_refused() -> None:
    with pytest.raises(InputError, match="no motion model"):
        recognise({CHECKPOINT: (320, 4, 3, 3)})
    for key in (ADAPTER, "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"):
        with pytest.raises(InputError, match="this is a LoRA"):
            recognise({key: (4, 320)})


def test_what_training_leaves_in_a_file_is_dropped() -> None:
    key = f"down_blocks.0.motion_modules.0.{ATTENTION}.to_q.weight"
    saved = {f"module.{key}": torch.ones(1), "epoch": 3, "module.conv_out.bias": torch.ones(1)}
    assert motion_modules(saved) == {key: torch.ones(1)}
    assert list(plain_keys(saved)) == [key, "epoch", "conv_out.bias"]
