"""The contact sheet's geometry and contents, pixel by pixel where that is exact."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from demo.contact_sheet import Row, contact_sheet, save_png

CELL = 64


def clip(color: tuple[int, int, int], frames: int = 3, width: int = 64) -> np.ndarray:
    return np.full((frames, 64, width, 3), color, np.uint8)


def columns_of(sheet: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return np.flatnonzero((sheet == color).all(-1).any(0))


def rows_of(sheet: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return np.flatnonzero((sheet == color).all(-1).any(1))


def test_every_frame_is_shown_once_in_order():
    frames = np.concatenate([clip((200, 0, 0), 1), clip((0, 200, 0), 1), clip((0, 0, 200), 1)])
    sheet = contact_sheet([Row("three", frames)], cell=CELL)
    starts = [columns_of(sheet, c)[0] for c in ((200, 0, 0), (0, 200, 0), (0, 0, 200))]
    assert starts == sorted(starts)
    for c in ((200, 0, 0), (0, 200, 0), (0, 0, 200)):
        assert (sheet == c).all(-1).sum() == CELL * CELL


def test_rows_are_stacked_below_their_headings():
    sheet = contact_sheet(["first", Row("a", clip((200, 0, 0))), "second", Row("b", clip((0, 200, 0)))], cell=CELL)
    upper, lower = rows_of(sheet, (200, 0, 0)), rows_of(sheet, (0, 200, 0))
    assert (len(upper), len(lower)) == (CELL, CELL)
    between = sheet[upper[-1] + 1 : lower[0]]
    assert (between < 200).any(), "the second heading is drawn between the rows"


def test_labels_are_drawn_left_of_the_frames():
    named = contact_sheet([Row("a red star", clip((200, 0, 0)))], cell=CELL)
    bare = contact_sheet([Row("", clip((200, 0, 0)))], cell=CELL)
    changed = np.flatnonzero((named != bare).any((0, 2)))
    assert changed.min() > 0
    assert changed.max() < columns_of(named, (200, 0, 0))[0]


def test_long_labels_are_wrapped_and_stay_in_their_column():
    label = "a magenta triangle on a brown checkered background"
    named = contact_sheet([Row(label, clip((200, 0, 0)), "correlation 0.97, shape leaked")], cell=96)
    bare = contact_sheet([Row("", clip((200, 0, 0)))], cell=96)
    changed = np.flatnonzero((named != bare).any((0, 2)))
    assert changed.max() < columns_of(named, (200, 0, 0))[0]


def test_track_grows_with_time_and_skips_unseen_frames():
    track = np.array([[10.0, 32], [30, 32], [np.nan, np.nan]])
    plain = contact_sheet([Row("t", clip((90, 90, 90)))], cell=CELL)
    drawn = contact_sheet([Row("t", clip((90, 90, 90)), track=track)], cell=CELL)
    left = columns_of(plain, (90, 90, 90))[0]
    changed = (plain != drawn).any((0, 2))
    per_frame = [np.flatnonzero(changed[left + i * (CELL + 5) :][:CELL]) for i in range(3)]
    assert (per_frame[0].min(), per_frame[0].max()) == pytest.approx((6, 14), abs=1)
    assert (per_frame[1].min(), per_frame[1].max()) == pytest.approx((8, 34), abs=2)
    assert per_frame[2].max() <= 33


def test_wide_frames_keep_their_shape_and_rows_may_differ_in_length():
    sheet = contact_sheet([Row("wide", clip((0, 0, 200), 2, width=128)), Row("short", clip((200, 0, 0), 1))], cell=CELL)
    assert (sheet == (0, 0, 200)).all(-1).sum() == 2 * CELL * 2 * CELL
    assert (sheet == (200, 0, 0)).all(-1).sum() == CELL * CELL


def test_nothing_to_show():
    with pytest.raises(ValueError, match="at least one clip"):
        contact_sheet(["only a heading"])


def test_png_round_trip_leaves_no_other_file(tmp_path):
    sheet = contact_sheet([Row("a", clip((200, 0, 0)))])
    save_png(tmp_path / "sheet.png", sheet)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "sheet.png")), sheet)
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]
