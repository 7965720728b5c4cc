"""Learning and using a motion on HunyuanVideo and 1.5 in the real host, on small random models."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import small_hunyuan
from tests.joint_rig import FRAMES, first_draw

pytestmark = pytest.mark.host
BOTH = pytest.mark.parametrize("version", ["1", "1.5"])


@pytest.fixture(scope="module")
def models(comfy, pack):
    return {version: small_hunyuan.joint(pack, version) for version in ("1", "1.5")}


@pytest.fixture
def hunyuan(models, version):
    return models[version]


@pytest.fixture
def first(models):
    return models["1"]


@pytest.mark.parametrize(("version", "checkpointing"), [("1", "none"), ("1", "all"), ("1.5", "none")])
def test_the_loss_falls_and_every_layer_learns(hunyuan, version, checkpointing) -> None:
    before = hunyuan.state()
    trained = hunyuan.train(steps=30, start_percent=0.4, end_percent=0.6, checkpointing=checkpointing)
    assert np.mean(trained.losses[-8:]) < 0.97 * np.mean(trained.losses[:8])
    embedding = trained.embedding
    assert embedding.backbone == {"1": "hunyuan_video", "1.5": "hunyuan_video_15"}[version]
    assert (embedding.prediction, list(embedding.layers)) == ("flow", small_hunyuan.LAYERS)
    for layer in embedding.layers.values():
        assert layer.query_key.abs().amax(1).min() > 0
        assert layer.value["attn"].abs().amax(-1).min() > 0
        assert layer.value["attn"].shape == (hunyuan.rows, hunyuan.columns, FRAMES, small_hunyuan.HIDDEN)
    hunyuan.assert_unchanged(before)


def shifted(percent: float) -> float:
    """The host's noise levels of HunyuanVideo: a flow's time, shifted by 7."""
    time = 1 - percent
    return 7 * time / (1 + 6 * time)


@BOTH
def test_the_loss_is_that_of_the_flow(hunyuan, version) -> None:
    """At the first step nothing is learnt: the loss is the network's own error, its velocity being noise - clip."""
    trained = hunyuan.train(steps=1, start_percent=0.3, end_percent=0.7)
    clip = hunyuan.clip() * {"1": 0.476986, "1.5": 1.03682}[version]
    percent, noise = first_draw(clip, 0.3, 0.7)
    time = shifted(percent)
    context, settings = hunyuan.positive[0]
    noisy = (1 - time) * clip + time * noise
    said_of = {"y": settings["pooled_output"], "guidance": torch.tensor([6.0])}
    if version == "1.5":
        noisy, said_of = torch.cat([noisy, torch.zeros_like(clip), torch.zeros_like(clip[:, :1])], 1), {}
    with torch.inference_mode():
        said = hunyuan.model.model.diffusion_model(noisy, torch.tensor([1000 * time]), context=context, **said_of)
    assert trained.losses[0] == pytest.approx((said - (noise - clip)).square().mean().item(), rel=1e-4)


@BOTH
@pytest.mark.parametrize("cfg", [1.0, 2.5])
def test_a_zero_motion_changes_no_bit_and_another_does_what_it_says(hunyuan, cfg) -> None:
    before, plain = hunyuan.state(), hunyuan.sample(cfg=cfg)
    assert torch.equal(hunyuan.sample(hunyuan.apply(hunyuan.motion(0.0)), cfg=cfg), plain)
    motion = hunyuan.motion()
    with hunyuan.by_hand(motion):
        expected = hunyuan.sample(cfg=cfg)
    assert (expected - plain).abs().max() > 1e-2
    for _ in range(2):  # the second time with all prepared
        assert torch.allclose(hunyuan.sample(hunyuan.apply(motion), cfg=cfg), expected, atol=1e-4)
    assert torch.equal(hunyuan.sample(cfg=cfg), plain)
    hunyuan.assert_unchanged(before)


def reference(frames: int = 1) -> torch.Tensor:
    return torch.randn(1, 16, frames, 8, 6, generator=torch.Generator().manual_seed(9))


def with_(conditioning: list, **settings) -> list:
    return [[conditioning[0][0], {**conditioning[0][1], **settings}]]


@pytest.mark.parametrize("cfg", [1.0, 2.5])
@pytest.mark.parametrize("frames", [1, 2])
def test_tokens_of_a_reference_picture_come_first(first, cfg, frames) -> None:
    """Of one prompt: the host cannot run two of them at once."""
    prompts, motion = {"positive": with_(first.positive, ref_latent=reference(frames)), "cfg": cfg}, first.motion()
    plain = first.sample(**prompts)
    assert not torch.allclose(plain, first.sample(cfg=cfg), atol=1e-2)
    with first.by_hand(motion):
        expected = first.sample(**prompts)
    assert (expected - plain).abs().max() > 1e-2
    assert torch.allclose(first.sample(first.apply(motion), **prompts), expected, atol=1e-4)


@pytest.mark.parametrize("layer", small_hunyuan.LAYERS)
def test_tokens_of_text_and_reference_are_never_touched(first, layer) -> None:
    seen, motion = [], first.motion(layers=[layer])
    hook = first.fused[layer].register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
    prompts = {"positive": with_(first.positive, ref_latent=reference()), "cfg": 1.0, "steps": 1}
    try:
        first.sample(**prompts)
        first.sample(first.apply(motion), **prompts)
    finally:
        hook.remove()
    plain, moved = (output[0] for output in seen)
    text = 5 if layer.startswith("single") else 0
    assert len(plain) == 12 + first.tokens + text
    same, width = (plain == moved), small_hunyuan.HIDDEN
    assert same[:12].all() and same[12 + first.tokens :].all()
    assert not same[12 : 12 + first.tokens, : 3 * width].all(1).any()
    assert same[:, 3 * width :].all(), "what else linear1 gives is not of the attention"


def test_a_guiding_frame_is_of_the_clip(first) -> None:
    """The host then modulates the first frame's tokens apart, in place, and can do so for one prompt at a time."""
    positive = with_(first.positive, guiding_frame_index=0)
    before, motion = first.state(), first.motion()
    with first.by_hand(motion):
        expected, unguided = first.sample(positive=positive), first.sample()
    assert not torch.allclose(expected, unguided, atol=1e-2)
    assert torch.allclose(first.sample(first.apply(motion), positive=positive), expected, atol=1e-4)
    mask = torch.tensor([0.0, 1, 1]).view(1, 1, 3, 1, 1)
    trained = first.train(positive, {"samples": first.clip(), "noise_mask": mask.expand(-1, -1, -1, 8, 6)})
    clip = first.clip() * 0.476986
    percent, noise = first_draw(clip, 0, 1)
    time = shifted(percent)
    context, settings = positive[0]
    with torch.inference_mode():
        said = first.model.model.diffusion_model(
            torch.where(mask > 0, (1 - time) * clip + time * noise, clip),
            torch.tensor([1000 * time]),
            context=context,
            y=settings["pooled_output"],
            guidance=torch.tensor([6.0]),
            guiding_frame_index=torch.zeros(1),
        )
    error = (said - (noise - clip)) * mask
    assert trained.losses[0] == pytest.approx(error.square().mean().item(), rel=1e-4)
    first.assert_unchanged(before)


def test_a_reference_picture_in_training(first) -> None:
    plain = first.train(steps=1).losses
    trained = first.train(with_(first.positive, ref_latent=reference()), steps=3)
    assert trained.losses[:1] != plain
    assert trained.embedding.layers["single_blocks.1"].value["attn"].abs().amax(-1).min() > 0


@pytest.mark.parametrize("channels", [32, 33], ids=["SkyReels", "concatenated picture"])
def test_models_that_see_a_picture_beside_the_noise(pack, comfy, channels) -> None:
    model = small_hunyuan.joint(pack, in_channels=channels)
    picture = {
        "concat_latent_image": reference(),
        "concat_mask": torch.tensor([0.0, 1, 1]).view(1, 1, 3, 1, 1).expand(-1, -1, -1, 8, 6),
    }
    positive, negative = (with_(c, **picture) for c in (model.positive, model.negative))
    motion, prompts = model.motion(), {"positive": positive, "negative": negative}
    with model.by_hand(motion):
        expected = model.sample(**prompts)
    assert (expected - model.sample(**prompts)).abs().max() > 1e-2
    assert torch.allclose(model.sample(model.apply(motion), **prompts), expected, atol=1e-4)
    assert all(np.isfinite(model.train(positive, steps=2).losses))


def test_a_picture_among_the_text_of_1_5(models) -> None:
    """Its tokens come before the text's, after the clip's."""
    from types import SimpleNamespace

    model = models["1.5"]
    seen = torch.randn(1, 4, small_hunyuan.VISION, generator=torch.Generator().manual_seed(10))
    positive = with_(model.positive, clip_vision_output=SimpleNamespace(last_hidden_state=seen))
    motion, prompts = model.motion(), {"positive": positive, "cfg": 1.0}
    after, model.after = model.after, {layer: count + 4 for layer, count in model.after.items()}
    try:
        with model.by_hand(motion):
            expected = model.sample(**prompts)
    finally:
        model.after = after
    assert not torch.allclose(expected, model.sample(model.apply(motion), cfg=1.0), atol=1e-2)
    assert torch.allclose(model.sample(model.apply(motion), **prompts), expected, atol=1e-4)


@BOTH
def test_a_lora_on_the_fused_projections(hunyuan) -> None:
    import comfy.sd

    generator, width, lora = torch.Generator().manual_seed(11), small_hunyuan.HIDDEN, {}
    for name, module in [("double_blocks.1.img_attn.qkv", 3 * width), ("single_blocks.0.linear1", 7 * width)]:
        lora[f"diffusion_model.{name}.lora_down.weight"] = torch.randn(4, width, generator=generator) * 0.1
        lora[f"diffusion_model.{name}.lora_up.weight"] = torch.randn(module, 4, generator=generator)
    with torch.inference_mode():
        changed = comfy.sd.load_lora_for_models(hunyuan.model, None, lora, 1.0, 0.0)[0]
    motion = hunyuan.motion()
    with hunyuan.by_hand(motion):
        expected, without = hunyuan.sample(changed), hunyuan.sample()
    assert (expected - without).abs().max() > 1e-2
    assert torch.allclose(hunyuan.sample(hunyuan.apply(motion, changed)), expected, atol=1e-4)


def test_one_versions_motions_are_refused_by_the_other(models) -> None:
    error = models["1"].part("errors").InputError
    with pytest.raises(error, match=r"kind of model \(HunyuanVideo\) than the connected one \(HunyuanVideo 1.5\)"):
        models["1.5"].apply(models["1"].motion())
