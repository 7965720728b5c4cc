"""Local workers with the fake ComfyUI."""

from __future__ import annotations

import time

import pytest

from motion_embedding.benchmark import local
from motion_embedding.benchmark.local import LocalPool
from motion_embedding.benchmark.work import What
from motion_embedding.benchmark.worker import Worker
from tests.motion_embedding.benchmark.fakes import calls, fake_job, fake_options, fake_video, is_running, starts

READY, DONE, LOST, GONE = What.READY, What.DONE, What.LOST, What.GONE


@pytest.fixture
def open_pool(monkeypatch):
    monkeypatch.setattr(local, "_PAUSE", 0.01)
    pools = []

    def start(workers):
        pools.append(LocalPool(workers))
        return pools[-1]

    yield start
    for pool in pools:
        pool.close()


def wait_for(pool, count):
    """The next ``count`` events."""
    found, deadline = [], time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        found += pool.events(1.0)
    assert len(found) == count
    return found


def test_every_worker_gets_ready_and_does_its_job_on_a_server_of_its_own(open_pool, tmp_path):
    pool = open_pool({name: fake_options(tmp_path / name) for name in ("one", "two")})
    assert list(pool.workers) == ["one", "two"]
    assert {(event.worker, event.what) for event in wait_for(pool, 2)} == {("one", READY), ("two", READY)}
    for name in ("one", "two"):
        pool.submit(name, fake_job(name, f"for {name}"))
    done = {event.worker: event.outcome for event in wait_for(pool, 2)}
    assert {name: done[name].video for name in done} == {n: fake_video(f"for {n}") for n in ("one", "two")}
    assert calls(tmp_path / "two") == ["for two 1"]


def test_a_lost_worker_says_why_and_starts_again(open_pool, tmp_path):
    pool = open_pool({"one": fake_options(tmp_path)})
    wait_for(pool, 1)
    pool.submit("one", fake_job("bad", "die"))
    lost, ready = wait_for(pool, 2)
    assert (lost.what, ready.what) == (LOST, READY) and "ComfyUI" in lost.reason
    pool.submit("one", fake_job("good"))
    assert wait_for(pool, 1)[0].outcome.video == fake_video()


def test_a_worker_that_fails_to_start_three_times_is_gone(open_pool, tmp_path):
    options = fake_options(tmp_path)
    (tmp_path / "refuse to start").touch()
    pool = open_pool({"one": options})
    (gone,) = wait_for(pool, 1)
    assert gone.what is GONE and "3 times" in gone.reason and "refused to start, as told" in gone.reason
    assert len(starts(tmp_path)) == 3


def test_whatever_goes_wrong_at_the_start_the_worker_is_gone_with_its_reason(open_pool, tmp_path, monkeypatch):
    def start(worker):
        raise TypeError("a mistake of ours")

    monkeypatch.setattr(Worker, "start", start)
    (gone,) = wait_for(open_pool({"one": fake_options(tmp_path)}), 1)
    assert gone.what is GONE and "a mistake of ours" in gone.reason


def test_an_unexpected_error_is_the_jobs_and_the_worker_goes_on(open_pool, tmp_path):
    pool = open_pool({"one": fake_options(tmp_path)})
    wait_for(pool, 1)
    pool.submit("one", fake_job("bad", clip=None))
    (done,) = wait_for(pool, 1)
    assert done.what is DONE and done.outcome.error.startswith("TypeError")
    pool.submit("one", fake_job("good"))
    assert wait_for(pool, 1)[0].outcome.video == fake_video()


def test_close_ends_what_is_at_work_and_what_is_starting(tmp_path):
    pool = LocalPool({name: fake_options(tmp_path / name) for name in ("busy", "idle")})
    wait_for(pool, 2)
    pool.submit("busy", fake_job("slow", "hang"))
    while not calls(tmp_path / "busy"):
        time.sleep(0.01)
    starting = LocalPool({"new": fake_options(tmp_path / "new")})
    starting.close()
    pool.close()
    assert not any(is_running(pid) for name in ("busy", "idle", "new") for pid in starts(tmp_path / name))
