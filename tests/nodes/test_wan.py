"""Learning and using a motion on Wan 2.1 and 2.2 in the real host, on small random models."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import small_wan
from tests.joint_rig import FRAMES, first_draw
from tests.nodes.test_context_windows import LENGTH, SCHEDULES, Windows, windowed
from tests.small_wan import LAYERS, picture, started, with_

pytestmark = pytest.mark.host
EVERY = pytest.mark.parametrize("variant", list(small_wan.VARIANTS))


@pytest.fixture(scope="module")
def models(comfy, pack):
    return {variant: small_wan.joint(pack, variant) for variant in small_wan.VARIANTS}


@pytest.fixture
def wan(models, variant):
    return models[variant]


@pytest.fixture
def first(models):
    return models["2.1 T2V"]


@pytest.fixture
def control(models):
    return models["2.1 control"]


def prompts_of(wan, variant: str) -> tuple[list, list]:
    return started(wan, wan.clip()) if "I2V" in variant else (wan.positive, wan.negative)


@EVERY
def test_the_loss_falls_and_every_layer_learns(wan, variant) -> None:
    before, (positive, _) = wan.state(), prompts_of(wan, variant)
    trained = wan.train(positive, steps=30, start_percent=0.4, end_percent=0.6)
    assert np.mean(trained.losses[-8:]) < 0.97 * np.mean(trained.losses[:8])
    embedding = trained.embedding
    assert (embedding.backbone, embedding.prediction, list(embedding.layers)) == ("wan", "flow", LAYERS)
    for layer in embedding.layers.values():
        assert layer.query_key.dtype == torch.float32
        assert layer.query_key.abs().amax(1).min() > 0
        assert layer.value["self_attn"].abs().amax(-1).min() > 0
        assert layer.value["self_attn"].shape == (wan.rows, wan.columns, FRAMES, small_wan.HIDDEN)
    wan.assert_unchanged(before)


def shifted(percent: float) -> float:
    """The host's noise levels of Wan: a flow's time, shifted by 8."""
    time = 1 - percent
    return 8 * time / (1 + 7 * time)


@EVERY
def test_the_loss_is_that_of_the_flow(wan, variant) -> None:
    """At the first step nothing is learnt: the loss is the network's own error, its velocity being noise - clip."""
    import comfy.latent_formats as formats

    form = formats.Wan22() if variant == "2.2 5B" else formats.Wan21()
    mean, std = (torch.as_tensor(t).flatten().view(1, -1, 1, 1, 1) for t in (form.latents_mean, form.latents_std))
    positive, _ = prompts_of(wan, variant)
    trained = wan.train(positive, steps=1, start_percent=0.3, end_percent=0.7)
    clip = (wan.clip() - mean) / std
    percent, noise = first_draw(clip, 0.3, 0.7)
    time = shifted(percent)
    context, settings = positive[0]
    seen = (1 - time) * clip + time * noise
    if "I2V" in variant:  # what is known of the picture: 1 where it is, and the picture
        known = torch.zeros(1, 4, *clip.shape[2:])
        known[:, :, 0] = 1
        seen = torch.cat([seen, known, (settings["concat_latent_image"] - mean) / std], 1)
    elif variant == "2.1 control":
        seen = torch.cat([seen, torch.zeros_like(clip), torch.zeros_like(clip)], 1)
    with torch.inference_mode():
        said = wan.model.model.diffusion_model(seen, torch.tensor([1000 * time]), context=context)
    assert trained.losses[0] == pytest.approx((said - (noise - clip)).square().mean().item(), rel=1e-4)


@EVERY
@pytest.mark.parametrize("cfg", [1.0, 2.5])
def test_a_zero_motion_changes_no_bit_and_another_does_what_it_says(wan, variant, cfg) -> None:
    positive, negative = prompts_of(wan, variant)
    prompts = {"positive": positive, "negative": negative, "cfg": cfg}
    before, plain = wan.state(), wan.sample(**prompts)
    assert torch.equal(wan.sample(wan.apply(wan.motion(0.0)), **prompts), plain)
    motion = wan.motion()
    with wan.by_hand(motion):
        expected = wan.sample(**prompts)
    assert (expected - plain).abs().max() > 1e-2
    for _ in range(2):  # the second time with all prepared
        assert torch.allclose(wan.sample(wan.apply(motion), **prompts), expected, atol=1e-4)
    assert torch.equal(wan.sample(**prompts), plain)
    wan.assert_unchanged(before)


def reference(wan, seed: int = 9) -> dict[str, list]:
    """Both prompts with a reference picture."""
    given = {"reference_latents": [picture(1, seed)]}
    return {"positive": with_(wan.positive, **given), "negative": with_(wan.negative, **given)}


@pytest.mark.parametrize("cfg", [1.0, 2.5])
@pytest.mark.parametrize("both", [True, False], ids=["both prompts", "positive only"])
def test_tokens_of_a_reference_picture_come_first(control, cfg, both) -> None:
    prompts, motion = {**reference(control), "cfg": cfg}, control.motion()
    if not both:
        prompts["negative"] = control.negative
    plain = control.sample(**prompts)
    assert not torch.allclose(plain, control.sample(cfg=cfg), atol=1e-2)
    with control.by_hand(motion):
        expected = control.sample(**prompts)
    assert (expected - plain).abs().max() > 1e-2
    assert torch.allclose(control.sample(control.apply(motion), **prompts), expected, atol=1e-4)


@pytest.mark.parametrize("cfg", [1.0, 2.5])
def test_appended_frames_come_last(first, cfg) -> None:
    """As Phantom's node appends its subjects."""
    motion, given = first.motion(), {"time_dim_concat": picture(2)}
    prompts = {"positive": with_(first.positive, **given), "negative": with_(first.negative, **given), "cfg": cfg}
    plain, first.after = first.sample(**prompts), dict.fromkeys(first.layers, 2 * first.rows * first.columns)
    try:
        with first.by_hand(motion):
            expected = first.sample(**prompts)
    finally:
        first.after = {}
    assert not torch.allclose(plain, first.sample(cfg=cfg), atol=1e-2)
    assert (expected - plain).abs().max() > 1e-2
    assert torch.allclose(first.sample(first.apply(motion), **prompts), expected, atol=1e-4)


@pytest.mark.parametrize("projection", range(3), ids=["query", "key", "value"])
@pytest.mark.parametrize(("extra", "before", "after"), [("reference", 12, 0), ("appended", 0, 24)])
def test_what_is_not_the_clips_is_never_touched(first, control, extra, before, after, projection) -> None:
    """In sampling and in training: what a projection gives for tokens is what its weights say of them alone."""
    wan = control if extra == "reference" else first
    appended = with_(wan.positive, time_dim_concat=picture(2))
    positive = reference(wan)["positive"] if extra == "reference" else appended
    changed = []

    def note(module, inputs, output) -> None:
        plain = torch.nn.functional.linear(inputs[0], module.weight, module.bias)
        changed.append(((output - plain).detach()[0].abs() > 1e-5).any(1))

    hook = wan.split[LAYERS[1]][projection].register_forward_hook(note)
    try:
        wan.sample(wan.apply(wan.motion()), positive=positive, cfg=1.0, steps=1)
        wan.train(positive, steps=2)
    finally:
        hook.remove()
    sampled, probe, first_step, second_step = changed
    expected = torch.tensor([False] * before + [True] * wan.tokens + [False] * after)
    assert torch.equal(sampled, expected) and torch.equal(second_step, expected)
    assert not probe.any() and not first_step.any()


def test_a_reference_picture_in_training(control) -> None:
    trained = control.train(reference(control)["positive"], steps=3)
    assert trained.losses[0] != control.train(steps=1).losses[0]
    assert trained.embedding.layers[LAYERS[-1]].value["self_attn"].abs().amax(-1).min() > 0


def test_two_motions_add_up(first) -> None:
    one, other = first.motion(), first.motion(0.3, LAYERS[1:3])
    with first.by_hand(one), first.by_hand(other):
        expected = first.sample()
    assert torch.allclose(first.sample(first.apply(other, first.apply(one))), expected, atol=1e-4)


def test_a_lora_on_the_same_layers(first) -> None:
    import comfy.sd

    generator, width, lora = torch.Generator().manual_seed(11), small_wan.HIDDEN, {}
    for name in ("blocks.1.self_attn.q", "blocks.2.self_attn.k", "blocks.2.self_attn.v"):
        lora[f"diffusion_model.{name}.lora_down.weight"] = torch.randn(4, width, generator=generator) * 0.1
        lora[f"diffusion_model.{name}.lora_up.weight"] = torch.randn(width, 4, generator=generator)
    with torch.inference_mode():
        changed = comfy.sd.load_lora_for_models(first.model, None, lora, 1.0, 0.0)[0]
    motion = first.motion()
    with first.by_hand(motion):
        expected, without = first.sample(changed), first.sample()
    assert (expected - without).abs().max() > 1e-2
    assert torch.allclose(first.sample(first.apply(motion, changed)), expected, atol=1e-4)


@pytest.mark.parametrize("variant", ["2.1 I2V", "2.2 I2V"])
def test_a_model_that_starts_from_a_picture_needs_one(wan, variant) -> None:
    clip = wan.clip()
    short = picture(FRAMES - 1)
    whole = {"concat_latent_image": clip, "concat_mask": torch.zeros(1, 1, *clip.shape[2:])}
    refused = {
        "holds no picture.*WanImageToVideo": wan.positive,
        "2 frames of 6x8.*hold 3 of 6x8": with_(wan.positive, concat_latent_image=short),
        "the whole clip": with_(wan.positive, **whole),
    }
    for message, positive in refused.items():
        with pytest.raises(wan.part("errors").InputError, match=f"^positive: .*{message}"):
            wan.train(positive)


def test_a_picture_that_is_not_the_clips_first_is_told_of(models) -> None:
    wan = models["2.1 I2V"]
    check = wan.part("backbones.wan").Wan().check_conditioning
    network, clip = wan.model.model.diffusion_model, wan.clip()
    assert check(network, started(wan, clip)[0], clip, None) is None
    assert "differs from the first frame" in check(network, started(wan, wan.clip(4))[0], clip, None)
    assert check(models["2.1 T2V"].model.model.diffusion_model, wan.positive, clip, None) is None


def test_wan_image_to_video_gives_what_training_needs(models) -> None:
    """The stock node, and a VAE that averages 8x8 pixels and takes every fourth frame."""
    from comfy_extras.nodes_wan import WanImageToVideo

    class Vae:
        def encode(self, pixels: torch.Tensor) -> torch.Tensor:
            frames = torch.nn.functional.avg_pool2d(pixels[::4].movedim(-1, 1), 8)
            return frames.mean(1)[None, None].expand(-1, 16, -1, -1, -1).contiguous()

    wan, generator = models["2.1 I2V"], torch.Generator().manual_seed(12)
    video = torch.rand(9, 64, 48, 3, generator=generator)
    with torch.inference_mode():
        given = WanImageToVideo.execute(wan.positive, wan.negative, Vae(), 48, 64, 9, 1, video[:1]).args
    clip = Vae().encode(video)
    network = wan.model.model.diffusion_model
    assert wan.part("backbones.wan").Wan().check_conditioning(network, given[0], clip, None) is None
    training = wan.part("training")
    with torch.inference_mode():
        trained = training.train_motion(wan.model, given[0], clip, training.Recipe(steps=2, layers="all"))
    assert trained.embedding.frames == 3 and all(np.isfinite(trained.losses))


@pytest.mark.parametrize(("schedule", "stride", "loop"), SCHEDULES)
def test_context_windows_of_the_host(first, schedule, stride, loop) -> None:
    """Each window's calls see the rows of its frames."""
    frames, layer = LENGTH + 2, LAYERS[1]
    generator, module = torch.Generator().manual_seed(13), first.part("embedding")
    rows = torch.randn(frames, small_wan.HIDDEN, generator=generator)
    values = torch.randn(first.rows, first.columns, frames, small_wan.HIDDEN, generator=generator)
    learnt = {layer: module.LayerEmbedding(rows, {"self_attn": values})}
    motion = module.MotionEmbedding(learnt, "wan", frames, first.height, first.width)
    windows = Windows()
    model = windows.on(windowed(first.model, 2, schedule, stride, loop))

    def add(given: torch.Tensor):
        def hook(module, inputs) -> tuple:
            part = given[..., windows.open, :].expand(first.rows, first.columns, -1, -1)
            return (inputs[0] + part.movedim(2, 0).reshape(1, -1, small_wan.HIDDEN),)

        return hook

    modules = zip(first.split[layer], (rows, rows, values), strict=True)
    hooks = [module.register_forward_pre_hook(add(given)) for module, given in modules]
    try:
        expected = first.sample(model, latent=first.empty(frames))
    finally:
        for hook in hooks:
            hook.remove()
    assert len(set(windows.seen)) > 1
    assert not torch.allclose(first.sample(model, latent=first.empty(frames)), expected, atol=1e-2)
    assert torch.allclose(first.sample(first.apply(motion, model), latent=first.empty(frames)), expected, atol=1e-4)


def test_a_first_frame_that_the_noise_mask_keeps(models) -> None:
    """As Wan22ImageToVideoLatent gives it to the 5B model: clean and at level 0, with no loss there."""
    import comfy.latent_formats

    wan = models["2.2 5B"]
    mask = torch.ones(1, 1, FRAMES, wan.height, wan.width)
    mask[:, :, 0] = 0
    latent = {"samples": wan.clip(), "noise_mask": mask}
    trained = wan.train(latent=latent, steps=1, start_percent=0.3, end_percent=0.7)
    clip = comfy.latent_formats.Wan22().process_in(wan.clip())
    percent, noise = first_draw(clip, 0.3, 0.7)
    time = shifted(percent)
    noisy = torch.where(mask > 0, (1 - time) * clip + time * noise, clip)
    levels = torch.tensor([[0.0, 1000 * time, 1000 * time]])
    with torch.inference_mode():
        said = wan.model.model.diffusion_model(noisy, levels, context=wan.positive[0][0])
    error = ((said - (noise - clip)) * mask).square().mean().item()
    assert trained.losses[0] == pytest.approx(error, rel=1e-4)
