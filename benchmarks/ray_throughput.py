"""How much more two workers make than one, and what the benchmark's runner itself costs, on a Ray cluster.

    python -m benchmarks.ray_throughput fake --workers 1 2 4 8      a ComfyUI that sleeps: the runner's own cost
    python -m benchmarks.ray_throughput real --workers 1 2          the embedded model: what this machine gives

A cluster of two raylets is started on this machine for it. Prints one row per number of workers: seconds until all were
ready, items, items per minute from then on, that against one worker (or the first number given), the driver's
processor time per item (every thread: scheduling, Ray, writing), and what is recorded per item. What was measured
is in many_machines.md.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.host import ROOT, comfyui_path, link_model, prepare_base
from motion_embedding.benchmark import scheduler
from motion_embedding.benchmark.items import Clip, Item, Method
from motion_embedding.benchmark.manifest import load_manifest
from motion_embedding.benchmark.prepared import prepare_references
from motion_embedding.benchmark.ray_pool import RayPool
from motion_embedding.benchmark.run import generate, make_plan
from motion_embedding.benchmark.store import Results
from motion_embedding.benchmark.work import Event, HostOptions, Job, Outcome, What
from motion_embedding.video import VideoRequest
from tests.motion_embedding.benchmark.fakes import WORKFLOW, fake_options

MANIFEST = ROOT / "benchmarks" / "protocols" / "tiny_quick.yaml"
MODEL = ROOT / "demo" / "tiny_model" / "weights"
OBJECT_STORE = 200 * 2**20
INPUTS = {"clip": ("Reference.file",), "prompt": ("Result.text",), "seed": ("Result.seed",)}


class Timed:
    """A pool whose workers begin together, when the last is ready; the clock runs from then until it is closed."""

    def __init__(self, pool: RayPool, created: float) -> None:
        self._pool, self._created = pool, created
        self.start_seconds = self.seconds = self.driver_seconds = 0.0
        self._began: tuple[float, float] | None = None

    @property
    def workers(self) -> Any:
        return self._pool.workers

    def submit(self, worker: str, job: Job) -> None:
        self._pool.submit(worker, job)

    def events(self, timeout: float) -> list[Event]:
        if self._began:
            return self._pool.events(timeout)
        ready: list[Event] = []
        while len(ready) < len(self._pool.workers):
            ready += self._pool.events(timeout)
        if any(event.what is not What.READY for event in ready):
            raise RuntimeError(f"A worker did not start: {ready}")
        self._began = time.monotonic(), time.process_time()
        self.start_seconds = self._began[0] - self._created
        return ready

    def close(self) -> None:
        if self._began:
            self.seconds = time.monotonic() - self._began[0]
            self.driver_seconds = time.process_time() - self._began[1]
        self._pool.close()


@dataclass(frozen=True)
class Figures:
    """What one run gave; ``bytes`` is the size of all its results."""

    workers: int
    items: int
    bytes: int
    pool: Timed

    @property
    def per_minute(self) -> float:
        return 60 * self.items / self.pool.seconds

    def row(self, first: Figures) -> str:
        return (
            f"{self.workers:7d} {self.pool.start_seconds:8.1f} {self.items:6d} {self.per_minute:10.2f} "
            f"{self.per_minute / first.per_minute:8.2f} {1000 * self.pool.driver_seconds / self.items:14.1f} "
            f"{self.bytes / self.items / 1e6:8.2f}"
        )


def timed_pool(address: str, options: HostOptions, workers: int) -> Timed:
    created = time.monotonic()
    return Timed(RayPool(address, options, workers), created)


def made(results: Path) -> tuple[int, int]:
    """Number and bytes of the finished items of a results folder."""
    records = list((results / "items").glob("*.json"))
    return len(records), sum(file.stat().st_size for file in (results / "items").iterdir()) if records else 0


def with_fakes(address: str, workers: int, folder: Path, seconds: float, each: int, megabytes: float) -> Figures:
    """``each`` items per worker that take ``seconds`` each, of one clip per worker and as large a result."""
    method, items, tasks = Method("sleep", WORKFLOW, INPUTS, {}, "Result"), {}, []
    for worker in range(workers):
        clip, content = Clip(f"clip {worker}", folder), os.urandom(int(megabytes * 1e6))
        for seed in range(each):
            item = Item(method, clip, "a star", seed, 1, VideoRequest(), f"{worker}")
            values = {"Result.text": "a star", "Result.seed": seed}
            job = Job(item.id, item.group, WORKFLOW, values, ("Reference.file",), "clip.mp4", content, "Result")
            items[item.id] = item
            tasks.append(scheduler.Task(item.id, item.group, lambda job=job: job))
    options = fake_options(folder / "state", "--fake-seconds", str(seconds))
    with Results(folder / "results") as results:

        def record(outcome: Outcome, attempts: int) -> None:
            results.record(items[outcome.id], outcome, attempts)

        pool = timed_pool(address, options, workers)
        try:
            scheduler.run(tasks, pool, record)
        finally:
            pool.close()
    return Figures(workers, *made(folder / "results"), pool)


def with_comfyui(address: str, workers: int, folder: Path, manifest_file: Path) -> Figures:
    """The items of a manifest on ComfyUI with the embedded model."""
    base = prepare_base(folder / "base")
    link_model(base, MODEL, "tiny-text-to-video")
    options = HostOptions(comfyui_path().resolve(), base.resolve())
    manifest = load_manifest(manifest_file)
    pools: list[Timed] = []

    def make_pool() -> Timed:
        pools.append(timed_pool(address, options, workers))
        return pools[0]

    with Results(folder / "results") as results:
        plan = make_plan(manifest, prepare_references(manifest, results), results)
        summary = generate(manifest, plan, results, make_pool)
    if summary.failures:
        raise RuntimeError(f"Items failed: {summary.failures}")
    return Figures(workers, *made(folder / "results"), pools[0])


@contextmanager
def two_raylets(workers: int) -> Iterator[str]:
    """The address of a cluster of two nodes on this machine, with room for so many workers."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    node = {"num_cpus": (workers + 1) // 2, "object_store_memory": OBJECT_STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        cluster.add_node(**node)
        yield cluster.address
    finally:
        cluster.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host", choices=["fake", "real"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=4.0, help="per item of the fake (4)")
    parser.add_argument("--each", type=int, default=5, help="items per worker of the fake (5)")
    parser.add_argument("--megabytes", type=float, default=4.0, help="size of the fake's clips and results (4)")
    parser.add_argument("--manifest", type=Path, default=MANIFEST, help="for the real one")
    options = parser.parse_args()
    print("workers  start s  items  per minute   ratio  driver ms/item  MB/item")
    first = None
    with two_raylets(max(options.workers)) as address:
        for workers in options.workers:
            with tempfile.TemporaryDirectory() as folder:
                if options.host == "fake":
                    sizes = options.seconds, options.each, options.megabytes
                    figures = with_fakes(address, workers, Path(folder), *sizes)
                else:
                    figures = with_comfyui(address, workers, Path(folder), options.manifest)
            first = first or figures
            print(figures.row(first), flush=True)


if __name__ == "__main__":
    main()
