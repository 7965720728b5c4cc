"""The benchmark's workers on a Ray cluster of two raylets on this machine, with a ComfyUI that takes no time."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from motion_embedding.benchmark import ray_cluster
from motion_embedding.benchmark.cli import main
from motion_embedding.benchmark.ray_cluster import connect
from motion_embedding.benchmark.ray_pool import RayPool, _Clips
from motion_embedding.benchmark.scheduler import Task, run
from motion_embedding.benchmark.work import Event, HostOptions, Job, Outcome, What
from motion_embedding.errors import InputError
from tests.motion_embedding.benchmark.fakes import (
    FAKE_COMFYUI,
    Runner,
    calls,
    checked_videos,
    fake_job,
    fake_options,
    fake_video,
    is_running,
    records,
    starts,
    wait_until,
    write_benchmark,
)

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_failure_threshold": 3,
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    scratch = tmp_path_factory.mktemp("scratch")
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", TMPDIR=str(scratch))
    from ray.cluster_utils import Cluster

    before = set(ray_processes())
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "_system_config": QUICK_TO_NOTICE})
    cluster.add_node(**NODE)
    yield cluster
    cluster.shutdown()
    del os.environ["TMPDIR"]
    wait_until(lambda: set(ray_processes()) <= before)
    wait_until(lambda: not list(scratch.glob("motion-benchmark-*")), seconds=10)


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connects without the trial in another process, which takes seconds; the killed run has it."""
    monkeypatch.setattr(ray_cluster, "_try", lambda *_: None)


def ray_processes() -> list[int]:
    """Everything that Ray runs for this process, by what it calls itself."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if command.startswith(b"ray::") or b"/ray/core/src/ray/" in command:
                found.append(int(process.name))
    return found


def parent(pid: int) -> int:
    return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


def tasks(count: int, groups: int = 2) -> list[Task]:
    jobs = [
        fake_job(f"item-{i}", f"item-{i}", i, f"group {i % groups}", b"clip %d" % (i % groups)) for i in range(count)
    ]
    return [Task(job.id, job.group, lambda job=job: job) for job in jobs]


class Watched:
    """A pool that does something, ``then``, as soon as all its workers are busy and ``after`` jobs were handed out."""

    def __init__(self, pool: RayPool, after: int, then: Callable[[], None]) -> None:
        self.pool, self.after, self.then = pool, after, then
        self.seen: list[Event] = []
        self.submitted: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pool, name)

    def events(self, timeout: float) -> list[Event]:
        self.seen += (news := self.pool.events(timeout))
        return news

    def submit(self, worker: str, job: Job) -> None:
        self.pool.submit(worker, job)
        self.submitted.append(job.id)
        done = [event for event in self.seen if event.what is What.DONE]
        if len(self.submitted) > self.after and len(self.submitted) - len(done) == len(self.pool.workers):
            self.then()
            self.after = sys.maxsize


def outcomes(pool: Watched, count: int) -> tuple[dict[str, Outcome], Counter[int]]:
    """What ``run`` recorded for ``count`` tasks, and how many tries they took; each is recorded once."""
    recorded: dict[str, Outcome] = {}
    attempts: Counter[int] = Counter()

    def record(outcome: Outcome, tries: int) -> None:
        assert outcome.id not in recorded
        recorded[outcome.id] = outcome
        attempts[tries] += 1

    run(tasks(count), pool, record)
    return recorded, attempts


def all_are_right(recorded: dict[str, Outcome], count: int) -> bool:
    videos = {f"item-{i}": fake_video(f"item-{i}", i, b"clip %d" % (i % 2)) for i in range(count)}
    return {name: outcome.video for name, outcome in recorded.items()} == videos


def test_a_killed_worker_costs_only_the_item_it_had(cluster: Any, trusted: None, tmp_path: Path) -> None:
    options, count = fake_options(tmp_path, "--fake-seconds", "0.3"), 12
    handler = signal.getsignal(signal.SIGTERM)

    def kill_the_first() -> None:
        os.kill(parent(starts(tmp_path)[0]), signal.SIGKILL)

    with contextlib.closing(Watched(RayPool(cluster.address, options), 4, kill_the_first)) as pool:
        assert list(pool.workers) == ["ray-1", "ray-2"]
        assert signal.getsignal(signal.SIGTERM) is handler
        recorded, attempts = outcomes(pool, count)
        wait_until(lambda: not is_running(starts(tmp_path)[0]))
    assert all_are_right(recorded, count)
    assert {outcome.worker.partition("@")[0] for outcome in recorded.values()} == {"ray-1", "ray-2"}
    (lost,) = [event for event in pool.seen if event.what is What.LOST]
    assert "died" in lost.reason
    assert attempts == {1: count - 1, 2: 1}
    (again,) = [name for name, times in Counter(pool.submitted).items() if times > 1]
    made = Counter(call.partition(" ")[0] for call in calls(tmp_path))
    assert set(made) == set(recorded)
    assert {name for name, times in made.items() if times > 1} <= {again}
    wait_until(lambda: not any(map(is_running, starts(tmp_path))))


def test_a_machine_leaves_and_another_joins_whose_comfyui_does_not_start(
    cluster: Any, trusted: None, tmp_path: Path
) -> None:
    options, count = fake_options(tmp_path, "--fake-seconds", "0.3"), 10

    def remove_a_machine() -> None:
        cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)

    news: list[Event] = []
    with contextlib.closing(Watched(RayPool(cluster.address, options), 4, remove_a_machine)) as pool:
        recorded, attempts = outcomes(pool, count)
        (lost,) = {event.worker for event in pool.seen if event.what is What.LOST}
        assert Event(lost, What.READY) not in pool.events(0), "there is no machine for it"
        (tmp_path / "refuse to start").touch()
        cluster.add_node(**NODE)
        wait_until(lambda: news.extend(pool.events(1.0)) or news)
    assert all_are_right(recorded, count)
    assert attempts == {1: count - 1, 2: 1}
    assert [(event.worker, event.what) for event in news] == [(lost, What.GONE)]
    assert "3 times in a row" in news[0].reason and "refused to start, as told" in news[0].reason
    assert len(starts(tmp_path)) == 2 + 3
    wait_until(lambda: not any(map(is_running, starts(tmp_path))))


def test_a_killed_run_goes_on_and_does_nothing_twice(cluster: Any, tmp_path: Path) -> None:
    manifest, results, state = write_benchmark(tmp_path, [f"star {i}" for i in range(5)]), tmp_path / "out", tmp_path
    python = state / "python"  # the fake's settings travel in its interpreter: an environment stays on its machine
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exit 1\nexec {sys.executable} -S "$@" --fake-state {state} --fake-seconds 0.3\n'
    )
    python.chmod(0o755)
    arguments = ["run", str(manifest), "--out", str(results), "--generate-only", "--comfyui", str(FAKE_COMFYUI)]
    arguments += ["--python", str(python), "--ray", cluster.address]

    first = Runner(arguments, state)
    wait_until(lambda: first.ended() or len(records(results)) >= 3)
    first.kill()
    first.end()
    wait_until(lambda: not any(map(is_running, starts(state))))
    before, finished = Counter(calls(state)), records(results)
    assert 3 <= len(finished) < 10

    assert main(arguments) == 0
    assert len(checked_videos(results)) == 10
    assert finished.items() <= records(results).items(), "what was finished is left as it was"
    assert sum((Counter(calls(state)) - before).values()) == 10 - len(finished)


def test_a_clip_is_put_once_while_it_is_in_use() -> None:
    put: list[bytes] = []
    clips = _Clips(lambda clip: put.append(clip) or len(put), limit=2)
    assert [clips.ref(clip) for clip in (b"a", b"b", b"a", b"b", b"c", b"b", b"a")] == [1, 2, 1, 2, 3, 2, 4]
    assert put == [b"a", b"b", b"c", b"a"]


def test_without_ray_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r'pip install "ray>=2.9"'):
        connect("auto")


def test_where_nothing_answers_one_is_told_so_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("0.0.0.0", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InputError, match=rf"{address}.*no answer in 2 s"):
            connect(address, patience=2.0)


def test_where_there_is_no_cluster_ray_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'nonsense'.*port"):
        connect("nonsense")


def test_paths_are_those_of_other_machines() -> None:
    with pytest.raises(InputError, match="absolute"):
        RayPool("auto", HostOptions(Path("ComfyUI")))
