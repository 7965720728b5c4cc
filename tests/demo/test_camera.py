"""Reading the camera off clips whose camera is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from demo.tiny_model.camera import camera_error, camera_flow, true_flow
from demo.tiny_model.world import Look, Motion, render

T = np.linspace(-0.5, 0.5, 8)
MOVES = {
    "pan": {"camera_x": 26 * T, "camera_y": -14 * T},
    "zoom": {"camera_zoom": np.exp(0.7 * T)},
    "roll": {"camera_roll": 0.9 * T},
    "all": {"camera_x": 15 * T, "camera_zoom": np.exp(-0.5 * T), "camera_roll": 0.5 * T},
}


def clip(pattern: str = "checkered", **parts: np.ndarray) -> tuple[np.ndarray, Motion]:
    motion = Motion.still(8)
    for name, values in parts.items():
        setattr(motion, name, values)
    return render(Look("red", "star", "navy", pattern), motion), motion


def test_true_flow_by_hand() -> None:
    """A pan to the right moves the scene left, a zoom by a tenth moves points by a tenth, a roll turns them."""
    two = Motion.still(2)
    two.camera_x = np.array([0.0, 3.0])
    np.testing.assert_allclose(true_flow(two), [[0, 0, -3, 0]], atol=1e-12)
    two = Motion.still(2)
    two.camera_zoom = np.array([1.0, 1.1])
    np.testing.assert_allclose(true_flow(two), [[0.1, 0, 0, 0]], atol=1e-12)
    two = Motion.still(2)
    two.camera_roll = np.array([0.0, 0.2])
    np.testing.assert_allclose(true_flow(two), [[math.cos(0.2) - 1, -math.sin(0.2), 0, 0]], atol=1e-12)


@pytest.mark.parametrize("move", MOVES)
def test_the_camera_is_found(move: str) -> None:
    frames, motion = clip(**MOVES[move])
    assert camera_error(true_flow(motion), camera_flow(frames)) < 0.05


def test_an_object_that_moves_is_not_the_camera() -> None:
    frames, _ = clip(x=30 * T)
    np.testing.assert_allclose(camera_flow(frames)[:, 2:], 0, atol=0.1)


def test_error_is_1_for_a_camera_at_rest_and_2_for_the_opposite() -> None:
    flow = true_flow(clip(**MOVES["pan"])[1])
    assert camera_error(flow, np.zeros_like(flow)) == pytest.approx(1)
    assert camera_error(flow, -flow) == pytest.approx(2)
    assert camera_error(flow, flow) == 0


@pytest.mark.parametrize("pattern", ["plain", "striped"])
def test_a_texture_that_does_not_tell_is_no_answer(pattern: str) -> None:
    frames, motion = clip(pattern, **MOVES["pan"])
    assert camera_flow(frames) is None
    assert math.isnan(camera_error(true_flow(motion), None))
