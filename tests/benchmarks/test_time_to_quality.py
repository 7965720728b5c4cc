"""What the search counts and draws; the curves themselves are measured, not tested."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import time_to_quality
from benchmarks.plain_training import How
from benchmarks.quality_curves import CURVES, PRESETS, Curve
from benchmarks.quality_table import Point, curves, merged, reach, reached
from motion_embedding.noise_levels import spread

CPU = torch.device("cpu")


def point(passes: int, track: float, leak: float = 0.0, clips: int = 1, training: str = "one") -> Point:
    return Point("UNet", training, passes // 3, passes, clips, track, track, 0.0, leak, 1.0, "CPU")


def test_a_quality_is_reached_where_it_stays_and_leaks_no_more() -> None:
    curve = [point(30, 0.97), point(60, 0.9), point(90, 0.98, leak=0.2), point(120, 0.99)]
    assert reached(curve, 0.95, 0.1) == 120
    assert reached(curve, 0.95, 0.2) == 90
    assert reached(curve, 0.5, 0.0) == 30
    assert reached(curve, 0.995, 1.0) is None


def test_the_published_recipe_is_a_multiple_of_the_presets() -> None:
    """Or more than that, where it was not run until it got there; with no more leaks than its own."""
    ours = [point(60, 0.6, training=PRESETS), point(90, 0.95, 0.2, training=PRESETS)]
    published = [point(p, t, leak=0.2, training="published, rate 1") for p, t in ((120, 0.4), (240, 0.6))]
    assert reach(merged([*ours, *published], "")).rows == (
        ("UNet", PRESETS, "1", "60", "90", "> 90"),
        ("UNet", "published, rate 1", "1", "240 (4.0 x the presets)", "> 240 (> 2.7 x the presets)", "> 240"),
    )
    cleaner = [replace(p, leak=0.0) for p in published]
    assert reach(merged([*ours, *cleaner], "")).rows[0][3:] == ("60", "> 90", "> 90")


def test_rows_measured_now_replace_those_of_the_same_steps_and_no_others() -> None:
    page = merged([point(30, 0.1), point(60, 0.2, clips=8), point(90, 0.3)], "").into("Before.\n")
    table = merged([point(30, 0.9), point(60, 0.9, clips=2), point(120, 0.9)], page)
    assert [(row[2], row[4], row[5]) for row in table.rows] == [
        ("10", "1", "0.900"),
        ("20", "8", "0.200"),  # two clips do not stand for eight
        ("30", "1", "0.300"),
        ("40", "1", "0.900"),
    ]
    assert table.into(page).startswith("Before.\n\n| model |")


def test_rows_are_in_the_order_of_the_curves() -> None:
    last, first = CURVES[2], CURVES[0]
    points = [replace(point(30, 0.1), training=name) for name in ("gone", last.name, first.name)]
    assert [row[1] for row in merged(points, "").rows] == [first.name, last.name, "gone"]


def test_the_committed_page_says_what_its_table_says() -> None:
    page = time_to_quality.OUT.with_suffix(".md").read_text("utf-8")
    table = merged([], page)
    assert set(curves(table)) <= {(curve.model, curve.name) for curve in CURVES}
    assert table.text in page
    assert page.endswith(f"## {time_to_quality.REACHED}\n\n{reach(table).text}")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache and the page in a folder of their own; nothing can be trained."""
    monkeypatch.setattr(time_to_quality, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(time_to_quality, "OUT", tmp_path / "page")
    monkeypatch.setattr(time_to_quality, "Bench", None)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["time_to_quality", *arguments])
    time_to_quality.main()


def test_the_table_alone_writes_nothing(elsewhere: Path, monkeypatch, capsys) -> None:
    page = elsewhere / "page.md"
    page.write_text(merged([point(30, 0.5)], "").text)
    run(monkeypatch, "--table")
    assert "| UNet | one | 10 | 30 | 1 | 0.500 |" in capsys.readouterr().out
    assert [path.name for path in elsewhere.iterdir()] == ["page.md"]


def test_out_keeps_what_has_not_been_run_here(elsewhere: Path, monkeypatch, capsys) -> None:
    page, curve = elsewhere / "page.md", CURVES[0]
    page.write_text(merged([point(30, 0.5)], "").text)
    monkeypatch.setattr(time_to_quality, "needs_matplotlib", lambda: None)
    drawn = []
    monkeypatch.setattr(time_to_quality, "figure", lambda table, path: drawn.append((len(table.rows), path.name)))
    result = time_to_quality.result_path(curve, "left")
    result.parent.mkdir(parents=True)
    samples = [{"track": 0.75, "fidelity": 0.5, "leak": 0.0, "shape": 1.0}]
    result.write_text(json.dumps({str(mark): samples for mark in curve.marks}))
    for _ in range(2):
        run(monkeypatch, "--table", "--out")
        rows = merged([], page.read_text()).rows
        assert [row[1] for row in rows] == [curve.name] * len(curve.marks) + ["one"]
    assert drawn == [(len(curve.marks) + 1, "page.png")] * 2
    capsys.readouterr()


def test_a_curve_is_on_the_page_when_its_clips_are_done(elsewhere: Path, monkeypatch, capsys) -> None:
    """What is finished must not wait for what a limit of time may cut off."""
    curves = [replace(CURVES[0], marks=(1,)), replace(CURVES[1], marks=(1,))]
    samples, seen = [{"track": 0.75, "fidelity": 0.5, "leak": 0.0, "shape": 1.0}], []

    class Bench:
        def __init__(self, model: str, cpu: bool) -> None:
            pass

        def run(self, curve: Curve, clip: object) -> dict:
            page = elsewhere / "page.md"
            seen.append([row[4] for row in merged([], page.read_text() if page.exists() else "").rows])
            return {"1": samples}

    for name, value in (("Bench", Bench), ("CURVES", curves), ("needs_matplotlib", lambda: None)):
        monkeypatch.setattr(time_to_quality, name, value)
    monkeypatch.setattr(time_to_quality, "figure", lambda table, path: None)
    run(monkeypatch, "--clips", "2", "--out")
    assert seen == [[], [], ["2"], ["2"]]
    capsys.readouterr()


def test_without_matplotlib_nothing_is_trained(elsewhere: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit, match="extra 'ablation'"):
        run(monkeypatch, "--out")
    assert list(elsewhere.iterdir()) == []


def test_a_result_goes_by_all_it_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    curve, path = CURVES[0], time_to_quality.result_path
    paths = {path(curve, "left"), path(curve, "circle"), path(curve, "left", "cuda")}
    paths |= {path(replace(curve, marks=(1,)), "left"), path(replace(curve, model="hard"), "left")}
    paths.add(path(replace(curve, how=replace(curve.how, weight_decay=0.02)), "left"))
    monkeypatch.setattr(time_to_quality, "UNTIL", 0.6)
    paths.add(path(curve, "left"))
    monkeypatch.setattr(time_to_quality.in_process, "WEIGHTS", time_to_quality.in_process.WEIGHTS / "vae")
    paths.add(path(curve, "left"))
    assert len(paths) == 8


def test_every_noise_of_a_batch_is_three_passes() -> None:
    assert Curve("", How(batch=2), (40,)).passes(40) == 240


def test_a_falling_rate_needs_a_training_for_each_mark() -> None:
    assert [how.steps for how, _ in Curve("", How(schedule="cosine"), (5, 10)).runs()] == [5, 10]
    assert [marks for _, marks in Curve("", How(), (5, 10)).runs()] == [(5, 10)]


def test_rates_by_hand() -> None:
    linear, cosine = How(steps=4, schedule="linear", warm=1), How(steps=4, schedule="cosine")
    assert [linear.rate_at(step) for step in range(4)] == pytest.approx([0.5, 0.75, 0.5, 0.25])
    assert [cosine.rate_at(step) for step in (0, 2)] == pytest.approx([1.0, 0.5])
    assert How(steps=4).rate_at(3) == 1.0


def test_levels_are_those_of_the_shipped_training() -> None:
    for step in (0, 7):
        (percent,) = How(power=3.0).percents(step, 0.4, torch.Generator())
        assert percent == pytest.approx(spread(step, 0.4, 1e-3, 1 - 1e-3, 3.0))
    drawn = How(levels="uniform", low=0.2, high=0.4, batch=100).percents(0, 0.0, torch.Generator().manual_seed(0))
    assert 0.2 <= min(drawn) < 0.22 and 0.38 < max(drawn) <= 0.4
