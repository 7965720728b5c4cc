"""Colours for previews of text-to-video latents."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from demo.host import WEIGHTS
from demo.tiny_model import world

pytestmark = pytest.mark.host


@pytest.fixture
def part(pack):
    import importlib

    return lambda name: importlib.import_module(f"{pack.__name__}.motion_embedding.{name}")


def test_latents_of_stable_diffusion_have_its_colours_and_others_none(part) -> None:
    import comfy.latent_formats

    new = part("text_to_video_model").TextToVideoLatentFormat
    assert new({"latent_channels": 4, "scaling_factor": 0.18215}).latent_rgb_factors == (
        comfy.latent_formats.SD15().latent_rgb_factors
    )
    assert new({"latent_channels": 4, "scaling_factor": 1.0}).latent_rgb_factors is None
    assert new({"latent_channels": 12, "scaling_factor": 0.18215}).latent_rgb_factors is None
    assert new({"latent_channels": 4, "scaling_factor": 0.18215, "shift_factor": 0.1}).latent_rgb_factors is None


def test_the_tiny_models_latents_show_their_frames(part, caplog) -> None:
    """One colour per position: that of the four by four pixels it stands for."""
    frames = np.concatenate([world.random_clip(np.random.default_rng(seed))[0] for seed in (1001, 1002)])
    with torch.inference_mode(), caplog.at_level(logging.WARNING):
        vae = part("text_to_video_vae").load_vae(WEIGHTS)
        latents = vae.encode(torch.from_numpy(frames).float() / 255)
    config = part("text_to_video_folder").read_config(WEIGHTS, "vae")
    latent_format = part("text_to_video_model").TextToVideoLatentFormat(config)
    shown = part("latent_picture").latent_frames(latent_format.process_in(latents), latent_format)
    expected = frames.reshape(len(frames), 16, 4, 16, 4, 3).mean((2, 4))
    assert np.abs(shown - expected).max() < 4
    assert "latent_rgb_factors" not in caplog.text
