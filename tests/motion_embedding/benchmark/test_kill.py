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
    run_here,
    runner,
    starts,
    wait_until,
    write_benchmark,
)


@pytest.fixture
def manifest(tmp_path):
    return write_benchmark(tmp_path, ("a star", "a moon", "a sun"))


@pytest.fixture
def state(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def scratch_folders(state):
    return list(state.glob("motion-benchmark-*"))


def test_a_killed_run_goes_on_where_it_was(manifest, state, tmp_path, monkeypatch, capsys):
    results = tmp_path / "out"
    with runner(manifest, results, state, hold=3) as process:
        process.kill()
        process.end()
        (comfyui,) = starts(state)
        wait_until(lambda: not is_running(comfyui))
        wait_until(lambda: not scratch_folders(state))
    finished = {id: record["finished"] for id, record in records(results).items()}
    assert len(finished) == 2 and len(checked_videos(results)) == 2
    # As if it had been killed while it wrote.
    (results / "items" / ".some-item.mp4.01234567.tmp").write_bytes(b"half")

    assert run_here(manifest, results, state, monkeypatch) == 0
    assert "6 items, 2 finished, 4 to make" in capsys.readouterr().out
    assert len(calls(state)) == 3 + 4
    assert {id: records(results)[id]["finished"] for id in finished} == finished

    uninterrupted = tmp_path / "uninterrupted"
    assert run_here(manifest, uninterrupted, state, monkeypatch) == 0
    assert checked_videos(results) == checked_videos(uninterrupted)


def test_a_killed_comfyui_is_replaced_and_only_its_item_is_made_again(manifest, state, tmp_path):
    results = tmp_path / "out"
    with runner(manifest, results, state, hold=3) as process:
        os.kill(starts(state)[0], signal.SIGKILL)
        code, said = process.end()
    assert code == 0, said
    assert len(checked_videos(results)) == 6 and len(starts(state)) == 2
    assert Counter(record["attempts"] for record in records(results).values()) == {1: 5, 2: 1}
    made = calls(state)
    assert len(made) == 7 and made[2] == made[3]
    assert not is_running(starts(state)[1])


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_leaves_no_comfyui_behind(manifest, state, tmp_path, sign):
    results = tmp_path / "out"
    with runner(manifest, results, state, hold=2) as process:
        os.kill(process.pid, sign)
        code, said = process.end()
        assert code == 1 and "The same command goes on where it was" in said
        assert "Traceback" not in said
        assert not is_running(starts(state)[0]) and not scratch_folders(state)
    assert len(checked_videos(results)) == 1
