"""The host's own CLIP and CLIP_VISION as an encoder, against transformers' CLIPModel on the same random weights."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

pytestmark = pytest.mark.host

SIZE, WIDTH = 32, 16
SHAPE = {
    "hidden_size": WIDTH,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "hidden_act": "quick_gelu",
}


@pytest.fixture(scope="module")
def model() -> CLIPModel:
    """As wide as the host's text projection demands (square), with its vocabulary of 49408.

    Its weights are numbers that half precision holds exactly, since that is how the host keeps them.
    """
    torch.manual_seed(0)
    said = CLIPTextConfig(projection_dim=WIDTH, **SHAPE, bos_token_id=49406, eos_token_id=49407, pad_token_id=49407)
    seen = CLIPVisionConfig(image_size=SIZE, patch_size=8, projection_dim=WIDTH, **SHAPE)
    config = CLIPConfig(text_config=said.to_dict(), vision_config=seen.to_dict(), projection_dim=WIDTH)
    return CLIPModel(config).eval().half().float()


@pytest.fixture(scope="module")
def tokenizer(comfy: Path) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(comfy / "comfy" / "sd1_tokenizer")


@pytest.fixture(scope="module")
def encoders(pack: ModuleType) -> ModuleType:
    return importlib.import_module(f"{pack.__name__}.motion_embedding.metrics.host_encoder")


@pytest.fixture(scope="module")
def refused(pack: ModuleType) -> Callable[[str], Any]:
    error = importlib.import_module(f"{pack.__name__}.motion_embedding.errors").InputError
    return partial(pytest.raises, error)


@pytest.fixture(scope="module")
def vision(comfy: Path, model: CLIPModel, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from comfy.clip_vision import ClipVisionModel

    config = {"model_type": "clip_vision_model", "num_channels": 3, "image_size": SIZE, "patch_size": 8, **SHAPE}
    path = tmp_path_factory.mktemp("vision") / "config.json"
    path.write_text(json.dumps({**config, "projection_dim": WIDTH}))
    loaded = ClipVisionModel(path)
    missing, _ = loaded.load_sd({k: v for k, v in model.state_dict().items() if k.startswith("vis")})
    assert not missing
    return loaded


@pytest.fixture(scope="module")
def clip(comfy: Path, model: CLIPModel) -> Any:
    """What **Load CLIP** of type stable_diffusion makes of a CLIP file, only smaller."""
    return host_clip({k: v for k, v in model.state_dict().items() if k.startswith("text")})


def host_clip(weights: dict[str, torch.Tensor]) -> Any:
    import comfy.sd
    from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer, SDClipModel
    from comfy.supported_models_base import ClipTarget

    config = {**SHAPE, "max_position_embeddings": 77, "eos_token_id": 49407}
    tower = partial(SDClipModel, textmodel_json_config=config, return_projected_pooled=False)
    loaded = comfy.sd.CLIP(ClipTarget(SD1Tokenizer, partial(SD1ClipModel, clip_model=tower)))
    missing, _ = loaded.load_sd(weights)
    assert not [name for name in missing if name != "logit_scale"]
    return loaded


def said_by(model: CLIPModel, tokenizer: CLIPTokenizer, prompts: list[str]) -> np.ndarray:
    tokens = tokenizer(prompts, padding="max_length", truncation=True, max_length=77, return_tensors="pt")
    with torch.no_grad():
        return model.get_text_features(**tokens).pooler_output.numpy()


def test_pictures_equal_clips_on_equal_pixels(encoders, vision, model) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (19, SIZE, SIZE, 3), dtype=np.uint8)
    pixels = CLIPImageProcessor(do_resize=False, do_center_crop=False)(list(frames), return_tensors="pt")
    with torch.no_grad():
        expected = model.get_image_features(**pixels).pooler_output.numpy()
    images = encoders.HostEncoder(vision).images(frames)
    assert images.dtype == np.float32
    np.testing.assert_allclose(images, expected, atol=2e-5)


def test_preparing_pictures_differs_by_rounding_only(encoders, vision, model) -> None:
    """A wide smooth picture, resized and cut by either side."""
    y, x = np.mgrid[0:96, 0:150] / 96
    frame = (np.stack([x / 2, y, 1 - y * x / 2], -1) * 255).astype(np.uint8)[None]
    cut = {"size": {"shortest_edge": SIZE}, "crop_size": {"height": SIZE, "width": SIZE}}
    with torch.no_grad():
        pixels = CLIPImageProcessor(**cut)(list(frame), return_tensors="pt")
        expected = model.get_image_features(**pixels).pooler_output.numpy()
    image = encoders.HostEncoder(vision).images(frame)
    assert (image * expected).sum() / np.linalg.norm(image) / np.linalg.norm(expected) > 0.9999


@pytest.mark.parametrize(
    "prompt", ["a red star", "", "a (red:1.4) star, [not] ((blue))", "embedding:star", "a star\nembedding: star"]
)
def test_texts_equal_clips_to_the_letter(encoders, vision, clip, model, tokenizer, prompt: str) -> None:
    texts = encoders.HostEncoder(vision, clip).texts([prompt, "another"])
    np.testing.assert_allclose(texts, said_by(model, tokenizer, [prompt, "another"]), atol=2e-5)


def test_long_texts_are_cut_as_transformers_does_with_a_warning(
    encoders, vision, clip, model, tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = ", ".join(f"{i} red stars" for i in range(40))
    with caplog.at_level(logging.WARNING):
        texts = encoders.HostEncoder(vision, clip).texts([prompt])
    assert "the rest is cut off" in caplog.text
    np.testing.assert_allclose(texts, said_by(model, tokenizer, [prompt]), atol=2e-5)


def test_the_clip_is_left_as_it_was(encoders, vision, clip) -> None:
    tokens = clip.tokenize("a red star")
    before = clip.encode_from_tokens(tokens, return_pooled=True)
    encoders.HostEncoder(vision, clip).texts(["a red star"])
    tower = clip.cond_stage_model.clip_l
    assert (tower.layer, tower.layer_idx, tower.return_projected_pooled) == tower.options_default
    after = clip.encode_from_tokens(tokens, return_pooled=True)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


class TestPairsThatShareNoSpace:
    """Each says which files to load."""

    def test_a_text_encoder_without_its_projection(self, encoders, vision, clip, refused) -> None:
        weights = {k.removeprefix("transformer."): v for k, v in clip.cond_stage_model.clip_l.state_dict().items()}
        for projection in (torch.eye(WIDTH), torch.zeros(WIDTH, WIDTH), torch.full((WIDTH, WIDTH), torch.nan)):
            bare = host_clip({**weights, "text_projection.weight": projection})
            with refused(match=r"clip: .*clip_l\.safetensors"):
                encoders.HostEncoder(vision, bare).texts(["a"])

    def test_the_text_encoder_of_a_video_model(self, encoders, vision, rig, refused) -> None:
        with refused(match="clip: .*without CLIP's text projection.*clip_l"):
            encoders.HostEncoder(vision, rig.clip).texts(["a red star"])

    def test_t5(self, encoders, vision, refused) -> None:
        class Model:
            def reset_clip_options(self) -> None: ...

            def set_clip_options(self, options: dict) -> None: ...

            def encode_token_weights(self, tokens: dict) -> tuple[torch.Tensor, None]:
                return torch.zeros(1, 7, 8), None

        t5 = SimpleNamespace(
            cond_stage_model=Model(), load_model=lambda: None, tokenize=lambda text, **_: {"t5xxl": [[(1, 1.0)]]}
        )
        with refused(match="clip: .*no vector for a whole text.*clip_l"):
            encoders.HostEncoder(vision, t5).texts(["a"])

    def test_another_width(self, encoders, vision, clip, refused) -> None:
        narrow = SimpleNamespace(
            model=vision.model, encode_image=lambda image: {"image_embeds": torch.zeros(len(image), 8)}
        )
        with refused(match="clip: its vectors have 16 numbers and those of clip_vision 8"):
            encoders.HostEncoder(narrow, clip).texts(["a"])

    def test_dino_knows_no_texts(self, encoders, clip, refused) -> None:
        import comfy.ops
        from comfy.image_encoders.dino2 import Dinov2Model

        config = {"num_hidden_layers": 1, "hidden_size": WIDTH, "num_attention_heads": 2, "layer_norm_eps": 1e-6}
        dino = Dinov2Model({**config, "use_swiglu_ffn": False}, torch.float32, "cpu", comfy.ops.manual_cast)
        with refused(match="clip_vision: .*knows no texts"):
            encoders.HostEncoder(SimpleNamespace(model=dino), clip).texts(["a"])

    def test_no_single_vector_per_picture(self, encoders, vision, refused) -> None:
        siglip = SimpleNamespace(
            model=vision.model, encode_image=lambda image: {"image_embeds": torch.zeros(len(image), 9, 8)}
        )
        with refused(match="clip_vision: .*SigLIP"):
            encoders.HostEncoder(siglip).images(np.zeros((2, 8, 8, 3), np.uint8))

    def test_no_clip_at_all(self, encoders, vision) -> None:
        with pytest.raises(NotImplementedError, match="no CLIP"):
            encoders.HostEncoder(vision).texts(["a"])
