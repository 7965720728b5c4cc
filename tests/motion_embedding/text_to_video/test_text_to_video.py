"""The loaded UNet and its sampling inside a real ComfyUI, against diffusers on the same folders."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UNet3DConditionModel
from safetensors.torch import load_file, save_file

from tests.tiny_folder import MODELSCOPE_SCHEDULER

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("as_in_a_node")]


def part(pack: ModuleType, name: str = "text_to_video") -> ModuleType:
    return import_module(f"{pack.__name__}.motion_embedding.{name}")


def load_model(pack: ModuleType, folder: Path, dtype: torch.dtype | None = None) -> Any:
    return part(pack, "text_to_video_unet").load_model(folder, dtype)


def unet_inputs(channels: int, height: int = 6, width: int = 10) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, channels, 4, height, width, generator=generator)
    return x, torch.tensor([700, 700]), torch.randn(2, 24, 64, generator=generator)


def channels_of(folder: Path) -> int:
    return json.loads((folder / "unet" / "config.json").read_text())["in_channels"]


# --- UNet ---------------------------------------------------------------------------------------------------------


def test_unet_computes_what_diffusers_computes(pack: ModuleType, folder: Path) -> None:
    unet = load_model(pack, folder).model.diffusion_model
    x, t, text = unet_inputs(channels_of(folder), height=7)
    expected = UNet3DConditionModel.from_pretrained(folder / "unet")(x, t, text).sample
    torch.testing.assert_close(unet(x, t, context=text), expected, atol=1e-5, rtol=1e-5)


def test_unet_is_diffusers_with_unchanged_names(pack: ModuleType, tiny: Path) -> None:
    unet = load_model(pack, tiny).model.diffusion_model
    assert isinstance(unet.unet, UNet3DConditionModel)
    assert set(unet.unet.state_dict()) == set(load_file(tiny / "unet" / "diffusion_pytorch_model.safetensors"))


def test_half_precision_weights_are_cast_to_the_precision_of_the_computation(pack: ModuleType, tiny: Path) -> None:
    model = load_model(pack, tiny, torch.float16).model
    assert {p.dtype for p in model.diffusion_model.parameters()} == {torch.float16}
    assert model.manual_cast_dtype == torch.float32, "a CPU computes in float32"
    reference = UNet3DConditionModel.from_pretrained(tiny / "unet").half().float()
    x, t, text = unet_inputs(12)
    expected = reference(x, t, text).sample
    torch.testing.assert_close(model.diffusion_model(x, t, context=text), expected, atol=1e-5, rtol=1e-5)


def test_computing_precision_can_be_switched_by_stock_nodes(pack: ModuleType, tiny: Path) -> None:
    patcher = load_model(pack, tiny)
    x, t, text = unet_inputs(12)
    unet = patcher.model.diffusion_model
    exact = unet(x, t, context=text)
    low = patcher.clone()
    low.set_model_compute_dtype(torch.bfloat16)
    low.patch_model(torch.device("cpu"))
    rounded = unet(x.bfloat16(), t, context=text.bfloat16())
    low.unpatch_model(torch.device("cpu"))
    assert rounded.dtype == torch.bfloat16
    assert 0 < (rounded.float() - exact).abs().max() < 0.05 * exact.abs().max()
    assert torch.equal(unet(x, t, context=text), exact)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_offloaded_weights_and_lora_patches_give_equal_output(pack: ModuleType, tiny: Path, dtype: torch.dtype) -> None:
    patcher = load_model(pack, tiny, dtype)
    x, t, text = unet_inputs(12)
    plain = patcher.model.diffusion_model(x, t, context=text)
    generator = torch.Generator().manual_seed(1)
    patches = {}
    for name, weight in patcher.model.state_dict().items():
        if name.endswith(("to_q.weight", "conv_in.weight", "linear_1.weight", "to_out.0.bias")):
            patches[name] = ("diff", (torch.randn(weight.shape, generator=generator) * 0.05,))
    patched = patcher.clone()
    assert set(patched.add_patches(patches)) == set(patches)
    outputs = {}
    for memory in (0, 300_000, 1):
        patched.patch_model(torch.device("cpu"), lowvram_model_memory=memory)
        layers = [m for m in patcher.model.diffusion_model.modules() if list(m.parameters(recurse=False))]
        offloaded = sum(hasattr(m, "prev_comfy_cast_weights") for m in layers)
        assert {0: offloaded == 0, 300_000: 0 < offloaded < len(layers), 1: offloaded == len(layers)}[memory]
        outputs[memory] = patcher.model.diffusion_model(x, t, context=text)
        patched.unpatch_model(torch.device("cpu"))
    # Half precision: a loaded weight is rounded after patching, an offloaded one is patched at full precision.
    tolerance = 1e-6 if dtype == torch.float32 else 5e-3
    torch.testing.assert_close(outputs[300_000], outputs[0], atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(outputs[1], outputs[0], atol=tolerance, rtol=tolerance)
    assert (outputs[0] - plain).abs().max() > 0.01, "the patches have an effect"
    assert torch.equal(patcher.model.diffusion_model(x, t, context=text), plain), "and leave no trace"


def test_lora_files_find_the_layers_by_their_usual_names(pack: ModuleType, tiny: Path) -> None:
    import comfy.sd

    patcher = load_model(pack, tiny)
    layer = "down_blocks_0_temp_attentions_0_transformer_blocks_0_attn1_to_q"
    up, down = (f"lora_unet_{layer}.lora_{which}.weight" for which in ("up", "down"))
    lora = {up: torch.ones(16, 2), down: torch.ones(2, 16)}
    with_lora, _ = comfy.sd.load_lora_for_models(patcher, None, lora, 1.0, 0.0)
    assert list(with_lora.patches) == [
        "diffusion_model.down_blocks.0.temp_attentions.0.transformer_blocks.0.attn1.to_q.weight"
    ]


def test_two_loads_share_nothing_mutable(pack: ModuleType, tiny: Path, modelscope: Path) -> None:
    load = part(pack).load_text_to_video
    first, second, other = load(tiny), load(tiny), load(modelscope)
    for a, b in zip(first, second, strict=True):
        ours, theirs = ((x if hasattr(x, "model_options") else x.patcher).model for x in (a, b))
        pointers = {p.data_ptr() for p in ours.parameters()}
        assert not pointers & {p.data_ptr() for p in theirs.parameters()}
    models = [x[0].model for x in (first, second, other)]
    assert len({id(m.model_config.unet_config) for m in models}) == 3
    assert len({id(m.latent_format) for m in models}) == 3
    assert [m.latent_format.latent_channels for m in models] == [12, 12, 4]
    assert [x[2].latent_channels for x in (first, second, other)] == [12, 12, 4]
    assert [x[2].spacial_compression_decode() for x in (first, second, other)] == [4, 4, 8]


def test_weights_that_do_not_fit_the_config_are_refused(pack: ModuleType, tiny: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny, tmp_path / "copy"))
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights.pop("conv_in.weight")
    save_file(weights, file)
    with pytest.raises(pack.motion_embedding.errors.InputError, match=r"unet do not fit .*conv_in\.weight"):
        load_model(pack, copy)


# --- noise schedule -----------------------------------------------------------------------------------------------


def sampling(pack: ModuleType, config: dict[str, Any]) -> Any:
    return part(pack, "text_to_video_sampling").new_model_sampling(config)


def test_scaled_linear_schedule(pack: ModuleType) -> None:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, 0)
    expected = ((1 - alphas) / alphas).sqrt().float()
    torch.testing.assert_close(sampling(pack, MODELSCOPE_SCHEDULER).sigmas, expected, rtol=1e-4, atol=0)


def test_zero_snr_rescaling_and_trained_betas_end_at_a_finite_sigma(pack: ModuleType) -> None:
    rescaled = sampling(pack, {**MODELSCOPE_SCHEDULER, "rescale_betas_zero_snr": True})
    trained = sampling(pack, {"trained_betas": [0.1, 0.5, 1.0], "num_train_timesteps": 3})
    torch.testing.assert_close(trained.sigmas[:2], torch.tensor([(0.1 / 0.9) ** 0.5, (0.55 / 0.45) ** 0.5]))
    assert trained.num_timesteps == 3
    for schedule in (rescaled, trained):
        assert 4000 < schedule.sigma_max < 5000
        assert schedule.sigmas.isfinite().all() and schedule.log_sigmas.isfinite().all()
        noise = torch.randn(1, 3, 2, 4, 4)
        scaled = schedule.noise_scaling(schedule.sigma_max, noise.clone(), torch.zeros_like(noise), max_denoise=True)
        torch.testing.assert_close(schedule.calculate_input(schedule.sigma_max, scaled), noise)


@pytest.mark.parametrize(
    ("prediction", "alpha", "sigma"), [("epsilon", 0, 1), ("v_prediction", 1, 1), ("sample", 1, 0)]
)
def test_predictions_become_the_clean_sample(pack: ModuleType, prediction: str, alpha: int, sigma: int) -> None:
    """With x0 and noise known, a model that predicts perfectly is denoised to x0."""
    schedule = sampling(pack, {**MODELSCOPE_SCHEDULER, "prediction_type": prediction})
    x0, noise = torch.randn(2, 1, 4, 2, 3, 3)
    level = torch.tensor([2.0])
    a, s = 1 / 5**0.5, 2 / 5**0.5
    output = {"epsilon": noise, "v_prediction": a * noise - s * x0, "sample": x0}[prediction]
    torch.testing.assert_close(schedule.calculate_denoised(level, output, x0 + 2 * noise), x0, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("key", ["beta_schedule", "prediction_type"])
def test_unknown_schedules_are_refused(pack: ModuleType, key: str) -> None:
    with pytest.raises(pack.motion_embedding.errors.InputError, match=f"unknown {key} 'odd'"):
        sampling(pack, {key: "odd"})


def ddim(folder: Path, noise: torch.Tensor, text: torch.Tensor, empty: torch.Tensor, steps: int) -> torch.Tensor:
    """Plain diffusers: DDIM with trailing timesteps and guidance 2."""
    unet = UNet3DConditionModel.from_pretrained(folder / "unet")
    scheduler = DDIMScheduler.from_pretrained(
        folder / "scheduler", timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True
    )
    scheduler.set_timesteps(steps)
    x = noise.clone()
    for t in scheduler.timesteps:
        with_text, without = (unet(x, t, c.expand(len(x), -1, -1)).sample for c in (text, empty))
        x = scheduler.step(without + 2 * (with_text - without), t, x, eta=0.0).prev_sample
    return x


@pytest.mark.parametrize(("folder", "sampler"), [("tiny", "ddim"), ("modelscope", "euler")], indirect=["folder"])
def test_ksampler_matches_ddim_of_diffusers(pack: ModuleType, folder: Path, sampler: str) -> None:
    import comfy.sample

    import nodes

    model = load_model(pack, folder)
    _, _, text = unet_inputs(1)
    latent = torch.zeros(2, channels_of(folder), 4, 6, 10)
    noise = comfy.sample.prepare_noise(latent, 3)
    positive, negative = ([[c[None], {}]] for c in text)
    result = nodes.KSampler().sample(model, 3, 20, 2.0, sampler, "simple", positive, negative, {"samples": latent})[0][
        "samples"
    ]
    expected = ddim(folder, noise, text[:1], text[1:], 20)
    ours = result * model.model.latent_format.scale_factor
    assert (ours - expected).abs().max() < 2e-3 * expected.abs().max()


@pytest.mark.parametrize("scheduler", ["normal", "sgm_uniform", "simple", "ddim_uniform"])
def test_zero_snr_model_starts_from_pure_noise(pack: ModuleType, tiny: Path, scheduler: str) -> None:
    """At every common scheduler's first step the UNet sees noise of variance one, at a timestep next to the last."""
    import nodes

    model = load_model(pack, tiny)
    seen: list[tuple[torch.Tensor, float]] = []

    def spy(apply: Any, arguments: dict[str, Any]) -> torch.Tensor:
        schedule = model.model.model_sampling
        sigma = arguments["timestep"]
        seen.append((schedule.calculate_input(sigma, arguments["input"]), float(schedule.timestep(sigma)[0])))
        return apply(arguments["input"], sigma, **arguments["c"])

    model.set_model_unet_function_wrapper(spy)
    conditioning = [[torch.randn(1, 24, 64), {}]]
    latent = torch.zeros(1, 12, 4, 8, 8)
    result = nodes.KSampler().sample(
        model, 5, 20, 1.0, "euler", scheduler, conditioning, conditioning, {"samples": latent}
    )[0]["samples"]
    first, timestep = seen[0]
    noise = torch.randn(latent.shape, generator=torch.manual_seed(5))
    assert timestep == 999 if scheduler != "ddim_uniform" else timestep >= 949
    assert (first - noise).abs().max() < 0.01
    assert result.isfinite().all() and result.std() > 0.01
