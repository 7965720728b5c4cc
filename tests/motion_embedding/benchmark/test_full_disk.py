"""A disk that is full: the kernel refuses to write in the middle of a run."""

from __future__ import annotations

import resource

import pytest

from tests.motion_embedding.benchmark.fakes import (
    checked_videos,
    run_here,
    runner,
    write_benchmark,
)


@pytest.fixture
def state(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def test_a_full_disk_stops_the_run_with_nothing_half_written_and_it_goes_on_later(state, tmp_path, monkeypatch, capsys):
    manifest, results = write_benchmark(tmp_path, ("a star", "a moon", "a sun"), clips=1), tmp_path / "out"
    with runner(manifest, results, state, hold=2) as process:
        # The limit holds for the runner alone. A result is longer than its clip, its record much shorter.
        size = (results / "clips" / "clip0.mp4").stat().st_size
        assert size > 700
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        (state / "hold").unlink()
        code, said = process.end()
    assert code == 1
    # A result is its clip and a box of 8 bytes for "a moon/1".
    assert f"There is no room for {size + 16} bytes in {results} " in said
    assert "Traceback" not in said
    kept = checked_videos(results)
    assert len(kept) == 1
    assert not [file for file in results.rglob("*") if file.name.endswith(".tmp")]
    assert not list((results / "failed").glob("*"))

    assert run_here(manifest, results, state, monkeypatch) == 0
    assert "1 finished, 2 to make" in capsys.readouterr().out
    whole = checked_videos(results)
    assert len(whole) == 3 and kept.items() <= whole.items()
