"""Who does what next: jobs to workers, until every job has been recorded once."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .failure import BenchmarkError, brief
from .job_prompt import JobError
from .work import Event, Job, Outcome, Pool, What

log = logging.getLogger(__name__)

_PATIENCE = 1.0


@dataclass(frozen=True)
class Task:
    """A job before it is handed out: what it is called, its group, and how to make it (read the clip, ...).

    ``make`` may raise :class:`JobError` or :class:`OSError`, which is recorded as the job's failure.
    """

    id: str
    group: str
    make: Callable[[], Job]


Record = Callable[[Outcome, int], None]
"""Called with what became of a job, and how many times it was tried. What it raises ends the run."""


def run(
    tasks: Iterable[Task],
    pool: Pool,
    record: Record,
    retries: int = 2,
    on_event: Callable[[Event], None] | None = None,
) -> None:
    """Have ``pool`` do ``tasks``; each is recorded exactly once.

    A job is made when a worker takes it, and a worker has one at a time: memory holds as many clips and results as
    there are workers. A worker keeps to its group (its host has learnt the motion already). The job of a worker that
    is lost is next in its group again; when it has lost ``retries`` + 1 workers it is recorded as failed.

    Raises:
        BenchmarkError: no worker is left, with the reason of each; what was recorded stays recorded.
    """
    _Run(TaskQueue(tasks), pool, record, retries).until_done(on_event)


class TaskQueue:
    """Tasks by group, in their order, and which worker is on which group."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._groups: dict[str, deque[Task]] = {}
        for task in tasks:
            self._groups.setdefault(task.group, deque()).append(task)
        self._at: dict[str, str] = {}

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def take(self, worker: str) -> Task | None:
        """The next task for ``worker``: of its own group, else of the first that nobody is on, else from the end of
        the longest; one task alone is left to who is on its group. None where it is better to wait."""
        own = self._groups.get(self._at.get(worker, ""))
        if own:
            return self._taken(own.popleft())
        self._at.pop(worker, None)
        free = next((name for name in self._groups if name not in self._at.values()), None)
        if free is not None:
            self._at[worker] = free
            return self._taken(self._groups[free].popleft())
        longest = max(self._groups, key=lambda name: len(self._groups[name]), default=None)
        if longest is None or len(self._groups[longest]) < 2:
            return None
        self._at[worker] = longest
        return self._groups[longest].pop()

    def put_back(self, task: Task) -> None:
        """Make ``task`` the next again, and its group the first."""
        group = self._groups.pop(task.group, deque())
        group.appendleft(task)
        self._groups = {task.group: group, **self._groups}

    def release(self, worker: str) -> None:
        """``worker`` has lost what it knew of its group."""
        self._at.pop(worker, None)

    def _taken(self, task: Task) -> Task:
        if not self._groups[task.group]:
            del self._groups[task.group]
        return task


class _Run:
    """The state of one run. ``busy`` has the task of every worker at work, ``idle`` those that wait, in order."""

    def __init__(self, queue: TaskQueue, pool: Pool, record: Record, retries: int) -> None:
        self.queue, self.pool, self.record, self.retries = queue, pool, record, retries
        self.busy: dict[str, Task] = {}
        self.idle: dict[str, None] = {}
        self.gone: dict[str, str] = {}
        self.losses: dict[str, int] = {}

    def until_done(self, on_event: Callable[[Event], None] | None) -> None:
        while self.queue or self.busy:
            if not set(self.pool.workers) - set(self.gone):
                reasons = "; ".join(f"{worker}: {reason}" for worker, reason in self.gone.items())
                raise BenchmarkError(f"No worker is left, with {len(self.queue)} items to do. {reasons}")
            for event in self.pool.events(_PATIENCE):
                self.handle(event)
                if on_event:
                    on_event(event)
            self.hand_out()

    def handle(self, event: Event) -> None:
        worker = event.worker
        if event.what is What.READY:
            self.idle[worker] = None
        elif event.what is What.DONE:
            task = self.busy.pop(worker)
            self.idle[worker] = None
            self.finish(task, event.outcome)
        else:
            self.idle.pop(worker, None)
            self.queue.release(worker)
            if event.what is What.GONE:
                self.gone[worker] = event.reason
            if (task := self.busy.pop(worker, None)) is not None:
                self.lose(task, event)

    def lose(self, task: Task, event: Event) -> None:
        losses = self.losses[task.id] = self.losses.get(task.id, 0) + 1
        if losses <= self.retries:
            log.warning("%s was lost with %s and is tried again: %s", event.worker, task.id, brief(event.reason))
            self.queue.put_back(task)
        else:
            times = "once" if losses == 1 else f"{losses} times"
            cause = f"Its worker died {times}, at last: {event.reason}"
            self.record(Outcome(task.id, event.worker, 0.0, error=cause), losses)

    def hand_out(self) -> None:
        for worker in list(self.idle):
            while (task := self.queue.take(worker)) is not None:
                try:
                    job = task.make()
                except (JobError, OSError) as error:
                    self.finish(task, Outcome(task.id, worker, 0.0, error=str(error)))
                    continue
                del self.idle[worker]
                self.busy[worker] = task
                self.pool.submit(worker, job)
                break

    def finish(self, task: Task, outcome: Outcome) -> None:
        self.record(outcome, self.losses.get(task.id, 0) + 1)
