"""What each loss trains on, inside the real host: every prediction space, and the two passes of the hybrid."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.host

HYBRID = "debiased_hybrid"


def host_sampling(kind: str):
    """As the host's ModelSampling nodes build it."""
    import comfy.model_sampling as host

    bases = {
        "epsilon": (host.ModelSamplingDiscrete, host.EPS),
        "v": (host.ModelSamplingDiscrete, host.V_PREDICTION),
        "sample": (host.ModelSamplingDiscrete, host.X0),
        "flow": (host.ModelSamplingDiscreteFlow, host.CONST),
    }
    return type("ModelSamplingAdvanced", bases[kind], {})()


def spy_on_calls(rig, monkeypatch, note) -> None:
    """Calls ``note(x)`` in every call of the model, while whatever is installed on it is in place."""
    sampling = type(rig.model.model.model_sampling)
    denoised = sampling.calculate_denoised

    def calculate_denoised(self, sigma, output, x):
        note(x)
        return denoised(self, sigma, output, x)

    monkeypatch.setattr(sampling, "calculate_denoised", calculate_denoised)


def attached(rig) -> list[str]:
    return [n for n, m in rig.model.model.named_modules() if getattr(m, "weight_function", None)]


@pytest.mark.parametrize("kind", ["epsilon", "v", "sample", "flow"])
def test_the_first_loss_is_the_error_of_what_the_network_itself_puts_out(rig, kind) -> None:
    """Recomputed from the bare network's output and the textbook target, without the host's denoising."""
    with torch.inference_mode():
        model = rig.model.clone()
        sampling = host_sampling(kind)
        model.add_object_patch("model_sampling", sampling)
    trained = {n: dataclasses.replace(rig, model=model).train(steps=1, loss=n) for n in ("base", "motion_distillation")}
    assert trained["base"].embedding.prediction == kind

    generator = torch.Generator().manual_seed(0)
    offset = torch.rand((), generator=generator).item()
    torch.randint(4, (), generator=generator)
    noise = torch.randn(1, 12, 4, 8, 6, generator=generator)
    clip = rig.model.model.process_latent_in(rig.latents())
    s = float(sampling.percent_to_sigma(1e-3 + (1 - 2e-3) * ((offset + 0.5 * 0.6180339887498949) % 1) ** 2))
    alpha = 1 / (s**2 + 1) ** 0.5
    seen = (1 - s) * clip + s * noise if kind == "flow" else alpha * (clip + s * noise)
    target = {"epsilon": noise, "v": alpha * noise - alpha * s * clip, "sample": clip, "flow": noise - clip}[kind]
    with torch.inference_mode():
        time = sampling.timestep(torch.tensor([s])).float()
        text = rig.prompt("a blue square on a brown background")[0][0]
        output = rig.model.model.diffusion_model(seen, time, context=text)
    assert trained["base"].losses[0] == pytest.approx((output - target).square().mean().item(), rel=1e-4)
    u, v = output.diff(dim=2).abs(), target.diff(dim=2).abs()
    cosine = (u * v).sum(2) / (u.norm(dim=2) * v.norm(dim=2))
    assert trained["motion_distillation"].losses[0] == pytest.approx(1 - cosine.mean().item(), rel=1e-4)


def test_a_lora_that_does_not_learn_leaves_the_debiased_loss(rig, monkeypatch) -> None:
    """The one-frame pass gives the embedding no gradient and changes no draw."""
    monkeypatch.setattr(rig.part("motion_embedding.spatial_lora"), "LEARNING_RATE", 0.0)
    hybrid, debiased = rig.train(steps=5, loss=HYBRID), rig.train(steps=5, loss="debiased")
    assert hybrid.losses == debiased.losses
    for name, layer in hybrid.embedding.layers.items():
        assert torch.equal(layer.query_key, debiased.embedding.layers[name].query_key)
        assert all(torch.equal(v, debiased.embedding.layers[name].value[k]) for k, v in layer.value.items())


def test_a_lora_that_learns_changes_what_the_embedding_learns(rig) -> None:
    state = torch.random.get_rng_state()
    hybrid, again = rig.train(steps=5, loss=HYBRID), rig.train(steps=5, loss=HYBRID)
    debiased = rig.train(steps=5, loss="debiased")
    assert hybrid.losses == again.losses
    assert hybrid.losses[0] == debiased.losses[0], "it is zero at first"
    assert hybrid.losses[2:] != debiased.losses[2:]
    assert torch.equal(torch.random.get_rng_state(), state), "the host's random numbers are its own"


def test_the_one_frame_pass_sees_the_lora_and_no_motion(rig, monkeypatch) -> None:
    carrying = rig.part("motion_embedding.injection").apply_embedding(rig.model, rig.train(steps=2).embedding)
    calls, before = [], rig.state()

    def note(x):
        moved = [n for n, m in rig.model.model.named_modules() if "forward" in m.__dict__]
        calls.append((x.shape[2], bool(moved), bool(attached(rig))))

    spy_on_calls(rig, monkeypatch, note)
    dataclasses.replace(rig, model=carrying).train(steps=12, loss=HYBRID)
    clip_skipped, clip_trained, still = (4, True, False), (4, True, True), (1, False, True)
    assert calls[0] == clip_skipped, "the probe"
    assert set(calls[1:]) == {clip_skipped, clip_trained, still}
    followed = [after for call, after in zip(calls[1:], [*calls[2:], None], strict=True) if call == clip_trained]
    assert followed == [still] * calls.count(still)
    rig.assert_unchanged(before)
    assert attached(rig) == []


@pytest.mark.parametrize("frames", [4, 1])
def test_cancel_in_the_middle_of_a_hybrid_step_leaves_nothing_behind(rig, monkeypatch, frames) -> None:
    """Cancelled in the clip's pass and in the one-frame pass, where the LoRA hangs on the model."""
    import comfy.model_management as management

    before, kept, caught = rig.state(), [], []
    backbone, _ = rig.part("motion_embedding.backbones").find_backbone(rig.model.model)
    linear = backbone.spatial_linears(rig.model.model)[-1]
    host_forward = type(linear).forward

    def forward(self, x, *args, **kwargs):
        still = x.shape[0] == 1  # frames are the batch of a spatial layer
        if self is linear and kept_going() and attached(rig) and still == (frames == 1):
            caught.append(len(attached(rig)))
            management.interrupt_current_processing()
        return host_forward(self, x, *args, **kwargs)

    steps = []

    def kept_going() -> bool:
        return len(steps) >= 2

    reporter = rig.part("motion_embedding.training_progress").Reporter
    after = reporter.after
    monkeypatch.setattr(reporter, "after", lambda self, *args: (steps.append(1), after(self, *args)))
    monkeypatch.setattr(type(linear), "forward", forward)
    try:
        with pytest.raises(management.InterruptProcessingException):
            rig.train(steps=50, loss=HYBRID, keep=kept.append)
    finally:
        management.interrupt_current_processing(False)
    assert caught and caught[0] > 0
    assert [e.training["done"] for e in kept] == [len(steps)]
    rig.assert_unchanged(before)
    assert attached(rig) == []


def test_the_lora_is_the_hosts_and_learns_only_where_it_is_told_to(rig) -> None:
    import comfy.ops

    module = rig.part("motion_embedding.spatial_lora")
    linear = comfy.ops.disable_weight_init.Linear(6, 5)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(5, 6))
        linear.bias.zero_()
    lora, x = module.SpatialLora([linear], torch.device("cpu"), seed=1), torch.randn(2, 6)
    assert not any(p.requires_grad for p in lora.parameters)
    up, down = lora.parameters
    assert (up.shape, down.shape) == ((5, 32), (32, 6))
    with torch.no_grad():
        down.normal_()
    linear.requires_grad_(False)
    with lora.learning():
        changed = linear(x)
        changed.square().sum().backward()
    assert torch.allclose(changed, x @ (linear.weight + up @ down).T, atol=1e-5)
    assert all(p.grad.abs().max() > 0 for p in lora.parameters)
    with lora.attached():
        assert torch.equal(linear(x), changed)
        assert not linear(x).requires_grad
    assert torch.allclose(linear(x), x @ linear.weight.T, atol=1e-6)
    assert "weight_function" not in linear.__dict__
    assert not any(p.requires_grad for p in lora.parameters)


def test_the_lora_joins_what_hangs_on_the_layer_already_and_goes_alone(rig) -> None:
    import comfy.ops

    linear, doubled = comfy.ops.disable_weight_init.Linear(3, 3), [lambda weight: 2 * weight]
    linear.weight_function = doubled
    lora = rig.part("motion_embedding.spatial_lora").SpatialLora([linear], torch.device("cpu"), 0)
    with lora.attached():
        assert linear.weight_function[:-1] == doubled
    assert linear.weight_function is doubled


def test_a_fifth_of_the_steps_is_skipped_and_every_frame_has_its_turn(rig) -> None:
    import comfy.ops

    module = rig.part("motion_embedding.spatial_lora")
    lora = module.SpatialLora([comfy.ops.disable_weight_init.Linear(3, 3)], torch.device("cpu"), 5)
    drawn = [lora.draw(4) for _ in range(2000)]
    assert np.mean([d is None for d in drawn]) == pytest.approx(0.2, abs=0.03)
    for frame in range(4):
        assert np.mean([d == frame for d in drawn]) == pytest.approx(0.2, abs=0.03)


def test_the_lora_lowers_the_one_frame_loss(rig, monkeypatch) -> None:
    losses, stills = rig.part("motion_embedding.losses"), []
    base = losses.base

    def noted(prediction, target, reference_frame=0):
        out = base(prediction, target, reference_frame)
        stills.append((out.item(), prediction.shape[2]))
        return out

    monkeypatch.setattr(losses, "base", noted)
    monkeypatch.setattr(rig.part("motion_embedding.spatial_lora"), "LEARNING_RATE", 1e-2)
    rig.train(steps=30, loss=HYBRID, start_percent=0.4, end_percent=0.5)
    assert {frames for _, frames in stills} == {1}
    values = [value for value, _ in stills]
    assert np.mean(values[-6:]) < 0.95 * np.mean(values[:6])


def test_a_family_that_names_no_spatial_layers_refuses_the_hybrid(rig, monkeypatch) -> None:
    family = rig.part("motion_embedding.backbones").UNet3D
    monkeypatch.setattr(family, "spatial_linears", lambda self, model: [])
    with pytest.raises(rig.part("motion_embedding.errors").InputError, match=r"loss: this model has no spatial layers"):
        rig.train(loss=HYBRID)


def test_motion_distillation_needs_three_frames(rig) -> None:
    error = rig.part("motion_embedding.errors").InputError
    with pytest.raises(error, match=r"loss: motion_distillation needs at least 3 frames"):
        rig.train(rig.latents(frames=2), loss="motion_distillation")
    assert len(rig.train(rig.latents(frames=3), loss="motion_distillation", steps=1).losses) == 1
