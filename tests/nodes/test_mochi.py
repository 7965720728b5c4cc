"""Learning and using a motion on Mochi in the real host, on a small random model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import small_mochi
from tests.joint_rig import FRAMES, first_draw

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def mochi(comfy, pack):
    return small_mochi.joint(pack)


@pytest.mark.parametrize("checkpointing", ["none", "all"])
def test_the_loss_falls_and_every_layer_learns(mochi, checkpointing) -> None:
    before = mochi.state()
    trained = mochi.train(
        steps=30, learning_rate=0.4, start_percent=0.45, end_percent=0.55, checkpointing=checkpointing
    )
    assert np.mean(trained.losses[-8:]) < 0.97 * np.mean(trained.losses[:8])
    embedding = trained.embedding
    assert (embedding.backbone, embedding.prediction) == ("mochi", "flow")
    assert list(embedding.layers) == small_mochi.LAYERS
    for layer in embedding.layers.values():
        assert layer.query_key.abs().amax(1).min() > 0
        assert layer.value["attn"].abs().amax(-1).min() > 0
        assert layer.value["attn"].shape == (4, 3, FRAMES, small_mochi.HIDDEN)
    mochi.assert_unchanged(before)


def test_the_loss_is_that_of_the_flow(mochi) -> None:
    """At the first step nothing is learnt: the loss is the network's own error, its velocity being noise - clip."""
    trained = mochi.train(steps=1, start_percent=0.3, end_percent=0.7)
    clip = mochi.model.model.process_latent_in(mochi.clip())
    percent, noise = first_draw(clip, 0.3, 0.7)
    time = 6 * (1 - percent) / (1 + 5 * (1 - percent))  # shifted by 6
    context, settings = mochi.positive[0]
    with torch.inference_mode():
        said = mochi.model.model.diffusion_model(
            (1 - time) * clip + time * noise,
            torch.tensor([time]),
            context=context,
            attention_mask=settings["attention_mask"],
            num_tokens=4,
        )
    assert trained.losses[0] == pytest.approx((said - (noise - clip)).square().mean().item(), rel=1e-4)


@pytest.mark.parametrize("cfg", [1.0, 2.5])
def test_a_zero_motion_changes_no_bit_and_another_does_what_it_says(mochi, cfg) -> None:
    before, plain = mochi.state(), mochi.sample(cfg=cfg)
    assert torch.equal(mochi.sample(mochi.apply(mochi.motion(0.0)), cfg=cfg), plain)
    motion = mochi.motion()
    with mochi.by_hand(motion):
        expected = mochi.sample(cfg=cfg)
    assert (expected - plain).abs().max() > 1e-2
    assert torch.allclose(mochi.sample(mochi.apply(motion), cfg=cfg), expected, atol=1e-4)
    assert torch.equal(mochi.sample(cfg=cfg), plain)
    mochi.assert_unchanged(before)


def test_the_texts_projection_is_not_touched(mochi) -> None:
    seen, motion = [], mochi.motion(layers=["blocks.1"])
    attention = mochi.model.model.diffusion_model.blocks[1].attn
    modules = (attention.qkv_x, attention.qkv_y)
    hooks = [m.register_forward_hook(lambda m, inputs, output: seen.append(output.clone())) for m in modules]
    try:
        for model in (mochi.model, mochi.apply(motion)):
            mochi.sample(model, cfg=1.0, steps=1)
    finally:
        for hook in hooks:
            hook.remove()
    text, clip, text_with, clip_with = seen
    assert torch.equal(text, text_with)
    assert not (clip == clip_with).all(-1).any()


def test_a_lora_on_the_fused_projection(mochi) -> None:
    import comfy.sd

    generator, width = torch.Generator().manual_seed(11), small_mochi.HIDDEN
    lora = {
        "diffusion_model.blocks.1.attn.qkv_x.lora_down.weight": torch.randn(4, width, generator=generator) * 0.1,
        "diffusion_model.blocks.1.attn.qkv_x.lora_up.weight": torch.randn(3 * width, 4, generator=generator),
    }
    with torch.inference_mode():
        changed = comfy.sd.load_lora_for_models(mochi.model, None, lora, 1.0, 0.0)[0]
    motion = mochi.motion()
    with mochi.by_hand(motion):
        expected, without = mochi.sample(changed), mochi.sample()
    assert (expected - without).abs().max() > 1e-3
    assert torch.allclose(mochi.sample(mochi.apply(motion, changed)), expected, atol=1e-4)
