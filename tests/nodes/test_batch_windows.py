"""The host's context windows on an AnimateDiff model, whose frames lie on the batch axis."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests import small_sd15
from tests.small_sd15 import sample, text

pytestmark = pytest.mark.host
FRAMES = 4


@pytest.fixture(scope="module")
def part(pack: ModuleType) -> Any:
    return lambda name: importlib.import_module(f"{pack.__name__}.motion_embedding.{name}")


@pytest.fixture(scope="module")
def moving(part: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path: Path = small_sd15.save_motion_model(tmp_path_factory.mktemp("motion") / "v3.safetensors")
    with torch.inference_mode():
        return part("animatediff").load_animatediff(small_sd15.model(), path, own_betas=False)


def windows(model: Any, length: int, overlap: int = 0) -> Any:
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode

    return ContextWindowsManualNode.execute(model, length, overlap, "standard_static", 1, False, "flat", 0).args[0]


def test_more_frames_than_it_knows_need_context_windows(moving: Any, part: Any) -> None:
    with pytest.raises(part("errors").InputError, match="33 frames at once are more than the 32"):
        sample(moving, frames=33)
    assert torch.isfinite(sample(windows(moving, 16, 4), frames=33)).all()


@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_each_context_window_is_a_clip_of_its_own(moving: Any, cfg: float) -> None:
    """Without overlap, each part comes out as if sampled alone."""
    noise = 14 * torch.randn(2 * FRAMES, 4, 8, 8, generator=torch.Generator().manual_seed(8))
    whole = sample(windows(moving, FRAMES), cfg=cfg, latent=noise, disable_noise=True)
    parts = [sample(moving, cfg=cfg, latent=part, disable_noise=True) for part in noise.split(FRAMES)]
    assert torch.allclose(whole, torch.cat(parts), rtol=0, atol=1e-4 * float(whole.abs().max()))
    assert not torch.allclose(whole, sample(moving, cfg=cfg, latent=noise, disable_noise=True), rtol=0.1)


def test_windows_with_a_controlnet_picture_for_every_frame_are_refused(moving: Any, part: Any) -> None:
    from comfy.controlnet import ControlBase

    windowed = windows(moving, FRAMES)
    control = ControlBase()
    control.set_cond_hint(torch.zeros(2 * FRAMES, 3, 64, 64))
    entry, options = text(5)[0]
    with pytest.raises(part("errors").InputError, match="the first pictures of a ControlNet"):
        sample(windowed, frames=2 * FRAMES, positive=[[entry, {**options, "control": control}]])


def test_a_motion_over_context_windows(moving: Any, part: Any) -> None:
    """Each window does its part of it, or all of it in each."""
    training = part("training")
    clip = torch.randn(FRAMES, 4, 8, 8, generator=torch.Generator().manual_seed(9))
    with torch.inference_mode():
        learnt = training.train_motion(moving, text(5), clip, training.Recipe(steps=3, learning_rate=0.1)).embedding

    def piece(frames: slice) -> Any:
        return learnt.replace(
            frames=2,
            layers={
                name: type(layer)(layer.query_key[frames], {k: v[:, :, frames] for k, v in layer.value.items()})
                for name, layer in learnt.layers.items()
            },
        )

    def alone(embedding: Any, noise: torch.Tensor) -> torch.Tensor:
        return sample(apply(moving, embedding), latent=noise, disable_noise=True)

    apply = part("injection").apply_embedding
    noise = 14 * torch.randn(FRAMES, 4, 8, 8, generator=torch.Generator().manual_seed(8))
    windowed = windows(apply(moving, learnt), 2)
    whole = sample(windowed, latent=noise, disable_noise=True)
    parts = torch.cat([alone(piece(slice(0, 2)), noise[:2]), alone(piece(slice(2, 4)), noise[2:])])
    assert torch.allclose(whole, parts, rtol=0, atol=1e-4 * float(whole.abs().max()))
    each = sample(windows(apply(moving, piece(slice(0, 2)), whole=False), 2), latent=noise, disable_noise=True)
    parts = torch.cat([alone(piece(slice(0, 2)), half) for half in noise.split(2)])
    assert torch.allclose(each, parts, rtol=0, atol=1e-4 * float(each.abs().max()))
    assert not torch.allclose(each, whole, rtol=0.01)
