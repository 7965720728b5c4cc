"""Training inside the real host, on a small random model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.host


def test_the_loss_falls_and_every_layer_learns(rig) -> None:
    trained = rig.train(steps=30, layers="all", learning_rate=0.05, start_percent=0.3, end_percent=0.7)
    assert len(trained.losses) == 30
    assert np.mean(trained.losses[-8:]) < 0.97 * np.mean(trained.losses[:8])
    embedding = trained.embedding
    assert (embedding.frames, embedding.height, embedding.width, embedding.prediction) == (4, 8, 6, "sample")
    for layer in embedding.layers.values():
        assert set(layer.value) == {"attn1", "attn2"}
        assert all(t.abs().max() > 0 for t in (layer.query_key, *layer.value.values()))


def test_training_leaves_the_model_as_it_was(rig) -> None:
    before, sampled = rig.state(), rig.sample()
    rig.train()
    rig.assert_unchanged(before)
    assert torch.equal(rig.sample(), sampled)


def test_same_seed_same_embedding(rig) -> None:
    first, again, other = rig.train(seed=1), rig.train(seed=1), rig.train(seed=2)
    assert first.losses == again.losses != other.losses
    for name, layer in first.embedding.layers.items():
        assert torch.equal(layer.query_key, again.embedding.layers[name].query_key)


def test_debiased_loss_is_what_the_equations_say(rig) -> None:
    """At step 0 nothing is learnt: the loss is the frozen model's error, recomputed here through the host's parts."""
    base, debiased = (rig.train(steps=1, loss=loss, focus=2.0).losses[0] for loss in ("base", "debiased"))
    assert debiased > base
    generator = torch.Generator().manual_seed(0)
    offset = torch.rand((), generator=generator).item()
    reference = int(torch.randint(4, (), generator=generator))
    noise, latents = torch.randn(1, 12, 4, 8, 6, generator=generator), rig.latents()
    sampling = rig.model.model.model_sampling
    percent = 1e-3 + (1 - 2e-3) * (((offset + 0.5 * 0.6180339887498949) % 1) ** 2)
    sigma = torch.tensor([sampling.percent_to_sigma(percent)])
    latents = rig.model.model.process_latent_in(latents)
    text = rig.prompt("a blue square on a brown background")[0][0]
    with torch.inference_mode():
        error = rig.model.model.apply_model(latents + sigma * noise, sigma, c_crossattn=text) - latents
    relative = 2**0.5 * error - error[:, :, reference : reference + 1]
    assert base == pytest.approx(error.square().mean().item(), rel=1e-4)
    assert debiased == pytest.approx((error.square().mean() + relative.square().mean()).item(), rel=1e-4)


@pytest.mark.parametrize("loss", ["base", "debiased", "debiased_hybrid", "motion_distillation"])
@pytest.mark.parametrize("value_form", ["full", "mean", "linear", "quadratic"])
def test_every_loss_and_form_trains_and_leaves_the_model_as_it_was(rig, loss, value_form) -> None:
    before = rig.state()
    trained = rig.train(steps=4, loss=loss, value_form=value_form)
    assert all(np.isfinite(trained.losses))
    values = [v for layer in trained.embedding.layers.values() for v in layer.value.values()]
    assert all(v.abs().max() > 0 for v in values)
    degree = {"mean": 0, "linear": 1, "quadratic": 2}.get(value_form)
    if degree is not None:
        smooth = rig.part("motion_embedding.spatial").smooth
        assert all(torch.allclose(smooth(v, degree), v, atol=1e-5) for v in values)
    rig.assert_unchanged(before)


def test_cancel_stops_within_a_step_keeps_what_was_learnt_and_cleans_up(rig) -> None:
    import comfy.model_management as management
    import comfy.utils

    before, kept, seen = rig.state(), [], []

    def press_cancel_at_step_two(value, total, preview, node_id=None):
        seen.append(value)
        if value == 2:
            management.interrupt_current_processing()

    comfy.utils.set_progress_bar_global_hook(press_cancel_at_step_two)
    try:
        with pytest.raises(management.InterruptProcessingException):
            rig.train(steps=50, keep=kept.append)
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
        management.interrupt_current_processing(False)
    assert seen == [1, 2]
    assert [e.training["done"] for e in kept] == [2]
    rig.assert_unchanged(before)


def fail_at(call: int, error: Exception, rig, monkeypatch) -> None:
    """Has the model raise ``error`` in that call of it."""
    sampling, calls = type(rig.model.model.model_sampling), []
    denoised = sampling.calculate_denoised

    def fails(self, *args):
        calls.append(1)
        if len(calls) == call:
            raise error
        return denoised(self, *args)

    monkeypatch.setattr(sampling, "calculate_denoised", fails)


def test_an_error_half_way_leaves_the_model_clean(rig, monkeypatch) -> None:
    before = rig.state()
    fail_at(3, RuntimeError("out of memory"), rig, monkeypatch)
    with pytest.raises(RuntimeError, match="out of memory"):
        rig.train(steps=50)
    rig.assert_unchanged(before)


def test_without_memory_half_way_what_was_learnt_is_kept_and_the_host_frees_its_models(rig, monkeypatch) -> None:
    import comfy.model_management as management

    before, kept, freed = rig.state(), [], []
    fail_at(4, management.OOM_EXCEPTION("out of memory"), rig, monkeypatch)
    monkeypatch.setattr(management, "unload_all_models", lambda: freed.append(True))
    with pytest.raises(rig.part("motion_embedding.errors").InputError, match="does not fit into this device's memory"):
        rig.train(steps=50, keep=kept.append)
    assert len(kept) == 1 and kept[0].training["done"] >= 1
    assert freed == [True]
    rig.assert_unchanged(before)


def test_a_rescue_that_fails_is_told_and_hides_nothing(rig, monkeypatch, caplog) -> None:
    def full(_):
        raise OSError("no space left on device")

    fail_at(4, RuntimeError("boom"), rig, monkeypatch)
    with pytest.raises(RuntimeError, match="boom"):
        rig.train(steps=50, keep=full)
    assert "could not be kept" in caplog.text and "no space left" in caplog.text


def test_kernels_that_only_go_forwards_are_named(rig, monkeypatch) -> None:
    """Their outputs have no gradient, or PyTorch says at once that they can have none."""
    before, error = rig.state(), rig.part("motion_embedding.errors").InputError
    forward = type(rig.model.model.diffusion_model).forward
    monkeypatch.setattr(type(rig.model.model.diffusion_model), "forward", lambda *a, **k: forward(*a, **k).detach())
    with pytest.raises(error, match=r"model: .* only go forwards"):
        rig.train(steps=3)

    def clamps(*args, **named):
        x = forward(*args, **named)
        return torch.clamp(x, -448, 448, out=x)

    monkeypatch.setattr(type(rig.model.model.diffusion_model), "forward", clamps)
    with pytest.raises(error, match=r"model: .* only go forwards"):
        rig.train(steps=3)
    monkeypatch.undo()
    rig.assert_unchanged(before)


def test_what_is_no_number_is_not_kept(rig, monkeypatch) -> None:
    loop, kept = rig.part("motion_embedding.training_loop").TrainingLoop, []
    learn = loop._finite

    def broken(self, loss, step):
        if step == 2:
            next(iter(self.trainable.query_key.values())).data.fill_(float("nan"))
            loss = float("nan")
        return learn(self, loss, step)

    monkeypatch.setattr(loop, "_finite", broken)
    with pytest.raises(rig.part("motion_embedding.errors").InputError, match="the loss became nan"):
        rig.train(steps=50, keep=kept.append)
    assert kept == []


def test_the_host_knows_that_it_trains_and_only_meanwhile(rig, monkeypatch) -> None:
    import comfy.model_management as management

    monkeypatch.setattr(management, "NUM_STREAMS", 2)
    monkeypatch.setattr(management, "in_training", False, raising=False)
    seen, losses = [], rig.part("motion_embedding.losses")
    base = losses.LOSSES["base"]

    def watched(*args):
        seen.append((management.NUM_STREAMS, management.in_training))
        return base(*args)

    monkeypatch.setitem(losses.LOSSES, "base", watched)
    rig.train(steps=2)
    assert set(seen) == {(0, True)}
    assert (management.NUM_STREAMS, management.in_training) == (2, False)


def test_a_lost_loss_names_the_learning_rate(rig, monkeypatch) -> None:
    error = rig.part("motion_embedding.errors").InputError
    losses = rig.part("motion_embedding.losses")
    monkeypatch.setitem(losses.LOSSES, "base", lambda p, y, r: (p - y).flatten(1).mean(1) * float("nan"))
    before = rig.state()
    with pytest.raises(error, match=r"learning_rate: the loss became nan at step 1"):
        rig.train(steps=50)
    rig.assert_unchanged(before)


def test_a_loss_that_is_lost_later_leaves_what_was_learnt_before(rig, monkeypatch) -> None:
    error, kept, calls = rig.part("motion_embedding.errors").InputError, [], []
    module = rig.part("motion_embedding.losses")

    def lost_at_the_third(prediction, target, frame):
        calls.append(1)
        return (prediction - target).square().flatten(1).mean(1) * (float("nan") if len(calls) == 3 else 1.0)

    monkeypatch.setitem(module.LOSSES, "base", lost_at_the_third)
    with pytest.raises(error, match="the loss became nan at step 3"):
        rig.train(steps=50, keep=kept.append)
    expected = rig.train(steps=2).embedding
    assert [e.training["done"] for e in kept] == [2]
    for name, layer in kept[0].layers.items():
        torch.testing.assert_close(layer.query_key, expected.layers[name].query_key)


def test_going_on_from_a_motion(rig) -> None:
    first = rig.train(steps=20, learning_rate=0.05)
    further = rig.train(steps=1, learning_rate=1e-9, weight_decay=0.0, initial=first.embedding)
    for name, layer in first.embedding.layers.items():
        assert torch.allclose(layer.query_key, further.embedding.layers[name].query_key, atol=1e-6)


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (torch.zeros(1, 12, 1, 8, 6), "latents: they hold one frame, and motion needs at least two"),
        (torch.zeros(4, 12, 8, 6), "latents: an image latent .* given to a video model"),
        (torch.zeros(1, 16, 4, 8, 6), "latents: they have 16 channels, and those of this model have 12"),
    ],
)
def test_latents_that_cannot_be_learnt_from(rig, latents, message) -> None:
    with pytest.raises(rig.part("motion_embedding.errors").InputError, match=message):
        rig.train(latents)


def test_motions_loaded_by_a_node_can_be_trained_upon_and_beside(rig) -> None:
    """What a node loads are inference tensors, which autograd refuses where they are not taken care of."""
    first = rig.train(steps=2).embedding
    with torch.inference_mode():
        layers = {n: v.map(torch.clone, torch.clone) for n, v in first.layers.items()}
        loaded = first.replace(layers=layers)
        carrying = rig.part("motion_embedding.injection").apply_embedding(rig.model, loaded)
    before = rig.state()
    beside = dataclasses.replace(rig, model=carrying).train(steps=2)
    further = rig.train(steps=2, initial=loaded)
    assert beside.losses[0] != rig.train(steps=1).losses[0], "the motion already there acts while training"
    assert all(np.isfinite(beside.losses + further.losses))
    rig.assert_unchanged(before)


def test_an_empty_range_is_refused(rig) -> None:
    with pytest.raises(rig.part("motion_embedding.errors").InputError, match=r"start_percent: 0\.7 is not before"):
        rig.train(start_percent=0.7, end_percent=0.7)


def test_a_motion_of_another_model_cannot_be_gone_on_from(rig) -> None:
    other = rig.train(steps=1).embedding.replace(backbone="wan")
    with pytest.raises(
        rig.part("motion_embedding.errors").InputError, match=r"initial: it was learnt on another kind of model \(Wan\)"
    ):
        rig.train(initial=other)


def run_node(rig, **changes):
    inputs = {"preset": "object motion", "steps": 3, "learning_rate": 0.1, "loss": "base", "layers": "as preset"}
    with torch.inference_mode():
        return (
            rig.part("nodes.training")
            .TrainMotionEmbedding.execute(
                rig.model, rig.prompt("a"), {"samples": rig.latents()}, **{**inputs, "seed": 0, **changes}
            )
            .result
        )


def test_node_gives_motion_losses_and_a_picture(rig) -> None:
    motion, loss_map, picture = run_node(rig, layers="custom", layer_pattern="up_blocks.*", fps=8.0)
    assert {name.split(".")[0] for name in motion.layers} == {"up_blocks"}
    assert motion.fps == 8.0
    assert len(loss_map["loss"]) == 3
    assert picture.ndim == 4 and picture.shape[-1] == 3 and 0 <= picture.min() <= picture.max() <= 1


def test_query_keys_learn_faster_than_values(rig) -> None:
    """AdamW's first step moves every number by its rate, whatever its gradient is."""
    motion = rig.train(steps=1, learning_rate=0.01, query_key_rate=4.0).embedding
    query_keys = torch.cat([layer.query_key.flatten() for layer in motion.layers.values()])
    values = torch.cat([value.flatten() for layer in motion.layers.values() for value in layer.value.values()])
    assert query_keys.abs().max().item() == pytest.approx(0.04, rel=1e-3)
    assert values.abs().max().item() == pytest.approx(0.01, rel=1e-3)


def test_a_preset_sets_what_is_not_set_by_hand(rig) -> None:
    preset = rig.part("motion_embedding.presets").PRESETS["paper"]
    motion, losses, _ = run_node(rig, preset="paper", steps=2, learning_rate=0.0, loss="base")
    assert len(losses["loss"]) == 2
    assert (motion.training["learning_rate"], motion.training["loss"]) == (0.02, "base")
    # The published training looks at all noise levels alike, and learns all at one rate.
    assert motion.training["focus"] == motion.training["query_key_rate"] == 1
    assert motion.training["layers"] == "paper"
    assert motion.debias == preset.debias
    assert run_node(rig, preset="camera motion", steps=1)[0].debias.until < 1
