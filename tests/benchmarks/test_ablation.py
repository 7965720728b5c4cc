"""The ablation's bookkeeping; its figures are measurements and not tested."""

from __future__ import annotations

import csv
import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import ablation
from benchmarks.ablation_table import markdown, merged, read_csv, spread, summarise, write_csv
from benchmarks.clips import CLIPS
from benchmarks.variants import VARIANTS, Noise, Variant
from demo.host import ROOT
from demo.tiny_model.judge import judge
from demo.tiny_model.world import Look, render

NAN = math.nan
CHANGES = [{"recipe": {"steps": 201}}, {"debias": {"until": 0.5}}, {"value": 0.5}, {"noise": Noise(0.5)}]


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


def test_what_has_been_run_goes_by_all_it_depends_on(monkeypatch) -> None:
    """Not by its name alone: else yesterday's results would be shown as those of today's settings."""
    variant, clip = VARIANTS[1], CLIPS["left"]
    paths = {ablation.result_path(variant, clip)}
    paths |= {ablation.result_path(replace(variant, **change), clip) for change in CHANGES}
    monkeypatch.setitem(ablation.TRAINING, "steps", 1)
    paths.add(ablation.result_path(variant, clip))
    monkeypatch.setattr(ablation, "STEPS", 11)
    paths.add(ablation.result_path(variant, clip))
    monkeypatch.setattr(ablation, "WEIGHTS", ablation.WEIGHTS / "unet")
    paths.add(ablation.result_path(variant, clip))
    assert len(paths) == 4 + len(CHANGES)
    assert len({path.parent for path in paths}) == 1


def test_a_run_of_few_leaves_the_other_lines_as_they_are(tmp_path) -> None:
    def lines(*tracks: list[float], variant: Variant = VARIANTS[1]) -> list[dict]:
        return summarise([(variant, [[sample(track=t) for t in clip] for clip in tracks], [])])

    older = lines([0.5], [0.7]) + lines([0.1], variant=VARIANTS[0]) + lines([0.2], variant=Variant("gone", "gone"))
    write_csv(older, tmp_path / "table.csv")
    older = read_csv(tmp_path / "table.csv")
    assert [line["track"] for line in merged(lines([1.0]), older)] == [0.1, 0.6, 0.2], "one clip for two"
    table = merged(lines([1.0], [1.0]), older)
    assert [line["track"] for line in table] == [0.1, 1.0, 0.2]
    assert [line["variant"] for line in table] == [VARIANTS[0].name, VARIANTS[1].name, "gone"]
    assert read_csv(tmp_path / "none.csv") == []


def test_the_committed_table_can_be_read_back(tmp_path) -> None:
    page = ROOT / "benchmarks" / "ablation.csv"
    write_csv(merged([], read_csv(page)), tmp_path / "again.csv")
    assert sorted((tmp_path / "again.csv").read_text().splitlines()) == sorted(page.read_text().splitlines())


def test_without_matplotlib_nothing_is_begun(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("subprocess.Popen", None)
    monkeypatch.setattr("sys.argv", ["ablation"])
    with pytest.raises(SystemExit, match="extra 'ablation'"):
        ablation.main()
