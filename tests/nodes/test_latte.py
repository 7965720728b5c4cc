"""Learning and using a motion on Latte in the real host, on a small random model, and its loader node."""

from __future__ import annotations

import importlib
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from tests import families
from tests.families import FRAMES, HEIGHT, WIDTH, Family
from tests.tiny_latte import make_tiny_latte

pytestmark = pytest.mark.host


def part(pack: ModuleType, name: str) -> ModuleType:
    return importlib.import_module(f"{pack.__name__}.{name}")


@pytest.fixture(scope="module")
def made(comfy: Path, pack: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Family:
    return families.latte(lambda name: part(pack, name), tmp_path_factory.mktemp("latte"))


@pytest.fixture
def latte(made: Family) -> Iterator[Family]:
    """Checked to be as it was after the test."""
    plain = made.sample(steps=1)
    before, flags = made.state(), [p.requires_grad for p in made.model.model.parameters()]
    yield made
    assert torch.equal(made.sample(steps=1), plain)
    made.assert_unchanged(before)
    assert [p.requires_grad for p in made.model.model.parameters()] == flags


def clip(frames: int = FRAMES) -> torch.Tensor:
    return torch.randn(1, 4, frames, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(3))


def train(pack: ModuleType, latte: Family, model: Any = None, latents: torch.Tensor | None = None, **changes: Any):
    """As a node would: inside inference mode."""
    training = part(pack, "motion_embedding.training")
    recipe = training.Recipe(**{"steps": 3, "learning_rate": 0.1, **changes})
    latents = clip() if latents is None else latents
    with torch.inference_mode():
        return training.train_motion(model or latte.model, latte.positive, latents, recipe)


def test_the_loss_falls_and_every_layer_learns(pack: ModuleType, latte: Family) -> None:
    """Against the losses of the same steps, of the same noises, when nothing is learnt."""
    settings = {"steps": 30, "start_percent": 0.3, "end_percent": 0.7}
    trained, frozen = (train(pack, latte, learning_rate=rate, **settings) for rate in (0.05, 1e-9))
    assert trained.losses[0] == frozen.losses[0]
    assert np.mean(trained.losses[-10:]) < 0.97 * np.mean(frozen.losses[-10:])
    embedding = trained.embedding
    assert (embedding.backbone, embedding.prediction, embedding.frames) == ("latte", "epsilon", FRAMES)
    assert list(embedding.layers) == ["temporal_transformer_blocks.0", "temporal_transformer_blocks.1"]
    for layer in embedding.layers.values():
        assert layer.query_key.abs().amax(-1).min() > 0, "every frame"
        assert layer.value["attn1"].shape == (HEIGHT // 2, WIDTH // 2, FRAMES, 16)
        assert layer.value["attn1"].abs().amax(-1).min() > 0, "every token of every frame"


def test_the_loss_is_that_of_the_first_four_channels(pack: ModuleType, latte: Family) -> None:
    """At the first step nothing is learnt: the loss is the error of epsilon, by hand from diffusers' network."""
    trained = train(pack, latte, steps=1)
    generator = torch.Generator().manual_seed(0)
    offset = torch.rand((), generator=generator).item()
    torch.randint(FRAMES, (), generator=generator)
    noise = torch.randn(clip().shape, generator=generator)
    percent = 1e-3 + (1 - 2e-3) * ((offset + 0.5 * 0.6180339887498949) % 1) ** 2
    time = 999 * (1 - percent)  # between two of the levels that betas from 1e-4 to 0.02 give
    sums = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).log().cumsum(0)
    below, above = ((-sums).exp() - 1).sqrt().log()[int(time) : int(time) + 2]
    sigma = math.exp(below + (above - below) * (time % 1))
    text, settings = latte.positive[0]
    text = text[:, settings["attention_mask"][0].bool()]
    with torch.inference_mode():
        noisy = (clip() * 0.18215 + sigma * noise) / math.sqrt(sigma**2 + 1)
        said = latte.model.model.diffusion_model(noisy, torch.tensor([round(time)]), context=text)
    assert trained.losses[0] == pytest.approx((said - noise).square().mean().item(), rel=1e-3)


@pytest.mark.parametrize("loss", ["debiased", "debiased_hybrid", "motion_distillation"])
@pytest.mark.parametrize("layers", ["paper", "recommended"])
def test_every_loss_trains(pack: ModuleType, latte: Family, loss: str, layers: str) -> None:
    trained = train(pack, latte, loss=loss, layers=layers)
    assert all(map(math.isfinite, trained.losses))
    assert all(layer.value["attn1"].abs().max() > 0 for layer in trained.embedding.layers.values())


def test_a_motion_serves_clips_of_another_length_and_size(pack: ModuleType, latte: Family) -> None:
    """The learnt rows are resampled; the model's own positions are made for the length."""
    trained = train(pack, latte, latents=clip(6))
    assert trained.embedding.frames == 6
    moved = part(pack, "motion_embedding.injection").apply_embedding(latte.model, trained.embedding)
    for shape in ((1, 4, 3, 10, 8), (1, 4, 9, 5, 7), latte.shape):
        with_it, without = (latte.sample(model, latent=torch.zeros(shape)) for model in (moved, latte.model))
        assert with_it.shape == shape and with_it.isfinite().all()
        assert (with_it - without).abs().max() > 1e-3 * without.abs().max()


# --- the node -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(base: Path) -> Iterator[Path]:
    path = make_tiny_latte(base / "models" / "diffusers" / "test-latte")
    yield path
    shutil.rmtree(path)


def test_load_encode_sample_decode(pack: ModuleType, folder: Path) -> None:
    import nodes

    loader = part(pack, "nodes.model")
    with torch.inference_mode():
        assert "test-latte" in loader.LoadLatteModel.define_schema().inputs[0].options
        assert "test-latte" not in loader.LoadTextToVideoModel.define_schema().inputs[0].options
        assert loader.LoadLatteModel.validate_inputs("test-latte", "of the folder") is True
        model, text, vae = loader.LoadLatteModel.execute("test-latte", "auto", "of the folder").result
        positive, negative = (nodes.CLIPTextEncode().encode(text, prompt)[0] for prompt in ("(red:1.3) star", ""))
        (latent,) = loader.EmptyVideoLatent.execute(vae, 64, 48, FRAMES, 2).result
        (result,) = nodes.KSampler().sample(model, 7, 2, 2.0, "euler", "simple", positive, negative, latent)
        (images,) = nodes.VAEDecode().decode(vae, result)
    assert result["samples"].shape == (2, 4, FRAMES, 6, 8)
    assert images.shape == (2 * FRAMES, 48, 64, 3) and images.isfinite().all()


def test_the_text_encoder_can_be_left_out(pack: ModuleType, folder: Path) -> None:
    loader, text = part(pack, "nodes.model"), folder / "text_encoder"
    aside = text.rename(folder / "elsewhere")
    try:
        assert "no text_encoder/config.json" in loader.LoadLatteModel.validate_inputs("test-latte", "of the folder")
        assert loader.LoadLatteModel.validate_inputs("test-latte", "none") is True
        with torch.inference_mode():
            assert loader.LoadLatteModel.execute("test-latte", "fp16", "none").result[1] is None
    finally:
        aside.rename(text)


def test_texts_of_stock_loaders_are_read_as_they_are(latte: Family) -> None:
    """Without a mask; one of another width, a plain CLIP's, is refused by name."""
    bare = [[torch.randn(1, 7, 16, generator=torch.Generator().manual_seed(0)), {}]]
    assert latte.sample(positive=bare, negative=bare).isfinite().all()
    with pytest.raises(ValueError, match="positive: it is not a text of width 16"):
        latte.sample(positive=[[torch.randn(1, 7, 64), {}]])


def test_bad_choices_are_refused_by_name(pack: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader, error = part(pack, "nodes.model").LoadLatteModel, part(pack, "motion_embedding.errors").InputError
    assert "no Latte model '../escape'" in loader.validate_inputs("../escape", "none")
    with pytest.raises(error, match="no Latte model 'gone'"):
        loader.execute("gone", "auto", "none")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(error, match=r"pip install .diffusers>=0\.32"):
        loader.execute("test-latte", "auto", "none")
