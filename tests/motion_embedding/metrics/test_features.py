"""Scores of features, on vectors worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from motion_embedding.metrics.features import appearance_leakage, temporal_consistency, text_similarity

X, Y = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def test_text_similarity_is_the_mean_cosine():
    frames = np.array([3 * X, 0.5 * (X + Y), -2 * X])
    assert text_similarity(frames, 7 * X) == pytest.approx((1 + np.sqrt(0.5) - 1) / 3)
    assert text_similarity(frames[:1], X) == pytest.approx(1)


def test_temporal_consistency_is_of_neighbours_only():
    assert temporal_consistency(np.array([X, 2 * X, Y, Y])) == pytest.approx((1 + 0 + 1) / 3)
    assert temporal_consistency(np.array([X, Y, X, Y])) == pytest.approx(0)
    assert temporal_consistency(np.array([Y, 5 * Y])) == pytest.approx(1)
    with pytest.raises(ValueError, match="two frames"):
        temporal_consistency(X[None])


def test_leakage_is_over_all_pairs_less_the_unrelated():
    result, reference = np.array([X, X, Y]), np.array([2 * X, 3 * X])
    unrelated = [np.array([Y, Y, Y]), np.array([-X])]
    assert appearance_leakage(result, reference, unrelated) == pytest.approx(2 / 3 - (1 / 3 - 2 / 3) / 2)


def test_leakage_does_not_mind_the_order_of_frames():
    rng = np.random.default_rng(0)
    result, reference, other = rng.normal(size=(3, 5, 8))
    expected = appearance_leakage(result, reference, [other])
    assert appearance_leakage(result[::-1], reference, [other]) == pytest.approx(expected)
    cosines = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in reference] for a in result]
    others = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in other] for a in result]
    assert expected == pytest.approx(np.mean(cosines) - np.mean(others))


def test_leakage_of_a_copy_and_of_nothing():
    assert appearance_leakage(X[None], X[None], [Y[None]]) == pytest.approx(1)
    assert appearance_leakage(X[None], Y[None], [Y[None]]) == pytest.approx(0)
    with pytest.raises(ValueError, match="unrelated"):
        appearance_leakage(X[None], X[None], [])


def test_half_precision_and_zero_vectors_are_no_trouble():
    half = np.array([[300.0, 0], [300, 0]], np.float16)
    assert temporal_consistency(half) == pytest.approx(1)
    assert text_similarity(np.zeros((2, 2)), X) == 0
