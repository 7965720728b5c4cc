"""Encoders against transformers itself, on small random models made here."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
    SiglipConfig,
    SiglipModel,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

from demo.tiny_model.text import load_tokenizer, write_tokenizer
from demo.tiny_model.train_clip import WEIGHTS
from motion_embedding.errors import InputError
from motion_embedding.metrics.encoders import load_encoder

SIZE = 16
MEAN, STD = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.25, 0.3])


def processor(cls) -> object:
    plain = {"do_resize": False, "do_center_crop": False} if cls is CLIPImageProcessor else {"do_resize": False}
    return cls(image_mean=MEAN.tolist(), image_std=STD.tolist(), **plain)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip") / "tiny-clip"
    write_tokenizer(folder)
    tokenizer = load_tokenizer(folder)
    tokens = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    said = CLIPTextConfig(vocab_size=len(tokenizer), max_position_embeddings=12, **shape, **tokens)
    seen = CLIPVisionConfig(image_size=SIZE, patch_size=8, **shape)
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=said.to_dict(), vision_config=seen.to_dict(), projection_dim=10))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor(CLIPImageProcessor).save_pretrained(folder)
    return folder


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (19, SIZE, SIZE, 3), dtype=np.uint8)


def pixels(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((frames / 255 - MEAN) / STD).permute(0, 3, 1, 2).float()


def test_pictures_and_texts_are_clips_projected_vectors(clip_folder: Path, frames: np.ndarray) -> None:
    encoder = load_encoder(clip_folder, device="cpu")
    model = CLIPModel.from_pretrained(clip_folder).eval()
    prompts = ["a red star", "a blue square on a brown background"]
    tokens = load_tokenizer(clip_folder)(prompts, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(**tokens, pixel_values=pixels(frames))
    images, texts = encoder.images(frames), encoder.texts(prompts)
    assert images.dtype == texts.dtype == np.float32
    assert images.shape == (19, 10) and texts.shape == (2, 10)
    # CLIPModel returns them normalised.
    unit = [v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (images, texts)]
    np.testing.assert_allclose(unit[0], expected.image_embeds, atol=1e-5)
    np.testing.assert_allclose(unit[1], expected.text_embeds, atol=1e-5)
    assert "tiny-clip" in encoder.name


def test_long_texts_are_cut_with_a_warning(clip_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder = load_encoder(clip_folder, device="cpu")
    with caplog.at_level(logging.WARNING):
        same = encoder.texts(["star " * 10])
        assert not caplog.records, "start, ten words and end are just twelve"
        cut = encoder.texts(["star " * 30])
    assert "12 tokens" in caplog.text and "32" in caplog.text
    np.testing.assert_allclose(cut, same, atol=1e-6)


def test_siglip_reads_its_texts_padded_and_unmasked(tmp_path: Path, frames: np.ndarray) -> None:
    write_tokenizer(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    said = {"vocab_size": len(tokenizer), "max_position_embeddings": 12, "projection_size": 16, **shape}
    torch.manual_seed(2)
    model = SiglipModel(SiglipConfig(text_config=said, vision_config={"image_size": SIZE, "patch_size": 8, **shape}))
    model.eval().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    processor(ViTImageProcessor).save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path, device="cpu")
    words = tokenizer("a red star")["input_ids"]
    padded = torch.tensor([words + [tokenizer.pad_token_id] * (12 - len(words))])
    with torch.no_grad():
        expected = model(input_ids=padded, pixel_values=pixels(frames))
    images, texts = encoder.images(frames), encoder.texts(["a red star"])
    np.testing.assert_allclose(images / np.linalg.norm(images, axis=1)[:, None], expected.image_embeds, atol=1e-5)
    np.testing.assert_allclose(texts / np.linalg.norm(texts), expected.text_embeds, atol=1e-5)


@pytest.mark.parametrize("kind", ["dinov2", "vit"])
def test_a_vision_tower_gives_its_class_token_and_no_texts(kind: str, tmp_path: Path, frames: np.ndarray) -> None:
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIZE, "patch_size": 8}
    torch.manual_seed(1)
    # A DINO checkpoint in ViT's form has no pooler.
    model = Dinov2Model(Dinov2Config(**shape)) if kind == "dinov2" else ViTModel(ViTConfig(**shape), False)
    model.eval().save_pretrained(tmp_path)
    processor(ViTImageProcessor).save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path, device="cpu")
    with torch.no_grad():
        expected = model(pixels(frames)).last_hidden_state[:, 0]
    np.testing.assert_allclose(encoder.images(frames), expected, atol=1e-5)
    with pytest.raises(NotImplementedError, match="pictures only"):
        encoder.texts(["a red star"])


def test_cancelling_stops_before_the_next_batch(clip_folder: Path, frames: np.ndarray) -> None:
    calls = []

    def cancel() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    encoder = load_encoder(clip_folder, device="cpu", on_batch=cancel)
    with pytest.raises(KeyboardInterrupt):
        encoder.images(frames)


def test_the_sprite_worlds_clip_knows_its_shapes() -> None:
    from demo.tiny_model import world

    encoder = load_encoder(WEIGHTS, device="cpu")
    looks = [world.Look("red", "star", "navy", "striped"), world.Look("yellow", "circle", "gray", "plain")]
    still = world.random_motion(np.random.default_rng(0))
    images = encoder.images(np.concatenate([world.render(look, still)[:1] for look in looks]))
    texts = encoder.texts([look.prompt for look in looks])
    similar = images @ texts.T / np.linalg.norm(images, axis=1)[:, None] / np.linalg.norm(texts, axis=1)
    assert similar[0, 0] > similar[0, 1] + 0.2 and similar[1, 1] > similar[1, 0] + 0.2


class TestBadFolders:
    @pytest.fixture
    def folder(self, clip_folder: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(clip_folder, tmp_path / "copy"))

    @pytest.mark.parametrize(
        ("gone", "message"),
        [
            ("config.json", "has no config.json"),
            ("model.safetensors", r"has no \*\.safetensors"),
            ("*processor_config.json", "has no preprocessor_config.json"),
            ("[tv]o[kc][ea][nb]*.json", "has no tokenizer.json"),
        ],
    )
    def test_a_missing_file_is_named(self, folder: Path, gone: str, message: str) -> None:
        for path in folder.glob(gone):
            path.unlink()
        with pytest.raises(InputError, match=message) as caught:
            load_encoder(folder, "metrics.clip")
        assert caught.value.name == "metrics.clip" and str(folder) in caught.value.cause

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"there is no folder .*gone"):
            load_encoder(tmp_path / "gone")

    def test_a_config_that_is_no_model(self, folder: Path) -> None:
        (folder / "config.json").write_text("[]")
        with pytest.raises(InputError, match="does not say its model_type"):
            load_encoder(folder)

    def test_another_kind_of_model(self, folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
        with pytest.raises(InputError, match=r"'bert'.*Known are clip, siglip"):
            load_encoder(folder)

    def test_half_a_weights_file(self, folder: Path) -> None:
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(InputError, match="cannot be read"):
            load_encoder(folder)

    def test_weights_of_another_size(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config["vision_config"]["num_hidden_layers"] = 3
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(InputError, match=r"lack 16 parts of the model, such as vision_model\.encoder\.layers\.2"):
            load_encoder(folder)

    def test_without_transformers(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(InputError, match="pip install transformers"):
            load_encoder(folder)
