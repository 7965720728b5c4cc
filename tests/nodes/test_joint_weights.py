"""Video transformers with weights of fewer bits, and with weights that the host keeps away from the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import small_hunyuan, small_ltxv, small_wan

pytestmark = pytest.mark.host
SMALL = {"Wan": small_wan, "LTX-Video": small_ltxv, "HunyuanVideo": small_hunyuan}
FAMILY = pytest.mark.parametrize("family", list(SMALL))
FP8 = {"fp8_e4m3fn": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2}
HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


def check(joint, close: float = 1e-4) -> None:
    """It trains in float32 whatever the model is in, and samples as by hand. close: in parts of what motion changes."""
    before = joint.state()
    trained = joint.train(steps=30, start_percent=0.4, end_percent=0.6)
    assert np.mean(trained.losses[-8:]) < 0.97 * np.mean(trained.losses[:8])
    for learnt in trained.embedding.layers.values():
        assert learnt.query_key.dtype == torch.float32 and learnt.query_key.abs().amax(1).min() > 0
    motion, plain = joint.motion(3.0), joint.sample()
    with joint.by_hand(motion):
        expected = joint.sample()
    change = (expected - plain).abs().max()
    assert change > 1e-2
    assert (joint.sample(joint.apply(motion)) - expected).abs().max() < close * change
    assert torch.equal(joint.sample(joint.apply(joint.motion(0.0))), plain)
    joint.assert_unchanged(before)


@FAMILY
@pytest.mark.parametrize("weight_dtype", list(FP8))
def test_the_loaders_fp8(comfy, pack, family, weight_dtype) -> None:
    """The model computes in float32 here, on the CPU."""
    joint = SMALL[family].joint(pack, weight_dtype=weight_dtype)
    assert joint.value_of(joint.layers[1]).weight.dtype == FP8[weight_dtype]
    check(joint)


@FAMILY
@pytest.mark.parametrize("half", list(HALF))
@pytest.mark.parametrize("computes", [False, True], ids=["kept in", "computed in"])
def test_half_precision(comfy, pack, family, half, computes, monkeypatch) -> None:
    """As the host's option for it does; on the CPU the host computes in float32, unless made to believe otherwise."""
    import comfy.model_management as management
    from comfy.cli_args import args

    monkeypatch.setattr(args, f"{half}_unet", True)
    if computes:
        monkeypatch.setattr(management, f"should_use_{half}", lambda *args, **more: True)
    joint = SMALL[family].joint(pack, saved=HALF[half])
    assert joint.value_of(joint.layers[1]).weight.dtype == HALF[half]
    assert joint.model.model.manual_cast_dtype == (None if computes else torch.float32)
    check(joint, close={"fp16": 0.03, "bf16": 0.1}[half] if computes else 1e-4)


def test_fp8_computed_in_fp16_has_its_loss_scaled(comfy, pack, monkeypatch) -> None:
    """What the host makes of a Wan in fp8 on most GPUs: small gradients would be lost."""
    import comfy.model_management as management

    scaled = []

    class Scaler(torch.amp.GradScaler):
        def __init__(self, device: str, enabled: bool) -> None:
            scaled.append(enabled)
            super().__init__(device, enabled=enabled)

    monkeypatch.setattr(management, "should_use_fp16", lambda *args, **more: True)
    monkeypatch.setattr(torch.amp, "GradScaler", Scaler)
    joint = small_wan.joint(pack, weight_dtype="fp8_e4m3fn")
    assert joint.model.model.manual_cast_dtype == torch.float16
    check(joint, close=0.03)
    assert scaled == [True]


@FAMILY
def test_weights_kept_away_from_the_device(comfy, pack, family, monkeypatch) -> None:
    """The host then casts every weight where it is used; the results are those of a model that is all there."""
    import comfy.model_management as management

    joint = SMALL[family].joint(pack)
    motion, settings = joint.motion(), {"steps": 4, "start_percent": 0.4, "end_percent": 0.6}
    sampled, trained = joint.sample(joint.apply(motion)), joint.train(**settings)
    management.unload_all_models()
    monkeypatch.setattr(management, "is_device_cpu", lambda device: False)
    monkeypatch.setattr(management, "vram_state", management.VRAMState.NO_VRAM)
    value, casts = joint.value_of(joint.layers[1]), []
    hook = value.register_forward_pre_hook(lambda module, inputs: casts.append(module.comfy_cast_weights))
    try:
        again = joint.sample(joint.apply(motion))
        learnt = joint.train(**settings)
    finally:
        hook.remove()
        management.unload_all_models()
    assert casts and all(casts)
    assert torch.allclose(again, sampled, atol=1e-5)
    assert learnt.losses == pytest.approx(trained.losses, rel=1e-4)
