"""The bytes of a ZeroScope motion, recomputed by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.file_size import LIMIT, megabytes, numbers, zeroscope


def test_the_layout_is_that_of_zeroscope() -> None:
    """Two attentions in each of 2 + 3 blocks a level, and one block in the middle, 40x72 halved at every level."""
    paper = Counter(shape for _, shape in zeroscope("paper"))
    assert paper == {(10, 18, 24, 1280): 10}
    assert Counter(shape for _, shape in zeroscope("recommended")) == paper + Counter(
        {(40, 72, 24, 320): 10, (20, 36, 24, 640): 10, (5, 9, 24, 1280): 2}
    )


def test_numbers_of_values_and_of_factors() -> None:
    assert numbers((10, 18, 24, 1280), 0) == 5_529_600
    assert numbers((10, 18, 24, 1280), 16) == 16 * (4320 + 1280)
    assert numbers((1, 1, 2, 5), 16) == 2 * (2 + 5)


def test_fifteen_megabytes_hold_either_preset() -> None:
    """Rank 8, two numbers a byte, ten attentions of 5600 numbers a direction, five query-keys of 24 x 1280 in half."""
    expected = (10 * (8 * 5600 / 2 + 4 * 8) + 5 * 2 * 24 * 1280) / 1e6
    assert megabytes(zeroscope("paper"), 8) == pytest.approx(expected)
    assert megabytes(zeroscope("recommended"), 30) <= LIMIT < megabytes(zeroscope("recommended"), 32)
