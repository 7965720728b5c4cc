"""The choice of frames, by hand."""

from __future__ import annotations

from motion_embedding.frame_choice import nearest_frames


def test_frames_are_nearest_in_time_from_first_to_last() -> None:
    assert nearest_frames(5, 5).tolist() == [0, 1, 2, 3, 4]
    assert nearest_frames(9, 5).tolist() == [0, 2, 4, 6, 8]
    assert nearest_frames(3, 6).tolist() == [0, 0, 1, 1, 2, 2]
    assert nearest_frames(6, 2).tolist() == [0, 5]
