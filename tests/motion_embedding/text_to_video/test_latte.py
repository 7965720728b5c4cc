"""The loaded Latte inside a real ComfyUI, against diffusers and transformers on the same folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, LattePipeline, LatteTransformer3DModel
from safetensors.torch import load_file, save_file
from transformers import T5EncoderModel, T5TokenizerFast

from motion_embedding.errors import InputError
from motion_embedding.text_to_video_folder import LATTE, UNET, check_folder, find_folders
from tests.tiny_latte import FRAMES, TEXT_WIDTH, make_tiny_latte

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("as_in_a_node")]
PROMPT = "A red star, seen through the Fog "


@pytest.fixture(scope="module")
def latte(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_latte(tmp_path_factory.mktemp("latte") / "latte")


@pytest.fixture
def copy(latte: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(latte, tmp_path / "latte"))


def part(pack: ModuleType, name: str = "text_to_video") -> ModuleType:
    return import_module(f"{pack.__name__}.motion_embedding.{name}")


def load_model(pack: ModuleType, folder: Path, dtype: torch.dtype | None = None) -> Any:
    return part(pack, "text_to_video_latte").load_model(folder, dtype)


def load_t5(pack: ModuleType, folder: Path) -> Any:
    return part(pack, "text_to_video_t5").load_t5(folder, torch.float32)


@pytest.fixture(scope="module")
def tokenizer(comfy: Path) -> T5TokenizerFast:
    return T5TokenizerFast.from_pretrained(comfy / "comfy" / "text_encoders" / "t5_tokenizer")


def inputs(*shape: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, *shape, generator=generator)
    return x, torch.tensor([700, 30]), torch.randn(2, 9, TEXT_WIDTH, generator=generator)


# --- transformer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(FRAMES, 8, 8), (FRAMES, 6, 10), (1, 8, 8), (3, 8, 8), (9, 8, 8)])
def test_it_computes_what_diffusers_computes(pack: ModuleType, latte: Path, shape: tuple[int, ...]) -> None:
    """diffusers has the frames' positions for the configured length alone; the same formula gives other lengths."""
    ours = load_model(pack, latte).model.diffusion_model
    x, t, text = inputs(*shape)
    reference = LatteTransformer3DModel.from_pretrained(latte / "transformer", video_length=shape[0])
    expected = reference(x, t, text).sample
    assert expected.shape[1] == 8, "of which the second half is the variance"
    torch.testing.assert_close(ours(x, t, context=text), expected[:, :4], atol=1e-5, rtol=1e-5)


def test_odd_latents_are_padded_to_whole_patches(pack: ModuleType, latte: Path) -> None:
    ours = load_model(pack, latte).model.diffusion_model
    x, t, text = inputs(FRAMES, 7, 5)
    padded = torch.cat([x, x[..., :1, :]], dim=-2)  # as the host's own transformers do, around the picture
    padded = torch.cat([padded, padded[..., :1]], dim=-1)
    expected = LatteTransformer3DModel.from_pretrained(latte / "transformer")(padded, t, text).sample
    torch.testing.assert_close(ours(x, t, context=text), expected[:, :4, :, :7, :5], atol=1e-5, rtol=1e-5)


def test_names_are_those_of_the_file(pack: ModuleType, latte: Path) -> None:
    ours = load_model(pack, latte).model.diffusion_model
    assert set(ours.state_dict()) == set(load_file(latte / "transformer" / "diffusion_pytorch_model.safetensors"))


@pytest.mark.parametrize("memory", [0, 20_000, 1])
def test_half_precision_weights_compute_in_full_wherever_they_are(pack: ModuleType, latte: Path, memory: int) -> None:
    """memory: of the device, in bytes; 0 stands for enough. What is not in it is brought to it layer by layer."""
    patcher = load_model(pack, latte, torch.float16)
    x, t, text = inputs(FRAMES, 8, 8)
    reference = LatteTransformer3DModel.from_pretrained(latte / "transformer")
    for weight in reference.parameters():  # and not the tables of positions, which no file rounds
        weight.data = weight.data.half().float()
    patcher.patch_model(torch.device("cpu"), lowvram_model_memory=memory)
    result = patcher.model.diffusion_model(x, t, context=text)
    patcher.unpatch_model(torch.device("cpu"))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, reference(x, t, text).sample[:, :4], atol=1e-5, rtol=1e-5)


def test_computing_in_half_precision_stays_in_it(pack: ModuleType, latte: Path) -> None:
    """The tables of the blocks are in no layer: in the precision of the weights they would undo that of the input."""
    network = load_model(pack, latte).model.diffusion_model
    x, t, text = inputs(FRAMES, 8, 8)
    exact = network(x, t, context=text)
    seen = []
    hook = network.transformer_blocks[1].register_forward_hook(lambda m, args, out: seen.append(out.dtype))
    rounded = network.to(torch.bfloat16)(x.bfloat16(), t, context=text.bfloat16())
    hook.remove()
    assert seen == [torch.bfloat16]
    assert 0 < (rounded.float() - exact).abs().max() < 0.1 * exact.abs().max()


# --- text ---------------------------------------------------------------------------------------------------------


def reference_text(tokenizer: Any, folder: Path, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = tokenizer(prompt, padding="max_length", max_length=120, truncation=True, return_tensors="pt")
    encoder = T5EncoderModel.from_pretrained(folder / "text_encoder")
    return encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0], tokens.attention_mask


@pytest.mark.parametrize("prompt", [PROMPT, "", "blue " * 200])
def test_text_is_encoded_as_transformers_does(pack: ModuleType, tokenizer: Any, latte: Path, prompt: str) -> None:
    import nodes

    ((ours, settings),) = nodes.CLIPTextEncode().encode(load_t5(pack, latte), prompt)[0]
    expected, mask = reference_text(tokenizer, latte, prompt.lower().strip())
    assert ours.shape[1] == (240 if len(prompt) > 500 else 120), "a long prompt goes on in a second window"
    assert torch.equal(settings["attention_mask"][:, :120], mask)
    torch.testing.assert_close(ours[:, :120], expected, atol=1e-4, rtol=1e-4)


def test_the_model_reads_a_prompt_without_its_padding(pack: ModuleType) -> None:
    kept = part(pack, "text_to_video_latte").kept_tokens
    text = torch.arange(6.0).view(1, 6, 1)
    assert kept(text, torch.tensor([[1, 1, 0, 0, 1, 0]])).flatten().tolist() == [0, 1, 4]
    assert kept(text, torch.tensor([[1, 0, 0]])).flatten().tolist() == [0, 3, 4, 5], "what a node appended stays"


def test_sampling_gives_what_the_pipeline_gives(pack: ModuleType, tokenizer: Any, latte: Path) -> None:
    """The whole chain: prompts, masks, guidance, schedule, epsilon. The pipeline cuts both prompts to one length."""
    import comfy.sample
    from comfy_extras.nodes_custom_sampler import KSamplerSelect, SamplerCustom

    import nodes

    scheduler = DDIMScheduler.from_pretrained(latte / "scheduler")
    scheduler.set_timesteps(4)
    alphas = scheduler.alphas_cumprod[scheduler.timesteps].double()
    sigmas = torch.cat([((1 - alphas) / alphas).sqrt(), torch.zeros(1)]).float()
    latent = torch.zeros(1, 4, FRAMES, 8, 8)
    noise = comfy.sample.prepare_noise(latent, 3)
    pipeline = LattePipeline(
        tokenizer,
        T5EncoderModel.from_pretrained(latte / "text_encoder"),
        AutoencoderKL.from_pretrained(latte / "vae"),
        LatteTransformer3DModel.from_pretrained(latte / "transformer"),
        scheduler,
    )
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        PROMPT,
        num_inference_steps=4,
        guidance_scale=3.0,
        video_length=FRAMES,
        height=64,
        width=64,
        latents=noise * sigmas[0] / (1 + sigmas[0] ** 2).sqrt(),
        output_type="latent",
        clean_caption=False,
    ).frames
    model, clip = load_model(pack, latte), load_t5(pack, latte)
    positive, negative = (nodes.CLIPTextEncode().encode(clip, text)[0] for text in (PROMPT, ""))
    (sampler,) = KSamplerSelect.execute("euler").result
    ours = SamplerCustom.execute(model, True, 3, 3.0, positive, negative, sampler, sigmas, {"samples": latent}).result
    ours = ours[0]["samples"] * model.model.latent_format.scale_factor
    assert (ours - expected).abs().max() < 1e-3 * expected.abs().max()
    assert negative[0][1]["attention_mask"].sum() == 1, "the graph's own conditioning is left alone"


# --- folders ------------------------------------------------------------------------------------------------------


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def test_only_folders_of_the_kind_are_found(copy: Path) -> None:
    assert find_folders([copy.parent], LATTE) == {"latte": copy}
    assert find_folders([copy.parent], UNET) == {}
    (copy / "model_index.json").unlink()
    assert find_folders([copy.parent], LATTE) == {"latte": copy}
    check_folder(copy, LATTE)


WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (lambda f: shutil.rmtree(f / "vae"), "has no vae/config.json"),
        (lambda f: shutil.rmtree(f / "text_encoder"), "has no text_encoder/config.json"),
        (lambda f: cut(f / "transformer" / WEIGHTS), "is cut off"),
        (lambda f: cut(f / "text_encoder" / "model.safetensors"), "is cut off"),
        (lambda f: edit_json(f / "transformer/config.json", _class_name="DiT"), "is a DiT, not a LatteTransformer3D"),
        (lambda f: edit_json(f / "transformer/config.json", in_channels=8), "takes 8 channels and gives 8"),
        (lambda f: edit_json(f / "transformer/config.json", out_channels=4), "takes 4 channels and gives 4"),
        (lambda f: edit_json(f / "text_encoder/config.json", d_model=64), "64 wide but its transformer reads 16"),
    ],
)
def test_a_damaged_folder_is_refused_before_loading(copy: Path, damage: Callable, cause: str) -> None:
    damage(copy)
    with pytest.raises(InputError, match=cause) as refusal:
        check_folder(copy, LATTE)
    assert refusal.value.name == "folder"


def test_without_the_text_encoder_the_rest_is_enough(pack: ModuleType, copy: Path) -> None:
    shutil.rmtree(copy / "text_encoder")
    model, clip, vae = part(pack).load_latte(copy, text_encoder=False)
    assert clip is None and vae.latent_channels == 4 and model.model.diffusion_model.text_width == TEXT_WIDTH


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"dense_act_fn": "silu", "feed_forward_proj": "gated-silu"}, "dense_act_fn 'silu'"),
        ({"relative_attention_max_distance": 64}, "relative_attention_max_distance 64"),
        ({"num_layers": 3}, "weights in text_encoder do not fit"),
    ],
)
def test_another_t5_is_refused(pack: ModuleType, copy: Path, changes: dict[str, Any], cause: str) -> None:
    edit_json(copy / "text_encoder" / "config.json", **changes)
    with pytest.raises(pack.motion_embedding.errors.InputError, match=cause):
        load_t5(pack, copy)


def test_a_text_encoder_that_names_its_tokens_the_old_way(pack: ModuleType, latte: Path, copy: Path) -> None:
    file = copy / "text_encoder" / "model.safetensors"
    weights = load_file(file)
    save_file({**weights, "encoder.embed_tokens.weight": weights["shared.weight"].clone()}, file)
    assert torch.equal(load_t5(pack, copy).encode(PROMPT), load_t5(pack, latte).encode(PROMPT))


def test_weights_that_do_not_fit_the_config_are_refused(pack: ModuleType, copy: Path) -> None:
    edit_json(copy / "transformer" / "config.json", num_layers=3)
    with pytest.raises(pack.motion_embedding.errors.InputError, match="weights in transformer do not fit"):
        load_model(pack, copy)
