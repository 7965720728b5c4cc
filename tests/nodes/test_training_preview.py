"""What is shown of a training while it runs: the right thing, and nothing of the training changes by it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from tests import small_ltxv, small_svd, small_wan

pytestmark = pytest.mark.host
STEPS = 4
Train = Callable[..., tuple[Any, list[Any]]]


@pytest.fixture
def train(pack: ModuleType, rig) -> Train:
    """Trains, and gives what was learnt and what was told; every: as ``preview_steps`` of the node."""

    def run(model=None, positive=None, latents=None, every: int = 1, tell=None, mask=None, keep=None, **changes):
        told: list[Any] = []
        training, progress = (rig.part(f"motion_embedding.{name}") for name in ("training", "training_progress"))
        recipe = training.Recipe(**{"steps": STEPS, "learning_rate": 0.1, "layers": "all", **changes})
        reporter = progress.Reporter(tell or told.append, recipe.steps, every)
        positive = rig.prompt("a blue square on a brown background") if positive is None else positive
        with torch.inference_mode():
            latents = (rig.latents() if latents is None else latents).clone()
            trained = training.train_motion(
                model or rig.model, positive, latents, recipe, mask=mask, keep=keep, reporter=reporter
            )
        return trained, told

    return run


def text_to_video(pack: ModuleType, rig) -> dict[str, Any]:
    return {}


def svd(pack: ModuleType, rig) -> dict[str, Any]:
    """Frames on the batch axis, and a picture in the conditioning."""
    with torch.inference_mode():
        clip = small_svd.clip(4)
        positive, _ = small_svd.conditioning(clip[:1].clone())
        return {"model": small_svd.model(), "positive": positive, "latents": clip}


def wan_of_a_picture(pack: ModuleType, rig) -> dict[str, Any]:
    """The picture is in channels beside the latents."""
    wan = small_wan.joint(pack, "2.1 I2V")
    return {"model": wan.model, "positive": small_wan.started(wan, wan.clip())[0], "latents": wan.clip()}


def ltxv_with_a_guide(pack: ModuleType, rig) -> dict[str, Any]:
    """The guiding picture is a frame more, which a noise mask holds."""
    ltxv = small_ltxv.joint(pack)
    positive, _, latent = small_ltxv.guided(ltxv, ltxv.clip())
    return {"model": ltxv.model, "positive": positive, "latents": latent["samples"], "mask": latent["noise_mask"]}


FAMILIES = [text_to_video, svd, wan_of_a_picture, ltxv_with_a_guide]


def same(one: Any, other: Any) -> bool:
    layers, others = one.embedding.layers, other.embedding.layers
    return one.losses == other.losses and all(
        torch.equal(layer.query_key, others[name].query_key)
        and all(torch.equal(value, others[name].value[n]) for n, value in layer.value.items())
        for name, layer in layers.items()
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "changes", [{}, {"checkpointing": "all"}, {"loss": "debiased_hybrid"}], ids=["plain", "blocks run again", "LoRA"]
)
def test_what_is_learnt_is_the_same_to_the_last_bit(pack, rig, train, family, changes) -> None:
    if "loss" in changes and family in FAMILIES[2:]:
        changes = {"value_form": "low rank 4"}  # these have no layers for a LoRA
    inputs = family(pack, rig)
    torch.manual_seed(5)
    plain, told = train(**inputs, **changes, every=-1)
    assert all(progress.shown is None for progress in told)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    watched, told = train(**inputs, **changes, every=1)
    assert [progress.step for progress in told if progress.shown] == list(range(1, STEPS + 1))
    assert same(plain, watched)
    assert torch.equal(torch.rand(3), drawn)
    for progress in told:
        assert progress.shown.made.shape == progress.shown.clip.shape
        assert np.array_equal(progress.shown.clip, told[0].shown.clip)
    assert not np.array_equal(told[0].shown.made, told[-1].shown.made)


def test_the_scale_of_the_loss_in_half_precision_is_left_alone(pack, train, monkeypatch) -> None:
    import comfy.model_management as management

    monkeypatch.setattr(management, "should_use_fp16", lambda *args, **more: True)
    wan = small_wan.joint(pack, weight_dtype="fp8_e4m3fn")
    assert wan.model.model.manual_cast_dtype == torch.float16
    inputs = {"model": wan.model, "positive": wan.positive, "latents": wan.clip()}
    (plain, _), (watched, told) = (train(**inputs, every=every) for every in (-1, 1))
    assert same(plain, watched)
    assert all(progress.shown is not None for progress in told)


def test_the_models_clip_is_that_of_the_hosts_sampler_with_the_motion_applied(rig, train) -> None:
    import comfy.sample
    import comfy.samplers

    trained, told = train()
    motion = trained.embedding.replace(debias=rig.part("motion_embedding.debias").Debias())
    applied = rig.part("motion_embedding.injection").apply_embedding(rig.model, motion)
    sampling = rig.model.get_model_object("model_sampling")
    sigmas = torch.tensor([float(sampling.percent_to_sigma(p)) for p in (1e-3, 0.25, 0.5, 0.75)] + [0.0])
    noise = torch.randn(1, 12, 4, 8, 6, generator=torch.Generator().manual_seed(0))
    prompt = rig.prompt("a blue square on a brown background")
    with torch.inference_mode():
        euler = comfy.samplers.sampler_object("euler")
        made = comfy.sample.sample_custom(
            applied, noise, 1.0, euler, sigmas, prompt, prompt, torch.zeros_like(noise), disable_pbar=True
        )
    latent_format = rig.model.model.latent_format
    made, clip = (latent_format.process_in(x) for x in (made, rig.latents()))
    expected = rig.part("motion_embedding.latent_picture").latent_frames(made, latent_format, clip)
    shown = told[-1].shown
    assert (shown.made.shape, shown.video_frames) == ((4, 8, 6, 3), 4)
    assert np.abs(shown.made.astype(int) - expected).max() <= 2
    assert np.abs(shown.made.astype(int) - told[0].shown.made).max() > 20


def test_latent_frames_stand_for_more_of_the_video(pack, rig, train) -> None:
    _, told = train(**wan_of_a_picture(pack, rig), every=STEPS)
    assert told[-1].shown.video_frames == 1 + 4 * (len(told[-1].shown.clip) - 1)


def test_only_the_part_that_is_learnt_is_sampled(rig, train, monkeypatch) -> None:
    """A model made for one part of the denoising is good for nothing else: Wan 2.2's two."""
    preview = rig.part("motion_embedding.training_preview").TrainingPreview
    made: list[Any] = []
    init = preview.__init__
    monkeypatch.setattr(preview, "__init__", lambda self, *args: (init(self, *args), made.append(self))[0])
    train(start_percent=0.2, end_percent=0.6)
    sampling = rig.model.get_model_object("model_sampling")
    assert made[0].levels == pytest.approx([float(sampling.percent_to_sigma(p)) for p in (0.2, 0.3, 0.4, 0.5)])
    assert torch.equal(made[0].start, made[0].clip)


def test_a_failure_is_logged_once_and_the_training_goes_on(rig, train, monkeypatch, caplog) -> None:
    preview = rig.part("motion_embedding.training_preview").TrainingPreview

    def fail(self) -> torch.Tensor:
        raise RuntimeError("an odd model")

    plain, _ = train(every=-1)
    before = rig.state()
    monkeypatch.setattr(preview, "_sampled", fail)
    with caplog.at_level(logging.WARNING):
        watched, told = train()
    assert same(plain, watched)
    assert all(progress.shown is None for progress in told) and told[-1].step == STEPS
    assert [record.message for record in caplog.records].count(
        "What is learnt cannot be shown on the way; the training goes on."
    ) == 1
    rig.assert_unchanged(before)


def test_cancelling_while_it_is_made_stops_within_a_call_and_keeps_what_was_learnt(rig, train, monkeypatch) -> None:
    import comfy.model_management as management
    import comfy.samplers

    before, kept, calls = rig.state(), [], []
    inpaint = comfy.samplers.KSamplerX0Inpaint.__call__

    def cancelled_in_the_second_call_of_the_preview(self, *args, **kwargs):
        calls.append(torch.is_grad_enabled())
        if calls[-2:] == [False, False]:
            management.interrupt_current_processing()
        return inpaint(self, *args, **kwargs)

    monkeypatch.setattr(comfy.samplers.KSamplerX0Inpaint, "__call__", cancelled_in_the_second_call_of_the_preview)
    try:
        with pytest.raises(management.InterruptProcessingException):
            train(every=2, steps=50, keep=kept.append)
    finally:
        management.interrupt_current_processing(False)
    # The probe, two steps, and two calls of the preview.
    assert calls == [False, True, True, False, False]
    assert [embedding.training["done"] for embedding in kept] == [2]
    rig.assert_unchanged(before)


def test_the_time_is_remembered(train) -> None:
    trained, told = train()
    assert trained.embedding.training["seconds"] == round(told[-1].seconds, 2) > 0
