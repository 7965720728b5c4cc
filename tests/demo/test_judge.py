"""The judge on clips whose content is known, as drawn and as a lossy model would give them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from demo.tiny_model import world
from demo.tiny_model.codec import PatchCodec
from demo.tiny_model.judge import judge

CODEC = Path(world.__file__).with_name("codec.safetensors")
CLIPS = 40


def degraded(frames: np.ndarray, seed: int) -> np.ndarray:
    """Through the patch codec with noise on the latents, then blurred."""
    codec = PatchCodec.load(CODEC)
    latents = codec.encode(frames)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))
    return np.stack([cv2.GaussianBlur(f, (0, 0), 0.8) for f in codec.decode(latents + 0.1 * noise)])


@pytest.fixture(scope="module")
def examples() -> list[tuple[np.ndarray, world.Look, world.Motion]]:
    rng = np.random.default_rng(5)
    return [world.random_clip(rng) for _ in range(CLIPS)]


@pytest.mark.parametrize("lossy", [False, True])
def test_looks_are_recognised(examples, lossy):
    right = 0
    for i, (frames, look, _) in enumerate(examples):
        seen = judge(degraded(frames, i) if lossy else frames)
        assert (seen.color, seen.background) == (look.color, look.background)
        right += (seen.shape, seen.pattern) == (look.shape, look.pattern)
    assert right >= 0.97 * CLIPS


def still(look: world.Look, **parts: float) -> np.ndarray:
    motion = world.Motion.still(2)
    for name, value in parts.items():
        setattr(motion, name, getattr(motion, name) + value)
    return world.render(look, motion)


@pytest.mark.parametrize("shape", world.SHAPES)
@pytest.mark.parametrize("angle", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("size", [14, 36])
def test_shape_survives_rotation_and_size(shape, angle, size):
    frames = still(world.Look("cyan", shape, "brown", size=size), angle=angle)
    assert judge(degraded(frames, 0)).shape == shape


def test_a_shape_is_not_called_by_the_name_of_a_ragged_other():
    rng = np.random.default_rng(0)
    frames = still(world.Look("red", "circle", "black"))
    edge = (np.hypot(*(np.mgrid[0:64, 0:64] - 31.5)) // 1 >= 9) & (rng.random((64, 64)) < 0.3)
    frames[:, edge] = world.BACKGROUNDS["black"]
    assert judge(frames).shape == "circle"


def test_track_and_area_are_the_object_s():
    motion = world.Motion.still(4)
    motion.x, motion.y = np.array([-12.0, -4, 4, 12]), np.array([5.0, 0, -5, -10])
    seen = judge(world.render(world.Look("red", "square", "gray", size=20), motion))
    np.testing.assert_allclose(seen.track, np.stack([motion.x, motion.y], -1) + 31.5, atol=0.5)
    side = 0.8 * 20  # the square's half side is 0.8 of the radius, which is half the size
    np.testing.assert_allclose(seen.area, side**2, rtol=0.1)
    assert seen.visible == 1
    assert seen.coherent


def test_larger_frames_are_reduced():
    frames = still(world.Look("blue", "star", "gray"), x=8.0)
    large = np.stack([cv2.resize(f, (256, 256), interpolation=cv2.INTER_NEAREST) for f in frames])
    np.testing.assert_array_equal(judge(large).track, judge(frames).track)


def test_following_the_prompted_colour():
    frames = still(world.Look("red", "square", "black", size=26), x=-15.0)
    other = still(world.Look("green", "square", "black", size=16), x=18.0)
    both = np.where((other == other[0, 0, 0]).all(-1, keepdims=True), frames, other)
    assert judge(both).color == "red"
    assert judge(both).track[0, 0] < 20
    assert judge(both, color="green").track[0, 0] > 45
    assert judge(both, color="green").color == "red"
    assert judge(both, color="yellow").visible == 0


def test_an_empty_clip_has_no_object():
    frames = np.broadcast_to(np.array(world.BACKGROUNDS["navy"], np.uint8), (3, 64, 64, 3))
    seen = judge(frames)
    assert (seen.color, seen.shape, seen.background, seen.visible) == (None, None, "navy", 0)
    assert np.isnan(seen.track).all()
    assert not seen.coherent


def test_an_object_that_vanishes_or_swells_is_not_coherent():
    frames = still(world.Look("red", "circle", "gray"))
    frames[1] = world.BACKGROUNDS["gray"]
    seen = judge(frames)
    assert (seen.visible, seen.coherent) == (0.5, False)
    motion = world.Motion.still(2)
    motion.scale = np.array([1.0, 1.6])
    assert not judge(world.render(world.Look("red", "circle", "gray"), motion)).coherent
