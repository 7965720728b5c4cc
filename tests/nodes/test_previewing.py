"""PreviewMotion in the host: what it gives and shows, and what it refuses."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
import torch

from motion_embedding import files
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from tests.sprite_clips import clip

pytestmark = pytest.mark.host


def motion(parts: Any) -> Any:
    """A random motion of the module ``parts``: this test's or the host's copy of it."""
    generator = torch.Generator().manual_seed(5)
    layers = {
        f"blocks.{i}": parts.LayerEmbedding(
            torch.randn(8, 16, generator=generator), {"attn1": torch.randn(4, 4, 8, 16, generator=generator)}
        )
        for i in range(3)
    }
    return parts.MotionEmbedding(layers, "unet3d", 8, 8, 8, fps=8.0)


class Here:
    LayerEmbedding, MotionEmbedding = LayerEmbedding, MotionEmbedding


@pytest.fixture(scope="module")
def node(pack: ModuleType) -> Any:
    return importlib.import_module(f"{pack.__name__}.nodes.previewing").PreviewMotion


@pytest.fixture(scope="module")
def parts(pack: ModuleType) -> ModuleType:
    return importlib.import_module(f"{pack.__name__}.motion_embedding.embedding")


def test_it_gives_what_it_shows(node: Any, parts: ModuleType) -> None:
    output = node.execute(motion(parts))
    picture, text = output.args
    assert picture.shape[0] == 1 and picture.shape[2:] == (880, 3) and 0 <= picture.min() < picture.max() <= 1
    assert "family: ModelScope, ZeroScope\nlayers: 3\nframes: 8\nrate: 8 fps" in text
    (shown,) = output.ui.as_dict()["images"]
    assert shown["filename"].endswith(".png")


def test_the_clip_adds_its_arrows(node: Any, parts: ModuleType) -> None:
    alone, beside = node.execute(motion(parts)).args[0], node.execute(motion(parts), clip("circle")).args[0]
    height = alone.shape[1]
    assert torch.equal(alone[0], beside[0, :height])
    assert beside.shape[1] > height + 250


@pytest.mark.parametrize("frames", [torch.zeros(1, 64, 64, 3), torch.full((4, 64, 64, 3), torch.nan)])
def test_frames_that_are_no_clip_are_refused(node: Any, parts: ModuleType, error: Any, frames: torch.Tensor) -> None:
    with pytest.raises(error) as caught:
        node.execute(motion(parts), frames)
    assert caught.value.name == "frames"


@pytest.mark.server
def test_a_loaded_file_is_shown_over_http(server: Any) -> None:
    files.save(motion(Here), server.base / "models" / "motion_embeddings" / "preview_test.safetensors")
    history = server.run(
        {
            "file": {
                "class_type": "ME_LoadMotionEmbedding",
                "inputs": {"motion_embedding": "preview_test.safetensors"},
            },
            "shown": {"class_type": "ME_PreviewMotion", "inputs": {"motion": ["file", 0]}},
            "text": {"class_type": "PreviewAny", "inputs": {"source": ["shown", 1]}},
        }
    )
    assert "frames: 8" in history["outputs"]["text"]["text"][0]
    (picture,) = (file for file in server.outputs(history) if file.suffix == ".png")
    with av.open(str(picture)) as image:
        pixels = next(image.decode(video=0)).to_ndarray(format="rgb24")
    assert pixels.shape[1] == 880 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
