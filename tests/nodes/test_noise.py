"""Inversion and initial noise inside the real host, on a small random model."""

from __future__ import annotations

import math

import pytest
import torch

pytestmark = pytest.mark.host


@pytest.fixture
def nodes_of(rig):
    return rig.part("nodes.noise")


def invert(rig, model=None, **changes) -> torch.Tensor:
    """Through the node, as a graph does."""
    node = rig.part("nodes.noise").InvertVideoNoise
    options = {"latents": {"samples": rig.latents()}, "steps": 4, "cleaning": "as published", **changes}
    with torch.inference_mode():
        return node.execute(model or rig.model, rig.prompt(""), **options).result[0]["inverted_noise"]


def blend(rig, model=None, latent_image=None, **changes):
    node = rig.part("nodes.noise").BlendInitialNoise
    latent_image = {"samples": torch.zeros(1, 12, 4, 8, 6)} if latent_image is None else latent_image
    options = {"strategy": "blend", "amount": 0.5, "seed": 3, **changes}
    with torch.inference_mode():
        return node.execute(model or rig.model, latent_image, **options).result


def stored(noise: torch.Tensor) -> dict:
    return {"samples": torch.zeros_like(noise), "inverted_noise": noise}


def first_x(model, latent, noise, prompt, steps: int = 3, scheduler: str = "sgm_uniform") -> torch.Tensor:
    """What a sampler holds before its first step: by the stock nodes, stopped there."""
    import comfy.samplers
    import comfy_extras.nodes_custom_sampler as custom

    import nodes

    seen = []

    def remember(executor, *args, **kwargs):
        seen.append(args[0].clone())
        raise InterruptedError

    model = model.clone()
    model.add_wrapper("apply_model", remember)
    with torch.inference_mode(), pytest.raises(InterruptedError):
        if noise is None:
            sampler = nodes.KSamplerAdvanced()
            sampler.sample(
                model, "disable", 0, steps, 1.0, "euler", scheduler, prompt, prompt, latent, 0, 10000, "disable"
            )
        else:
            sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps)
            guider = custom.BasicGuider.execute(model, prompt).result[0]
            custom.SamplerCustomAdvanced.execute(noise, guider, comfy.samplers.sampler_object("euler"), sigmas, latent)
    return seen[0]


def flow_model(rig):
    """The same network, said to predict a flow."""
    import comfy.model_sampling

    class Flow(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
        pass

    model = rig.model.clone()
    model.add_object_patch("model_sampling", Flow())
    return model


def test_it_is_the_published_walk(rig) -> None:
    """Against diffusers' schedule and the model called directly, in its own variance-preserving terms."""
    from diffusers import DDIMScheduler

    sampling, module = rig.model.get_model_object("model_sampling"), rig.model.model
    alphas = 1 / (1 + sampling.sigmas.double() ** 2)
    trailing = float(sampling.sigmas[-1]) > 1000
    schedule = DDIMScheduler(timestep_spacing="trailing" if trailing else "leading", steps_offset=1)
    schedule.set_timesteps(4)
    noise = invert(rig)
    text = rig.prompt("")[0][0]
    x = module.process_latent_in(rig.latents()).double()
    below = torch.tensor(1.0, dtype=torch.float64) if trailing else alphas[0]
    for t in reversed(schedule.timesteps.tolist()):
        sigma = sampling.sigmas[t].reshape(1)
        with torch.inference_mode():
            clean = module.apply_model((x / alphas[t].sqrt()).float(), sigma, c_crossattn=text).double()
        epsilon = (x - alphas[t].sqrt() * clean) / (1 - alphas[t]).sqrt()
        x = (alphas[t] / below).sqrt() * (x - (1 - below).sqrt() * epsilon) + (1 - alphas[t]).sqrt() * epsilon
        below = alphas[t]
    assert torch.allclose(noise.double(), x, atol=1e-4 * float(x.abs().max()))


def test_levels_of_a_stock_model_are_those_of_its_scheduler(rig) -> None:
    """ZeroScope's schedule is ComfyUI's own for Stable Diffusion; the lowest level is that of the clean clip."""
    import comfy.model_sampling
    from diffusers import DDIMScheduler

    schedule = DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, set_alpha_to_one=False, steps_offset=1
    )
    schedule.set_timesteps(50)
    alphas = schedule.alphas_cumprod[schedule.timesteps.flip(0)]
    levels, start = rig.part("motion_embedding.inverting").walk_levels(comfy.model_sampling.ModelSamplingDiscrete(), 50)
    assert torch.allclose(levels, ((1 - alphas) / alphas).sqrt(), rtol=1e-4)
    assert 1 / (1 + start**2) == pytest.approx(schedule.final_alpha_cumprod.item(), rel=1e-5)


def test_continuous_models_are_walked_evenly_to_their_end(rig) -> None:
    import comfy.model_sampling

    levels, start = rig.part("motion_embedding.inverting").walk_levels(
        comfy.model_sampling.ModelSamplingContinuousEDM(), 10
    )
    assert start == 0 and levels[-1].item() == pytest.approx(120)
    assert torch.allclose(levels[1:].log().diff(), levels[1:].log().diff()[:1].expand(8), rtol=1e-3)


def test_batch_and_prompt(rig) -> None:
    clips = rig.latents(batch=2)
    both = invert(rig, latents={"samples": clips})
    assert both.shape == clips.shape
    assert torch.allclose(both[1:], invert(rig, latents={"samples": clips[1:]}), atol=1e-3)
    out = rig.part("motion_embedding.inverting").invert_video
    with torch.inference_mode():
        prompted = out(rig.model, rig.prompt("a red star on a navy background"), clips[:1], 4, cleaning="as published")
    assert not torch.allclose(both[:1], prompted, atol=1e-3)


def test_start_noise_and_normalised(rig) -> None:
    first, again, other = (invert(rig, start_noise=0.5, seed=s) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.allclose(first, other)
    noise = invert(rig, cleaning="normalised")
    assert torch.allclose(noise.mean((-2, -1)), torch.zeros(1, 12, 4), atol=1e-5)
    assert torch.allclose(noise.square().mean((-2, -1)), torch.ones(1, 12, 4), atol=1e-4)


def test_the_look_is_taken_out_by_default(rig, nodes_of) -> None:
    clip = rig.latents()
    with torch.inference_mode():
        out = nodes_of.InvertVideoNoise.execute(rig.model, rig.prompt(""), {"samples": clip}, 4).result[0]
    noise, centred = out["inverted_noise"], clip - clip.mean((-2, -1), keepdim=True)
    assert (noise * centred).mean((-2, -1)).abs().max() < 1e-5
    assert noise.std((-2, -1), correction=0).mean().item() == pytest.approx(1, abs=1e-4)


def test_flow_models_are_walked_by_euler(rig) -> None:
    model = flow_model(rig)
    noise = invert(rig, model)
    module, x, below = model.model, rig.model.model.process_latent_in(rig.latents()), 0.0
    text, sampling = rig.prompt("")[0][0], model.get_model_object("model_sampling")
    original, module.model_sampling = module.model_sampling, sampling
    try:
        for sigma in (0.25, 0.5, 0.75, 1.0):
            with torch.inference_mode():
                clean = module.apply_model(x, torch.tensor([sigma]), c_crossattn=text)
            x, below = x + (sigma - below) * (x - clean) / sigma, sigma
    finally:
        module.model_sampling = original
    assert torch.allclose(noise, x, atol=1e-4 * float(x.abs().max()))


def test_samples_are_the_clip(rig, nodes_of) -> None:
    latents = {"samples": rig.latents(), "batch_index": [4]}
    with torch.inference_mode():
        out = nodes_of.InvertVideoNoise.execute(rig.model, rig.prompt(""), latents, 2).result[0]
    assert out["samples"] is latents["samples"] and out["batch_index"] == [4]
    assert set(latents) == {"samples", "batch_index"}


def test_motions_on_the_model_are_left_out_and_the_model_stays_as_it_was(rig) -> None:
    motion = rig.train(steps=2).embedding
    carrying = rig.part("motion_embedding.injection").apply_embedding(rig.model, motion)
    before, sampled, plain = rig.state(), rig.sample(carrying), rig.sample()
    assert torch.equal(invert(rig, carrying), invert(rig))
    rig.assert_unchanged(before)
    assert torch.equal(rig.sample(carrying), sampled), "the motion still acts when sampling"
    assert torch.equal(rig.sample(), plain) and not torch.equal(sampled, plain)


def test_progress_and_cancel(rig) -> None:
    import comfy.model_management as management
    import comfy.utils

    before, seen = rig.state(), []

    def press_cancel_at_step_two(value, total, preview, node_id=None):
        seen.append((value, total))
        if value == 2:
            management.interrupt_current_processing()

    comfy.utils.set_progress_bar_global_hook(press_cancel_at_step_two)
    try:
        with pytest.raises(management.InterruptProcessingException):
            invert(rig, steps=10)
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
        management.interrupt_current_processing(False)
    assert seen == [(1, 10), (2, 10)]
    rig.assert_unchanged(before)


@pytest.mark.parametrize("scheduler", ["sgm_uniform", "normal", "karras", "simple", "exponential", "beta"])
def test_both_outputs_start_the_sampler_from_the_blended_noise(rig, scheduler: str) -> None:
    fixed = torch.randn(1, 12, 4, 8, 6, generator=torch.Generator().manual_seed(9))
    empty = {"samples": torch.zeros(2, 12, 4, 8, 6)}
    latent, noise = blend(rig, latent_image=empty, inverted=stored(fixed))
    sigma = float(rig.model.get_model_object("model_sampling").sigma_max)
    fresh = torch.randn(2, 12, 4, 8, 6, generator=torch.Generator().manual_seed(3))
    wanted = (math.sqrt(0.5) * fixed + math.sqrt(0.5) * fresh) * math.sqrt(1 + sigma**2)
    tolerance = 1e-5 * float(wanted.abs().max())
    assert torch.allclose(first_x(rig.model, latent, None, rig.prompt(""), scheduler=scheduler), wanted, atol=tolerance)
    assert torch.allclose(first_x(rig.model, empty, noise, rig.prompt(""), scheduler=scheduler), wanted, atol=tolerance)


def test_without_any_of_it_the_noise_is_that_of_random_noise(rig) -> None:
    import comfy_extras.nodes_custom_sampler as custom

    latent = {"samples": torch.zeros(2, 12, 4, 8, 6), "batch_index": [1, 3]}
    _, noise = blend(rig, amount=0.0, inverted=stored(rig.latents()), seed=77)
    stock = custom.RandomNoise.execute(77).result[0]
    assert noise.seed == stock.seed == 77
    assert torch.equal(noise.generate_noise(latent), stock.generate_noise(latent))


def test_noise_that_travels_with_a_motion(rig) -> None:
    fixed = torch.randn(12, 4, 8, 6, generator=torch.Generator().manual_seed(9))
    motion = rig.train(steps=1).embedding.replace(inverted_noise=fixed.half())
    latent, _ = blend(rig, amount=1.0, motion=motion)
    assert torch.allclose(
        latent["samples"], blend(rig, amount=1.0, inverted=stored(fixed[None]))[0]["samples"], rtol=2e-3
    )


def test_another_size_and_length(rig) -> None:
    empty = {"samples": torch.zeros(1, 12, 7, 10, 12)}
    fixed = torch.randn(1, 12, 4, 8, 6, generator=torch.Generator().manual_seed(9))
    for strategy in ("blend", "frequency", "blend_frequency", "fft"):
        latent, noise = blend(rig, latent_image=empty, inverted=stored(fixed), strategy=strategy)
        assert latent["samples"].shape == empty["samples"].shape
        assert noise.generate_noise(empty).std().item() == pytest.approx(1, abs=0.15)


def test_flow_models_take_the_noise_only(rig) -> None:
    from comfy_execution.graph_utils import ExecutionBlocker

    model = flow_model(rig)
    latent, noise = blend(rig, model, amount=1.0, inverted=stored(rig.latents()))
    assert isinstance(latent, ExecutionBlocker) and "SamplerCustomAdvanced" in latent.message
    empty = {"samples": torch.zeros(1, 12, 4, 8, 6)}
    assert torch.allclose(first_x(model, empty, noise, rig.prompt("")), rig.latents(), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "inverted: neither it nor motion is connected"),
        ({"inverted": {"samples": torch.zeros(1, 12, 4, 8, 6)}}, "inverted: it is a latent without inverted noise"),
        (
            {"inverted": stored(torch.zeros(1, 4, 4, 8, 6))},
            "inverted: its noise has 4 channels, and the latents have 12",
        ),
        (
            {"inverted": stored(torch.zeros(3, 12, 4, 8, 6))},
            "inverted: it holds the noise of 3 clips, for a batch of 1",
        ),
        (
            {"inverted": stored(torch.zeros(1, 12, 4, 8, 6)), "latent_image": {"samples": torch.zeros(1, 12, 8, 6)}},
            "latent_image: an image latent",
        ),
    ],
)
def test_what_cannot_be_blended(rig, changes: dict, message: str) -> None:
    with pytest.raises(rig.part("motion_embedding.errors").InputError, match=message):
        blend(rig, **changes)


def test_nothing_to_blend_is_refused_before_the_run(nodes_of) -> None:
    """Links arrive as None; what is not wired does not arrive."""
    node = nodes_of.BlendInitialNoise
    assert node.validate_inputs(latent_image=None).startswith("inverted: neither it nor motion is connected")
    assert node.validate_inputs(latent_image=None, inverted=None) is True
    assert node.validate_inputs(latent_image=None, motion=None) is True


def test_a_motion_without_noise(rig) -> None:
    with pytest.raises(rig.part("motion_embedding.errors").InputError, match="motion: it holds no inverted noise"):
        blend(rig, motion=rig.train(steps=1).embedding)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latents": {"samples": torch.zeros(4, 12, 8, 6)}}, "latents: an image latent"),
        ({"latents": {"samples": torch.zeros(1, 4, 4, 8, 6)}}, "latents: it has 4 channels; the model's have 12"),
        ({"steps": 1001}, "steps: 1001 of them do not fit"),
        ({"start_noise": 1e9}, "start_noise: .* is all the noise there is"),
    ],
)
def test_what_cannot_be_inverted(rig, changes: dict, message: str) -> None:
    with pytest.raises(rig.part("motion_embedding.errors").InputError, match=message):
        invert(rig, **changes)
