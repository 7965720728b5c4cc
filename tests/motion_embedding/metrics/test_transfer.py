"""All metrics of one pair: on drawn clips whose motion is known, and what is said when something is missing."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from motion_embedding.metrics.fidelity import chance_fidelity, motion_fidelity
from motion_embedding.metrics.transfer import Evidence, gather, measure

KEYS = [
    "motion_fidelity",
    "motion_fidelity_chance",
    "motion_fidelity_chance_turned",
    "motion_fidelity_ceiling",
    "tracks_reference",
    "tracks_result",
    "camera_pan_error",
    "camera_zoom_error",
    "camera_roll_error",
    "text_similarity",
    "temporal_consistency",
    "appearance_leakage",
]


def film(step, seed: int = 0, frames: int = 8, size: tuple[int, int] = (160, 120)) -> np.ndarray:
    """A textured picture that moves by ``step`` percent of the diagonal a frame, uint8 ``[F, H, W, 3]``."""
    scale = np.hypot(*size) / 200
    picture = np.random.default_rng(seed).integers(0, 256, (400, 400, 3)).astype(np.float32)
    picture = np.clip((cv2.GaussianBlur(picture, (0, 0), 3) - 127) * 5 + 127, 0, 255)
    shifts = [120 - 2 * f * np.array(step, float) for f in range(frames)]
    views = [np.float32([[1 / scale, 0, x], [0, 1 / scale, y]]) for x, y in shifts]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.stack([cv2.warpAffine(picture, view, size, flags=flags) for view in views]).astype(np.uint8)


class Colours:
    """An encoder that sees the mean colour."""

    name = "mean colour"

    def __init__(self) -> None:
        self.calls = 0

    def images(self, frames: np.ndarray) -> np.ndarray:
        self.calls += 1
        return frames.mean((1, 2)).astype(np.float32)

    def texts(self, prompts) -> np.ndarray:
        raise NotImplementedError


@pytest.fixture(scope="module")
def right() -> Evidence:
    return gather(film((1.5, 0)))


@pytest.fixture(scope="module")
def down() -> Evidence:
    return gather(film((0, 1.5), seed=1))


def test_the_reference_against_itself_is_the_ceiling(right):
    scores = measure(right, right)
    assert list(scores) == KEYS
    assert scores["motion_fidelity"] == scores["motion_fidelity_ceiling"] == pytest.approx(1)
    assert abs(scores["motion_fidelity_chance"]) < 0.1
    assert [scores[key] for key in KEYS[6:9]] == pytest.approx([0, 0, 0], abs=1e-9)
    assert scores["tracks_reference"] == scores["tracks_result"] == len(right.tracks) > 30
    assert [scores[key] for key in KEYS[9:]] == [None] * 3


def test_another_look_with_the_same_motion_and_the_same_look_with_another(right, down):
    same = measure(right, gather(255 - film((1.5, 0), seed=5)))
    assert same["motion_fidelity"] > 0.97
    assert same["camera_pan_error"] < 0.1
    other = measure(right, gather(film((0, 1.5))))
    assert abs(other["motion_fidelity"]) < 0.1
    assert other["camera_pan_error"] == pytest.approx(1.5 * np.sqrt(2), abs=0.1)


@pytest.mark.parametrize(("size", "frames"), [((320, 240), 8), ((120, 160), 8), ((160, 120), 15), ((160, 120), 4)])
def test_sizes_and_lengths_may_differ(right, size, frames):
    step = 1.5 * 7 / (frames - 1)
    scores = measure(right, gather(film((step, 0), seed=5, frames=frames, size=size)))
    assert scores["motion_fidelity"] > 0.95
    assert scores["camera_pan_error"] < 0.1 * step
    assert scores["motion_fidelity_ceiling"] == pytest.approx(1)


def test_resolution_does_not_change_what_counts_as_rest():
    slow = [gather(film((0.1, 0), frames=5, size=size)) for size in ((80, 60), (640, 480))]
    still = [gather(film((0, 0), frames=5, size=size)) for size in ((80, 60), (640, 480))]
    # A step of 0.1 % against rest, epsilon 0.1 %: e^2 / (sqrt(2) e e).
    for moving, resting in zip(slow, still, strict=True):
        assert measure(moving, resting)["motion_fidelity"] == pytest.approx(np.sqrt(0.5), abs=0.08)


def test_a_static_result_is_near_zero_and_knows_its_camera_error(right):
    scores = measure(right, gather(film((0, 0), seed=5)))
    assert scores["motion_fidelity"] == pytest.approx(0.1 / np.hypot(1.5, 0.1), abs=0.02)
    assert scores["camera_pan_error"] == pytest.approx(1.5, abs=0.05)


def test_a_result_without_tracks_scores_zero_and_has_no_camera(right):
    scores = measure(right, gather(np.full((8, 120, 160, 3), 90, np.uint8)))
    assert scores["motion_fidelity"] == scores["motion_fidelity_chance"] == scores["tracks_result"] == 0
    assert scores["motion_fidelity_ceiling"] == pytest.approx(1)
    assert [scores[key] for key in KEYS[6:]] == [None] * 6


def test_chance_is_against_the_unrelated_where_there_are_some(right, down):
    scores = measure(right, down, unrelated=[down])
    assert scores["motion_fidelity_chance"] == pytest.approx(1)
    turned = chance_fidelity(right.relative_tracks, down.relative_tracks)
    assert scores["motion_fidelity_chance_turned"] == turned == measure(right, down)["motion_fidelity_chance"] < 0.2
    expected = motion_fidelity(right.relative_tracks, down.relative_tracks)
    assert measure(down, down, unrelated=[right])["motion_fidelity_chance"] == pytest.approx(expected)


def test_features_are_used_and_appearance_has_its_own(right, down):
    def seen(evidence: Evidence, features, appearance=None) -> Evidence:
        look = None if appearance is None else np.array(appearance, float)
        return replace(evidence, features=np.array(features, float), appearance=look)

    reference, result, other = seen(right, [[1, 0]]), seen(down, [[1, 0], [0, 1], [0, 2]]), seen(down, [[0, 1]])
    scores = measure(reference, result, np.array([3.0, 0]), [other])
    assert scores["text_similarity"] == pytest.approx(1 / 3)
    assert scores["temporal_consistency"] == pytest.approx(1 / 2)
    assert scores["appearance_leakage"] == pytest.approx(1 / 3 - 2 / 3)
    assert measure(reference, result)["appearance_leakage"] is None
    assert measure(reference, result)["text_similarity"] is None

    reference, result, other = (
        seen(right, [[1, 0]], [[1, 0]]),
        seen(down, [[0, 1], [0, 1]], [[1, 0]]),
        seen(down, [[0, 1]]),
    )
    assert measure(reference, result, unrelated=[other])["appearance_leakage"] == pytest.approx(-1)  # by features
    other = replace(other, appearance=np.array([[0.0, 1]]))
    assert measure(reference, result, unrelated=[other])["appearance_leakage"] == pytest.approx(1)


def test_gather_asks_tracker_and_encoders_once_and_measure_not_at_all():
    clip, clip_encoder, look_encoder, tracked = film((1, 0)), Colours(), Colours(), []

    def tracker(frames: np.ndarray) -> np.ndarray:
        tracked.append(frames)
        return np.zeros((1, len(frames), 2))

    evidence = gather(clip, tracker, clip_encoder, look_encoder)
    measure(evidence, evidence, np.ones(3), [evidence])
    assert (len(tracked), clip_encoder.calls, look_encoder.calls) == (1, 1, 1)
    np.testing.assert_allclose(evidence.features, clip.mean((1, 2)), rtol=1e-5)
    assert gather(clip, tracker).features is None
    assert evidence.size == (160, 120)


def test_the_camera_is_fitted_once_per_clip(right):
    assert right.camera is right.camera


@pytest.mark.parametrize(
    ("frames", "cause"),
    [
        (np.zeros((1, 64, 64, 3), np.uint8), "at least two frames"),
        (np.zeros((4, 64, 64, 3), np.float32), "float32"),
        (np.zeros((4, 64, 64), np.uint8), r"\[4, 64, 64\]"),
    ],
)
def test_what_is_not_a_clip_is_refused(frames, cause):
    with pytest.raises(ValueError, match=cause):
        gather(frames)
