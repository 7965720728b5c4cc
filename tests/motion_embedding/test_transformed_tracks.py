"""An edited motion makes the edited track: trained and sampled with the committed tiny model, from random noise."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from demo.references import REFERENCES, frames_of
from demo.tiny_model.judge import judge
from motion_embedding.metrics import trajectory_correlation

pytestmark = pytest.mark.host

REFERENCE = "diagonal"  # its reverse, mirror images and turns all differ from it
PROMPT = "a yellow square on a gray background"
LEAST = 0.7
CENTRE = 31.5

EDITS: dict[str, tuple[Callable, Callable[[np.ndarray], np.ndarray]]] = {
    "as learnt": (lambda t, m: m, lambda path: path),
    "reversed": (lambda t, m: t.reverse(m), lambda path: path[::-1]),
    "there and back": (lambda t, m: t.there_and_back(m), lambda path: np.concatenate([path, path[-2:0:-1]])),
    "twice": (lambda t, m: t.repeat(m, 2), lambda path: np.concatenate([path, path])),
    "joined to its reverse": (
        lambda t, m: t.join(m, t.reverse(m)),
        lambda path: np.concatenate([path, path[::-1]]),
    ),
    "mirrored left-right": (lambda t, m: t.mirror(m, "left-right"), lambda path: path * [-1, 1]),
    "mirrored up-down": (lambda t, m: t.mirror(m, "up-down"), lambda path: path * [1, -1]),
    "turned left": (lambda t, m: t.rotate(m, 1), lambda path: np.stack([path[:, 1], -path[:, 0]], -1)),
}


class Tiny:
    """The tiny model in this process, and the motion of one clip learnt on it."""

    def __init__(self, pack: ModuleType, weights: Path) -> None:
        self.pack = pack
        with torch.inference_mode():
            self.model, self.clip, self.vae = self.part("text_to_video").load_text_to_video(weights, None)
            latents = self.vae.encode(torch.from_numpy(frames_of(REFERENCE)).float() / 255)
            training = self.part("training")
            recipe = training.Recipe()
            prompt = self.prompt(REFERENCES[REFERENCE][0].prompt)
            self.motion = training.train_motion(self.model, prompt, latents, recipe).embedding

    def part(self, name: str) -> ModuleType:
        return importlib.import_module(f"{self.pack.__name__}.motion_embedding.{name}")

    def prompt(self, text: str) -> list:
        return self.clip.encode_from_tokens_scheduled(self.clip.tokenize(text))

    def track(self, motion: Any) -> np.ndarray:
        """Where the object goes when the motion is applied, ``[F, 2]`` from the middle of the frame."""
        import nodes

        with torch.inference_mode():
            latents = nodes.common_ksampler(
                self.part("injection").apply_embedding(self.model, motion),
                seed=7,
                steps=10,
                cfg=2.0,
                sampler_name="ddim",
                scheduler="sgm_uniform",
                positive=self.prompt(PROMPT),
                negative=self.prompt(""),
                latent={"samples": torch.zeros(1, 12, motion.frames, 16, 16)},
            )[0]["samples"]
            frames = self.vae.decode(latents).flatten(0, -4)
        return judge((frames * 255).round().byte().numpy()).track - CENTRE


@pytest.fixture(scope="module")
def tiny(pack: ModuleType, tiny_model: Path) -> Tiny:
    return Tiny(pack, tiny_model)


@pytest.mark.parametrize("edit", EDITS)
def test_the_track_is_edited_as_the_motion_is(tiny: Tiny, edit: str) -> None:
    of_motion, of_path = EDITS[edit]
    path = judge(frames_of(REFERENCE)).track - CENTRE
    track = tiny.track(of_motion(tiny.part("transforms"), tiny.motion))
    edited = trajectory_correlation(of_path(path), track)
    assert edited >= LEAST
    if edit != "as learnt":
        assert trajectory_correlation(path, track) < edited - 0.2
