"""The ablation's bookkeeping; its figures are measurements and not tested."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest

from benchmarks import ablation
from benchmarks.ablation_table import markdown, spread, summarise, write_csv
from benchmarks.clips import CLIPS
from benchmarks.variants import VARIANTS, Variant
from demo.tiny_model.judge import judge
from demo.tiny_model.world import Look, render

NAN = math.nan


def sample(**values: float) -> dict[str, float]:
    names = ("track", "fidelity", "color", "shape", "background", "leak", "camera_error")
    return {**dict.fromkeys(names, NAN), **values}


def test_spread_is_the_mean_of_samples_and_the_deviation_of_clips() -> None:
    """Clips of means 0.5 and 1.0; a clip on which the metric does not apply is left out."""
    results = [[sample(track=0.0), sample(track=1.0)], [sample(track=1.0), sample(track=NAN)], [sample()]]
    mean, deviation, count = spread(results, "track")
    assert (mean, deviation, count) == (pytest.approx(2 / 3), pytest.approx(0.25), 2 + 1)
    assert spread([[sample()]], "track")[2] == 0


def test_camera_columns_come_from_camera_clips_and_the_others_do_not() -> None:
    row = (Variant("group", "name"), [[sample(track=0.5, leak=0.0)]], [[sample(camera_error=0.25, leak=1.0)]])
    (line,) = summarise([row])
    assert (line["track"], line["leak"], line["camera_error"], line["camera_leak"]) == (0.5, 0.0, 0.25, 1.0)
    assert "| name | 0.50 ± 0.00 | - |" in markdown([line])


def test_csv_holds_mean_spread_and_count(tmp_path) -> None:
    table = summarise([(Variant("group", "name"), [[sample(track=0.5)], [sample(track=1.0)]], [])])
    write_csv(table, tmp_path / "table.csv")
    (line,) = csv.DictReader((tmp_path / "table.csv").open())
    assert (line["variant"], line["track"], line["track_sd"], line["track_n"]) == ("name", "0.7500", "0.2500", "2")


def test_there_is_as_much_as_the_table_promises() -> None:
    assert sum(not clip.camera for clip in CLIPS.values()) >= 8
    assert all(len(clip.looks()) == 6 for clip in CLIPS.values())
    assert len(ablation.SEEDS) == 2
    assert len({(v.group, v.name) for v in VARIANTS}) == len(VARIANTS)


@pytest.mark.parametrize("name", CLIPS)
def test_scenes_share_nothing_with_the_reference(name: str) -> None:
    clip = CLIPS[name]
    own, seen = clip.look, judge(clip.frames)
    assert (seen.color, seen.shape, seen.background, seen.pattern) == (
        own.color,
        own.shape,
        own.background,
        own.pattern,
    )
    for look in clip.looks():
        assert not {look.color, look.shape, look.background} & {own.color, own.shape, own.background}


def test_the_reference_itself_measures_as_perfect_motion_and_a_leak() -> None:
    clip = CLIPS["arc"]
    numbers = ablation.measure(clip, clip.looks()[0], clip.frames)
    assert numbers["track"] > 0.99
    assert numbers["fidelity"] == pytest.approx(1, abs=1e-6)
    assert (numbers["leak"], numbers["color"], numbers["shape"]) == (1, 0, 0)
    camera = CLIPS["zoom"]
    same_move = render(Look("red", "star", "gray", "checkered"), camera.motion)
    numbers = ablation.measure(camera, Look("red", "star", "gray", "checkered"), same_move)
    assert numbers["camera_error"] < 0.1
    assert (numbers["leak"], numbers["color"]) == (0, 1)
    assert np.isnan(numbers["track"])


def test_what_has_been_run_is_not_run_again(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(ablation, "CACHE", tmp_path)
    todo = ablation.missing(["none"])
    assert {clip.name for _, clip in todo} == set(CLIPS)
    path = ablation.result_path(*todo[0])
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([sample(track=1.0)]))
    assert len(ablation.missing(["none"])) == len(todo) - 1
