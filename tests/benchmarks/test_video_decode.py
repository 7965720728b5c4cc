"""Which film a reading is of, and the row it goes to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import video_decode
from benchmarks.tables import keep
from benchmarks.video_decode import SHORT, table
from demo.host import ROOT

READ = {"seconds": 0.5, "cpu": 0.6, "memory": 91.0, "decoded": 34}


def test_a_film_goes_by_all_that_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {SHORT.path(10), SHORT.path(1), replace(SHORT, gop=25).path(10), replace(SHORT, codec="libx265").path(10)}
    monkeypatch.setattr(video_decode, "GRAIN", 7)
    paths.add(SHORT.path(10))
    monkeypatch.setitem(video_decode.OPTIONS, "preset", "fast")
    paths.add(SHORT.path(10))
    assert len(paths) == 6


def test_rows_of_other_machines_and_lengths_stay(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text((ROOT / "benchmarks" / "video_decode.md").read_text("utf-8"))
    before = page.read_text()
    monkeypatch.setattr(video_decode, "device_name", lambda device: "another machine")
    rows = [("25 fps, key frame every 50", {"ours": READ})]
    for minutes in (10, 10, 1):
        keep(page, table(rows, minutes))
    line = "| 25 fps, key frame every 50 | {} | ours | another machine | 0.50 | 0.60 | 91 | 34 |\n"
    assert page.read_text() == before + line.format(10) + line.format(1)
