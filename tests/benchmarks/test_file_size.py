"""The bytes of a ZeroScope motion, recomputed by hand, and what becomes of rows that have not been run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import file_size, tables
from benchmarks.bytes_on_paper import LIMIT, megabytes, numbers, zeroscope
from benchmarks.file_size import FORMS, OUT, SETTINGS, measured, merged, result_path

CPU = torch.device("cpu")


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


def finished(name: str, form: file_size.Form, clip: str, track: float) -> None:
    path = result_path(name, form, clip)
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = [{"track": track, "camera_error": 0.5, "fidelity": 0.25, "leak": 0.0}] * file_size.SCENES
    path.write_text(json.dumps({"bytes": 2000, "error": form.error, "ranks": [3, 4], "samples": samples}))


def test_a_row_is_of_all_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_size, "CACHE", tmp_path)
    form, clips = FORMS[2], SETTINGS["unet"].clips
    for clip in clips[:-1]:
        finished("unet", form, clip, 0.5)
    assert measured("unet", CPU).rows == ()
    finished("unet", form, clips[-1], 0.9)
    [row] = measured("unet", CPU).rows
    assert (row[0], *row[2:]) == (form.name, "2 kB", "0.10", "3 to 4", "0.600", "0.50", "0.250", "0.00")


def test_out_keeps_what_has_not_been_run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(file_size, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(file_size, "OUT", page := tmp_path / "page.md")
    page.write_text(OUT.read_text("utf-8"))
    for clip in SETTINGS["animatediff"].clips:
        finished("animatediff", FORMS[1], clip, 0.5)
    monkeypatch.setattr("sys.argv", ["file_size", "--table", "--out", "--only", "animatediff"])
    for _ in range(2):
        file_size.main()
        text = page.read_text()
        assert text.startswith(OUT.read_text("utf-8").rstrip())
        assert text.count(f"| {FORMS[1].name} |") == OUT.read_text("utf-8").count(f"| {FORMS[1].name} |") + 1
        assert f"## {SETTINGS['animatediff'].title}" in text
    monkeypatch.setattr("sys.argv", ["file_size", "--table"])
    page.unlink()
    file_size.main()
    assert not page.exists()
    assert "0.500" in capsys.readouterr().out


def test_the_committed_page_has_no_other_rows_than_its_tables() -> None:
    page = OUT.read_text("utf-8")
    for setting in SETTINGS.values():
        part = tables.part(page, setting.title)
        assert part == (merged(tables.Table(setting.columns, 2), part).text if part else "")


def test_a_result_goes_by_all_it_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    form = FORMS[2]
    paths = {result_path(name, form, "left") for name in SETTINGS}
    paths |= {result_path("unet", f, "left") for f in (replace(form, error=0.15), replace(form, value_form="linear"))}
    paths.add(result_path("unet", form, "left", "cuda"))
    monkeypatch.setitem(file_size.ablation.TRAINING, "steps", 3)
    paths |= {result_path(name, form, "left") for name in ("unet", "wan")}
    assert result_path("animatediff", form, "left") in paths, "trained as the presets are, not as the ablation is"
    monkeypatch.setattr(file_size, "SCENES", 2)
    paths |= {result_path(name, form, "left") for name in SETTINGS}
    assert len(paths) == 4 + 3 + 2 + 4
