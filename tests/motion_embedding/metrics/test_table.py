"""The scores in words."""

from __future__ import annotations

from motion_embedding.metrics.table import as_table

SCORES = {
    "motion_fidelity": 0.8,
    "motion_fidelity_chance": 0.2,
    "motion_fidelity_chance_turned": 0.1,
    "motion_fidelity_ceiling": 1.0,
    "tracks_reference": 40,
    "tracks_result": 30,
    "camera_pan_error": 0.25,
    "camera_zoom_error": 1.5,
    "camera_roll_error": 0.75,
    "text_similarity": 0.3113,
    "temporal_consistency": None,
    "appearance_leakage": -0.05,
}


def test_the_score_stands_between_chance_and_ceiling():
    first, second, *_ = as_table(SCORES).splitlines()
    assert first == "motion fidelity  0.80   (by chance 0.20, the reference itself 1.00)"
    assert second.strip() == "75% of the way from chance to the reference itself"


def test_the_higher_chance_counts():
    assert "by chance 0.60" in as_table({**SCORES, "motion_fidelity_chance_turned": 0.6})


def test_worse_than_chance_is_none_of_the_way():
    assert " 0% of the way" in as_table({**SCORES, "motion_fidelity": -0.4})


def test_where_chance_is_the_ceiling_there_is_no_way():
    assert "of the way" not in as_table({**SCORES, "motion_fidelity_chance": 1.0})


def test_what_cannot_be_said_is_left_out_and_the_camera_says_why():
    table = as_table({**SCORES, **dict.fromkeys(("camera_pan_error", "camera_zoom_error", "camera_roll_error"))})
    assert "temporal consistency" not in table
    assert "camera  cannot be told" in table
    assert "text similarity  0.3113" in table and "appearance leakage  -0.0500" in table


def test_few_tracks_are_warned_about():
    assert "few points" not in as_table(SCORES)
    assert "few points" in as_table({**SCORES, "tracks_result": 7})
