"""Learning and using a motion on LTX-Video in the real host, on a small random model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests import small_ltxv
from tests.joint_rig import FRAMES, first_draw
from tests.small_ltxv import LAYERS, guided

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def ltxv(comfy, pack):
    return small_ltxv.joint(pack)


@pytest.mark.parametrize("checkpointing", ["none", "all"])
def test_the_loss_falls_and_every_layer_learns(ltxv, checkpointing) -> None:
    before = ltxv.state()
    trained = ltxv.train(steps=30, start_percent=0.4, end_percent=0.6, checkpointing=checkpointing)
    assert np.mean(trained.losses[-8:]) < 0.97 * np.mean(trained.losses[:8])
    embedding = trained.embedding
    assert (embedding.backbone, embedding.prediction, list(embedding.layers)) == ("ltxv", "flow", LAYERS)
    for layer in embedding.layers.values():
        assert layer.query_key.abs().amax(1).min() > 0
        assert layer.value["attn1"].abs().amax(-1).min() > 0
        assert layer.value["attn1"].shape == (ltxv.height, ltxv.width, FRAMES, small_ltxv.HIDDEN)
    ltxv.assert_unchanged(before)


def shifted(percent: float) -> float:
    """The host's noise levels of LTX-Video: a flow's time, shifted by exp(2.37)."""
    time = 1 - percent
    return math.exp(2.37) / (math.exp(2.37) + 1 / time - 1)


def test_the_loss_is_that_of_the_flow(ltxv) -> None:
    """At the first step nothing is learnt: the loss is the network's own error, its velocity being noise - clip."""
    trained = ltxv.train(steps=1, start_percent=0.3, end_percent=0.7)
    percent, noise = first_draw(ltxv.clip(), 0.3, 0.7)
    time, clip = shifted(percent), ltxv.clip()
    noisy = (1 - time) * clip + time * noise
    with torch.inference_mode():
        said = ltxv.model.model.diffusion_model(noisy, torch.tensor([time]), ltxv.positive[0][0], small_ltxv.MASK)
    assert trained.losses[0] == pytest.approx((said - (noise - clip)).square().mean().item(), rel=1e-4)


@pytest.mark.parametrize("cfg", [1.0, 2.5])
def test_a_zero_motion_changes_no_bit_and_another_does_what_it_says(ltxv, cfg) -> None:
    before, plain = ltxv.state(), ltxv.sample(cfg=cfg)
    assert torch.equal(ltxv.sample(ltxv.apply(ltxv.motion(0.0)), cfg=cfg), plain)
    motion = ltxv.motion()
    with ltxv.by_hand(motion):
        expected = ltxv.sample(cfg=cfg)
    assert (expected - plain).abs().max() > 1e-2
    for _ in range(2):  # the second time with all prepared
        assert torch.allclose(ltxv.sample(ltxv.apply(motion), cfg=cfg), expected, atol=1e-4)
    assert torch.equal(ltxv.sample(cfg=cfg), plain)
    ltxv.assert_unchanged(before)


@pytest.mark.parametrize(("frames", "index"), [(1, 0), (1, -1), (2, 8)])
@pytest.mark.parametrize("cfg", [1.0, 2.5])
def test_guides_are_never_touched_in_sampling(ltxv, frames, index, cfg) -> None:
    """They are the last frames of the latent; the motion is of those before."""
    positive, negative, latent = guided(ltxv, torch.zeros_like(ltxv.clip()), frames, index)
    assert latent["samples"].shape[2] == FRAMES + frames
    motion, prompts = ltxv.motion(), {"positive": positive, "negative": negative, "cfg": cfg, "latent": latent}
    plain, ltxv.after = ltxv.sample(**prompts), dict.fromkeys(LAYERS, frames * ltxv.rows * ltxv.columns)
    try:
        with ltxv.by_hand(motion):
            expected = ltxv.sample(**prompts)
    finally:
        ltxv.after = {}
    assert (expected - plain)[:, :, :FRAMES].abs().max() > 1e-2
    assert torch.allclose(ltxv.sample(ltxv.apply(motion), **prompts), expected, atol=1e-4)


@pytest.mark.parametrize("projection", range(3), ids=["query", "key", "value"])
def test_guides_are_never_touched_in_training(ltxv, projection) -> None:
    """What a projection gives for their tokens is what its weights say of them alone."""
    positive, _, latent = guided(ltxv, ltxv.clip())
    changed = []

    def note(module, inputs, output) -> None:
        plain = torch.nn.functional.linear(inputs[0], module.weight, module.bias)
        changed.append(((output - plain).detach()[0].abs() > 1e-5).any(1))

    hook = ltxv.split[LAYERS[1]][projection].register_forward_hook(note)
    try:
        trained = ltxv.train(positive, steps=2, latent=latent)
    finally:
        hook.remove()
    assert trained.embedding.frames == FRAMES
    expected = torch.tensor([True] * ltxv.tokens + [False] * ltxv.rows * ltxv.columns)
    assert torch.equal(changed[-1], expected)


def test_what_the_noise_mask_keeps_is_clean_in_training(ltxv) -> None:
    """As in sampling: a guide at level 0, told so token by token, and no loss where nothing is to be predicted."""
    positive, _, latent = guided(ltxv, ltxv.clip())
    trained = ltxv.train(positive, latent=latent, steps=1, start_percent=0.3, end_percent=0.7)
    clip, mask = latent["samples"], torch.tensor([1.0, 1, 1, 0]).view(1, 1, 4, 1, 1)
    percent, noise = first_draw(clip, 0.3, 0.7)
    time = shifted(percent)
    noisy = torch.where(mask > 0, (1 - time) * clip + time * noise, clip)
    levels = (mask * time).expand(1, 1, 4, ltxv.height, ltxv.width).reshape(1, -1, 1)
    context, settings = positive[0]
    with torch.inference_mode():
        said = ltxv.model.model.diffusion_model(
            noisy, levels, context, small_ltxv.MASK, keyframe_idxs=settings["keyframe_idxs"]
        )
    error = (said - (noise - clip))[:, :, :FRAMES].square().mean().item()
    assert trained.losses[0] == pytest.approx(error, rel=1e-4)


def test_two_motions_over_a_lora_on_the_same_layers(ltxv) -> None:
    import comfy.sd

    generator, width, lora = torch.Generator().manual_seed(11), small_ltxv.HIDDEN, {}
    for name in ("to_q", "to_k", "to_v"):
        key = f"diffusion_model.{LAYERS[1]}.attn1.{name}"
        lora[f"{key}.lora_down.weight"] = torch.randn(4, width, generator=generator) * 0.1
        lora[f"{key}.lora_up.weight"] = torch.randn(width, 4, generator=generator)
    with torch.inference_mode():
        changed = comfy.sd.load_lora_for_models(ltxv.model, None, lora, 1.0, 0.0)[0]
    one, other = ltxv.motion(), ltxv.motion(0.3, LAYERS[1:3])
    with ltxv.by_hand(one), ltxv.by_hand(other):
        expected, without = ltxv.sample(changed), ltxv.sample()
    assert (expected - without).abs().max() > 1e-2
    assert torch.allclose(ltxv.sample(ltxv.apply(other, ltxv.apply(one, changed))), expected, atol=1e-4)


def test_a_context_window_that_reaches_into_the_guides(ltxv) -> None:
    """The last two of eight frames are guides; of the window, the first three frames are the clip's."""
    calls, family = ltxv.part("backbones.base"), ltxv.part("backbones.ltxv").LTXV()
    guides = {"keyframe_idxs": torch.zeros(1, 3, 2 * 4 * 3)}
    call = calls.Call(frames=5, height=4, width=3).within((3, 4, 5, 6, 7), 8)
    cut = family.extended(call, None, guides)
    assert (cut.frames, cut.window, cut.length) == (3, (3, 4, 5), 6)
    assert family.extended(calls.Call(frames=8, height=4, width=3), None, guides).frames == 6
    assert family.extended(call, None, {}) is call
