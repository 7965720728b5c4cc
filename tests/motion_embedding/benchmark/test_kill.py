"""Kill the runner, or the ComfyUI of a worker, in the middle: nothing is lost, nothing is done twice.

Real processes and real signals; only ComfyUI is a fake one.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest

from tests.motion_embedding.benchmark.fakes import (
    calls,
    checked_videos,
    is_running,
    records,
    runner,
    starts,
    wait_until,
    write_benchmark,
)

PROMPTS = ("a star", "a moon", "a sun")


@pytest.fixture
def manifest(tmp_path):
    return write_benchmark(tmp_path, PROMPTS)


@pytest.fixture
def state(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def scratch_folders(state):
    return list(state.glob("motion-benchmark-*"))


def finish(manifest, results, state):
    with runner(manifest, results, state, seconds=0) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return said


def test_a_killed_run_goes_on_where_it_was(manifest, state, tmp_path):
    results = tmp_path / "out"
    with runner(manifest, results, state) as process:
        wait_until(lambda: len(records(results)) >= 2)
        process.kill()
        process.wait()
        (comfyui,) = starts(state)
        wait_until(lambda: not is_running(comfyui))
        wait_until(lambda: not scratch_folders(state))
    before = Counter(calls(state))
    finished = {id: record["finished"] for id, record in records(results).items()}
    assert 2 <= len(finished) < 6
    # As if it had been killed while it wrote: the next run removes it.
    (results / "items" / ".some-item.mp4.01234567.tmp").write_bytes(b"half")

    assert f"6 items, {len(finished)} finished, {6 - len(finished)} to make" in finish(manifest, results, state)
    again = Counter(calls(state)) - before
    assert sum(again.values()) == 6 - len(finished)
    assert {id: records(results)[id]["finished"] for id in finished} == finished

    uninterrupted = tmp_path / "uninterrupted"
    finish(manifest, uninterrupted, state)
    assert checked_videos(results) == checked_videos(uninterrupted)


def test_a_killed_comfyui_is_replaced_and_only_its_item_is_made_again(manifest, state, tmp_path):
    results = tmp_path / "out"
    with runner(manifest, results, state) as process:
        wait_until(lambda: len(calls(state)) == 3)
        os.kill(starts(state)[0], signal.SIGKILL)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert len(checked_videos(results)) == 6 and len(starts(state)) == 2
    attempts = Counter(record["attempts"] for record in records(results).values())
    assert attempts == {1: 5, 2: 1}
    assert max(Counter(calls(state)).values()) <= 3 and len(calls(state)) <= 7
    assert not is_running(starts(state)[1])


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_leaves_no_comfyui_behind(manifest, state, tmp_path, sign):
    results = tmp_path / "out"
    with runner(manifest, results, state) as process:
        wait_until(lambda: records(results))
        process.send_signal(sign)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 1 and "The same command goes on where it was" in said
        assert "Traceback" not in said
        assert not is_running(starts(state)[0]) and not scratch_folders(state)
    assert len(checked_videos(results)) < 6
