"""A disk that is full: the kernel refuses to write in the middle of a run."""

from __future__ import annotations

import re
import resource

import pytest

from tests.motion_embedding.benchmark.fakes import checked_videos, records, runner, wait_until, write_benchmark


@pytest.fixture
def state(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def test_a_full_disk_stops_the_run_with_nothing_half_written_and_it_goes_on_later(state, tmp_path):
    manifest, results = write_benchmark(tmp_path, ("a star", "a moon", "a sun"), clips=1), tmp_path / "out"
    with runner(manifest, results, state) as process:
        wait_until(lambda: records(results))
        # The limit holds for the runner alone. A result is longer than its clip, its record much shorter.
        size = (results / "clips" / "clip0.mp4").stat().st_size
        assert size > 700
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(rf"There is no room for {size // 10}\d+ bytes in {re.escape(str(results))} ", said), said
    assert "Traceback" not in said
    kept = checked_videos(results)
    assert 1 <= len(kept) < 3
    assert not [file for file in results.rglob("*") if file.name.endswith(".tmp")]
    assert not list((results / "failed").glob("*"))

    with runner(manifest, results, state, seconds=0) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and f"{len(kept)} finished, {3 - len(kept)} to make" in said
    whole = checked_videos(results)
    assert len(whole) == 3 and kept.items() <= whole.items()
