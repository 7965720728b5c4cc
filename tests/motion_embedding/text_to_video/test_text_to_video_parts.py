"""The loaded text encoder and VAE inside a real ComfyUI, against transformers and diffusers on the same folders."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

from tests.tiny_folder import make_tiny_folder

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("as_in_a_node")]
PROMPTS = ["a red star on a blue background", "", " ".join(["blue"] * 40)]


def part(pack: ModuleType, name: str = "text_to_video") -> ModuleType:
    return import_module(f"{pack.__name__}.motion_embedding.{name}")


def reference_text(folder: Path, prompt: str) -> torch.Tensor:
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    ids = tokenizer(
        prompt, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    ).input_ids
    return CLIPTextModel.from_pretrained(folder / "text_encoder")(ids).last_hidden_state


@pytest.mark.parametrize("prompt", PROMPTS[:2])
def test_text_is_encoded_as_transformers_does(pack: ModuleType, tiny: Path, prompt: str) -> None:
    clip = part(pack, "text_to_video_clip").load_clip(tiny, torch.float32)
    ours = clip.encode_from_tokens(clip.tokenize(prompt))
    assert ours.shape == (1, 24, 64)
    assert (ours - reference_text(tiny, prompt)).abs().max() < 1e-4


def test_long_prompts_continue_in_a_second_window(pack: ModuleType, tiny: Path) -> None:
    clip = part(pack, "text_to_video_clip").load_clip(tiny, torch.float32)
    ours = clip.encode_from_tokens(clip.tokenize(PROMPTS[2]))
    assert ours.shape == (1, 48, 64)
    assert (ours[:, :24] - reference_text(tiny, PROMPTS[2])).abs().max() < 1e-4


def test_other_text_towers(pack: ModuleType, tmp_path: Path) -> None:
    """More layers, quick_gelu, longer windows, another pad token, and key names with the prefix of old files."""
    changes = {"num_hidden_layers": 3, "hidden_act": "quick_gelu", "max_position_embeddings": 77}
    folder = make_tiny_folder(tmp_path / "tower", text_encoder=changes)
    settings = folder / "tokenizer" / "tokenizer_config.json"
    config = json.loads(settings.read_text())
    settings.write_text(json.dumps({**config, "pad_token": "!", "model_max_length": 77}))
    (folder / "tokenizer" / "special_tokens_map.json").unlink()
    load_clip = part(pack, "text_to_video_clip").load_clip
    expected = reference_text(folder, PROMPTS[0])
    assert expected.shape == (1, 77, 64)
    clip = load_clip(folder, torch.float32)
    assert clip.tokenize("")["l"][0][-1][0] == CLIPTokenizer.from_pretrained(folder / "tokenizer").pad_token_id
    assert (clip.encode(PROMPTS[0]) - expected).abs().max() < 1e-4
    file = folder / "text_encoder" / "model.safetensors"
    weights = {f"text_model.{name.removeprefix('text_model.')}": w for name, w in load_file(file).items()}
    save_file({**weights, "text_model.embeddings.position_ids": torch.arange(77)[None]}, file)
    assert torch.equal(load_clip(folder, torch.float32).encode(PROMPTS[0]), clip.encode(PROMPTS[0]))


def test_vae_matches_diffusers_frame_by_frame(pack: ModuleType, folder: Path) -> None:
    vae = part(pack, "text_to_video_vae").load_vae(folder, torch.float32)
    reference = AutoencoderKL.from_pretrained(folder / "vae")
    frames = torch.rand(5, 32, 48, 3, generator=torch.Generator().manual_seed(0))
    latents = reference.encode(frames.movedim(-1, 1) * 2 - 1).latent_dist.mode()
    encoded = vae.encode(frames)
    torch.testing.assert_close(encoded, latents.movedim(0, 1)[None], atol=1e-5, rtol=1e-5)
    assert torch.equal(encoded, vae.encode(frames)), "encoding draws nothing"
    decoded = (reference.decode(latents).sample.movedim(1, -1) / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(vae.decode(encoded)[0], decoded, atol=1e-5, rtol=1e-5)


def test_vae_works_in_chunks_when_memory_is_short(
    pack: ModuleType, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = part(pack, "text_to_video_vae")
    vae = module.load_vae(tiny, torch.float32)
    latents = torch.randn(2, 12, 5, 8, 8)
    whole = vae.decode(latents)
    sizes: list[int] = []
    decode = vae.first_stage_model.autoencoder.decode
    monkeypatch.setattr(
        vae.first_stage_model.autoencoder, "decode", lambda z: (sizes.append(len(z)), decode(z))[1], raising=True
    )
    room_for_two = 2.5 * vae.first_stage_model.frame_memory(32, 32, torch.float32, decoding=True)
    monkeypatch.setattr(module.comfy.model_management, "get_free_memory", lambda *_: room_for_two)
    chunked = vae.first_stage_model.decode(latents)
    assert sizes == [2] * 5
    torch.testing.assert_close(vae.process_output(chunked).movedim(1, -1), whole, atol=1e-5, rtol=1e-5)


def test_tiled_vae_keeps_shapes_and_agrees_inside_one_tile(pack: ModuleType, tiny: Path) -> None:
    import nodes

    vae = part(pack, "text_to_video_vae").load_vae(tiny, torch.float32)
    frames = torch.rand(6, 96, 160, 3)
    latent = {"samples": vae.encode(frames)}
    tiled = nodes.VAEEncodeTiled().encode(vae, frames, 64, 16, 8, 4)[0]["samples"]
    assert tiled.shape == latent["samples"].shape == (1, 12, 6, 24, 40)
    images = nodes.VAEDecodeTiled().decode(vae, latent, 64, 16, 8, 4)[0]
    assert images.shape == (6, 96, 160, 3)
    torch.testing.assert_close(nodes.VAEDecodeTiled().decode(vae, latent, 512)[0], vae.decode(latent["samples"])[0])


def test_vae_files_of_old_diffusers_are_read(pack: ModuleType, modelscope: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(modelscope, tmp_path / "old"))
    file = old / "vae" / "diffusion_pytorch_model.safetensors"
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(file)
    renamed = {}
    for name, weight in weights.items():
        for new, former in names.items():
            name = name.replace(f".attentions.0.{new}.", f".attentions.0.{former}.")
        renamed[name] = weight
    assert len(set(renamed) - set(weights)) == 16
    save_file(renamed, file)
    load_vae = part(pack, "text_to_video_vae").load_vae
    frames = torch.rand(2, 16, 16, 3)
    assert torch.equal(load_vae(old).encode(frames), load_vae(modelscope).encode(frames))
