"""The benchmark's workers on a Ray cluster of two raylets on this machine, with a ComfyUI that takes no time."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motion_embedding.benchmark.ray_cluster import connect
from motion_embedding.benchmark.ray_pool import RayPool, _Clips
from motion_embedding.benchmark.scheduler import Task, run
from motion_embedding.benchmark.work import HostOptions, Outcome, What
from motion_embedding.errors import InputError

from .fakes import calls, fake_job, fake_options, fake_video, is_running, starts

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
QUICK_TO_NOTICE = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    before = set(ray_processes())
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "_system_config": QUICK_TO_NOTICE})
    cluster.add_node(**NODE)
    yield cluster
    cluster.shutdown()
    assert until(lambda: set(ray_processes()) <= before), "Ray is still running"


def ray_processes() -> list[int]:
    """Everything that Ray runs for this process, by what it calls itself."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if command.startswith(b"ray::") or b"/ray/core/src/ray/" in command:
                found.append(int(process.name))
    return found


def until(condition: Any, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(met)


def parent(pid: int) -> int:
    return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


def tasks(count: int, groups: int = 2) -> list[Task]:
    jobs = [fake_job(f"item-{i}", f"star {i}", i, f"group {i % groups}", b"clip %d" % (i % groups)) for i in range(count)]
    return [Task(job.id, job.group, lambda job=job: job) for job in jobs]


def test_two_machines_do_every_item_once(cluster: Any, tmp_path: Path) -> None:
    pool = RayPool(cluster.address, fake_options(tmp_path / "state"))
    done: dict[str, Outcome] = {}
    t=time.time()
    with contextlib.closing(pool):
        run(tasks(10), pool, lambda outcome, attempts: done.update({outcome.id: outcome}))
        print(time.time()-t)
    print(time.time()-t)
    print({d.worker for d in done.values()}, calls(tmp_path/"state"))
    assert not any(is_running(pid) for pid in starts(tmp_path / "state"))
