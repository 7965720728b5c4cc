"""The scheduler against a pool without workers: what is promised when they come, go and die in any order."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from motion_embedding.benchmark.failure import BenchmarkError
from motion_embedding.benchmark.job_prompt import JobError
from motion_embedding.benchmark.scheduler import Task, TaskQueue, run
from motion_embedding.benchmark.work import Event, Outcome, What
from tests.motion_embedding.benchmark.fakes import fake_job

READY, DONE, LOST, GONE = What.READY, What.DONE, What.LOST, What.GONE


class FakePool:
    """Workers that finish or die as ``fate(worker, job) -> What`` says; one event at a time, in random order."""

    def __init__(self, workers: int, fate=lambda worker, job: DONE, seed: int = 0, revive=lambda worker: READY) -> None:
        self.workers = [f"w{index}" for index in range(workers)]
        self.fate, self.revive, self.random = fate, revive, random.Random(seed)
        self.at_work, self.starting, self.ready = {}, set(self.workers), set()
        self.handed_out = []

    def submit(self, worker, job):
        assert worker in self.ready, "a job for a worker that did not ask"
        self.ready.discard(worker)
        self.at_work[worker] = job
        self.handed_out.append((worker, job.id))

    def events(self, timeout):
        waiting = sorted(self.starting | set(self.at_work))
        assert waiting, "the scheduler waits for a worker that has nothing to do"
        worker = self.random.choice(waiting)
        if worker in self.starting:
            self.starting.discard(worker)
            return [self.become(worker, self.revive(worker))]
        job = self.at_work.pop(worker)
        what = self.fate(worker, job)
        if what is LOST:
            self.starting.add(worker)
        return [self.become(worker, what, job)]

    def become(self, worker, what, job=None):
        if what in (READY, DONE):
            self.ready.add(worker)
        outcome = Outcome(job.id, worker, 1.0, b"video") if what is DONE else None
        return Event(worker, what, outcome, "it fell over" if what in (LOST, GONE) else "")

    def close(self):
        pass


def tasks(groups: dict[str, int]) -> list[Task]:
    return [
        Task(f"{group}{index}", group, lambda group=group, index=index: fake_job(f"{group}{index}", group=group))
        for group, count in groups.items()
        for index in range(count)
    ]


def collect(pool, todo, **options):
    recorded = {}

    def record(outcome, attempts):
        assert outcome.id not in recorded, "recorded twice"
        recorded[outcome.id] = (outcome, attempts)

    run(todo, pool, record, **options)
    return recorded


@pytest.mark.parametrize("seed", range(200))
def test_nothing_is_lost_and_nothing_done_twice_whoever_dies(seed):
    chance = random.Random(seed)
    todo = tasks({group: chance.randint(1, 9) for group in "abcdefg"[: chance.randint(1, 7)]})
    deaths, retries = Counter(), chance.randint(0, 3)

    def fate(worker, job):
        if chance.random() < 0.3:
            deaths[job.id] += 1
            return LOST
        return DONE

    pool = FakePool(chance.randint(1, 5), fate, seed)
    recorded = collect(pool, todo, retries=retries)
    assert set(recorded) == {task.id for task in todo}
    for name, (outcome, attempts) in recorded.items():
        failed = deaths[name] == retries + 1
        assert bool(outcome.error) == failed and bool(outcome.video) == (not failed)
        assert attempts == (deaths[name] if failed else deaths[name] + 1)
    assert Counter(name for _, name in pool.handed_out) == Counter({name: n for name, (_, n) in recorded.items()})


def test_a_job_that_kills_every_worker_fails_with_the_last_reason_and_the_rest_is_done():
    pool = FakePool(2, lambda worker, job: LOST if job.id == "a1" else DONE)
    recorded = collect(pool, tasks({"a": 4}), retries=2)
    assert recorded["a1"][0].error == "Its worker died 3 times, at last: it fell over"
    assert [recorded[name][1] for name in ("a0", "a1", "a2", "a3")] == [1, 3, 1, 1]


def test_a_lost_job_comes_next():
    todo = ["a0", "b0"]

    def fate(worker, job):
        if job.id in todo:
            todo.remove(job.id)
            return LOST
        return DONE

    pool = FakePool(1, fate)
    collect(pool, tasks({"a": 2, "b": 1, "c": 1}))
    assert [name for _, name in pool.handed_out] == ["a0", "a0", "a1", "b0", "b0", "c0"]


def test_without_workers_the_run_ends_with_their_reasons_and_what_was_done_is_recorded():
    done = []

    def fate(worker, job):
        return GONE if len(done) >= 2 else DONE

    pool = FakePool(2, fate)
    with pytest.raises(BenchmarkError, match=r"No worker is left, with 3 items to do\. w\d: it fell over; w\d: it"):
        run(tasks({"a": 5}), pool, lambda outcome, attempts: done.append(outcome.id))
    assert len(done) == 2


def test_workers_that_never_start_end_the_run():
    with pytest.raises(BenchmarkError, match="2 items to do"):
        collect(FakePool(3, revive=lambda worker: GONE), tasks({"a": 2}))


def test_no_tasks_need_no_worker():
    assert collect(FakePool(0), []) == {}


def test_a_worker_keeps_to_its_group_and_every_group_has_one_worker_where_they_are_enough():
    pool = FakePool(3, seed=4)
    collect(pool, tasks(dict.fromkeys("abcdef", 5)))
    workers = {group: {worker for worker, name in pool.handed_out if name[0] == group} for group in "abcd"}
    assert all(len(found) == 1 for found in workers.values())


def test_the_idle_help_with_the_longest_group_from_its_end_but_leave_its_last():
    queue = TaskQueue(tasks({"a": 4, "b": 3}))
    assert [queue.take(worker).id for worker in ("one", "two")] == ["a0", "b0"]
    assert queue.take("three").id == "a3"
    assert queue.take("three").id == "a1"
    assert queue.take("four").id == "b2"
    assert queue.take("five") is None
    assert [queue.take(worker).id for worker in ("one", "two")] == ["a2", "b1"]
    assert queue.take("one") is None and len(queue) == 0


def test_the_group_of_a_lost_worker_is_free_again():
    queue = TaskQueue(tasks({"a": 2}))
    first = queue.take("one")
    assert queue.take("two") is None
    queue.release("one")
    queue.put_back(first)
    assert [queue.take("two").id, queue.take("two").id] == ["a0", "a1"]


def test_a_clip_is_read_only_when_its_job_is_handed_out():
    alive, most = set(), []

    def make(name):
        alive.add(name)
        most.append(len(alive))
        return fake_job(name)

    names = [f"a{index}" for index in range(50)]
    todo = [Task(name, "a", lambda name=name: make(name)) for name in names]
    run(todo, FakePool(3), lambda outcome, attempts: alive.discard(outcome.id))
    assert max(most) <= 3


@pytest.mark.parametrize("error", [JobError("no such clip"), FileNotFoundError("no such clip")])
def test_a_job_that_cannot_be_made_is_recorded_and_the_rest_is_done(error):
    def make():
        raise error

    todo = [*tasks({"a": 2}), Task("bad", "b", make), *tasks({"c": 2})]
    recorded = collect(FakePool(1), todo)
    assert recorded.pop("bad")[0].error == "no such clip"
    assert {name for name, (outcome, _) in recorded.items() if outcome.video} == {"a0", "a1", "c0", "c1"}


def test_what_the_record_raises_ends_the_run():
    def record(outcome, attempts):
        raise BenchmarkError("the disk is full")

    with pytest.raises(BenchmarkError, match="full"):
        run(tasks({"a": 3}), FakePool(2), record)
