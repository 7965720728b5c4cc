from __future__ import annotations

import math

import numpy as np
import pytest

from motion_embedding.benchmark.statistics import FEWEST_CLIPS, difference, estimate


def test_the_mean_is_over_items_and_the_interval_over_clips():
    # Clip means 0 and 1, as many items each: of C = 20 clips, half are 0 and half are 1.
    clips = [clip for clip in range(20) for _ in range(5)]
    found = estimate([clip % 2 for clip in clips], clips)
    assert found.mean == 0.5
    assert (found.n, found.clips) == (100, 20)
    # The t interval of 20 values of standard deviation sqrt(20 / 19) / 2: 2.093 * 0.513 / sqrt(20) = 0.240.
    assert found.low == pytest.approx(0.5 - 0.240, abs=0.02)
    assert found.high == pytest.approx(0.5 + 0.240, abs=0.02)


def test_more_items_of_the_same_clips_are_no_more_evidence():
    few = estimate([0.1, 0.4, 0.2, 0.9, 0.6, 0.5, 0.3], range(7))
    many = estimate([0.1, 0.4, 0.2, 0.9, 0.6, 0.5, 0.3] * 50, list(range(7)) * 50)
    assert many.mean == pytest.approx(few.mean)
    assert (many.low, many.high) == pytest.approx((few.low, few.high))


def test_items_weigh_the_same_also_where_clips_have_unequal_numbers():
    assert estimate([1, 1, 1, 0], ["a", "a", "a", "b"]).mean == 0.75


def test_with_a_few_clips_the_interval_ends_at_the_extreme_clips_and_is_not_trusted():
    found = estimate([0.2, 0.4, 0.9], ["a", "b", "c"])
    assert (found.low, found.high) == pytest.approx((0.2, 0.9))
    assert not found.trusted
    assert not found.excludes_zero
    assert estimate([1.0] * FEWEST_CLIPS, range(FEWEST_CLIPS)).trusted


def test_one_clip_gives_no_interval_however_many_items_it_has():
    found = estimate([0.1, 0.2, 0.3], ["a", "a", "a"])
    assert found.mean == pytest.approx(0.2)
    assert (found.low, found.high, found.n, found.clips) == (None, None, 3, 1)
    assert not found.excludes_zero


def test_what_is_missing_is_left_out_and_not_counted():
    found = estimate([1.0, None, math.nan, 3.0, math.inf], ["a", "b", "c", "d", "e"])
    assert (found.mean, found.n, found.clips) == (2.0, 2, 2)
    assert estimate([None, math.nan], ["a", "b"]) is None
    assert estimate([], []) is None


def test_the_same_input_gives_the_same_interval():
    values = np.random.default_rng(0).normal(size=40)
    assert estimate(values, range(40)) == estimate(values, range(40))


def test_the_interval_scales_and_shifts_with_the_values():
    values = np.random.default_rng(1).exponential(size=12)
    plain, moved = estimate(values, range(12)), estimate(-10 * values + 3, range(12))
    assert (moved.low, moved.high) == pytest.approx((3 - 10 * plain.high, 3 - 10 * plain.low), abs=0.3)


def test_a_difference_is_paired_so_that_what_clips_have_in_common_cancels():
    rng = np.random.default_rng(2)
    difficulty = rng.normal(size=30)
    first = difficulty + 0.1 + rng.normal(0, 0.01, 30)
    second = difficulty.copy()
    assert not estimate(first, range(30)).excludes_zero
    found = difference(first, second, range(30))
    assert found.mean == pytest.approx(0.1, abs=0.01)
    assert found.excludes_zero
    assert difference(second, first, range(30)).high < 0


def test_a_difference_counts_only_items_that_both_have():
    found = difference([1.0, None, 3.0], [0.5, 1.0, math.nan], ["a", "b", "c"])
    assert (found.mean, found.n, found.clips) == (0.5, 1, 1)
    assert difference([None], [1.0], ["a"]) is None


@pytest.mark.parametrize("clips", [8, 20])
def test_nineteen_of_twenty_intervals_hold_the_truth_where_the_items_of_a_clip_go_together(clips):
    rng = np.random.default_rng(3)
    which = np.repeat(np.arange(clips), 4)
    held = naive = 0
    for _ in range(200):
        values = rng.normal(size=clips)[which] + rng.normal(0, 0.5, len(which))
        found, wrong = estimate(values, which), estimate(values, range(len(which)))
        held += found.low <= 0 <= found.high
        naive += wrong.low <= 0 <= wrong.high
    # 200 trials at 0.95 have a standard deviation of 0.015.
    assert 0.90 <= held / 200 <= 0.985
    # As if all items were independent: far too narrow.
    assert naive / 200 < 0.80
