"""Workers on this machine: a thread for each, and each with a ComfyUI of its own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence

from .queues import drain
from .work import Event, HostOptions, Job, Outcome, What
from .worker import Worker, WorkerLostError

log = logging.getLogger(__name__)

_STARTS = 3
_PAUSE = 1.0


class LocalPool:
    """A :class:`.work.Pool` of threads; ``workers`` maps a worker's name to the ComfyUI that it starts.

    A worker that is lost is started anew; after three failed starts in a row it is gone.
    """

    def __init__(self, workers: Mapping[str, HostOptions]) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._members = {name: _Member(Worker(options, name), self._serve) for name, options in workers.items()}
        for member in self._members.values():
            member.thread.start()

    @property
    def workers(self) -> Sequence[str]:
        return list(self._members)

    def submit(self, worker: str, job: Job) -> None:
        self._members[worker].jobs.put(job)

    def events(self, timeout: float) -> list[Event]:
        return list(drain(self._events, timeout))

    def close(self) -> None:
        self._closing.set()
        for member in self._members.values():
            member.jobs.put(None)
            member.worker.close()
        for member in self._members.values():
            member.thread.join()

    def _serve(self, member: _Member) -> None:
        """The life of one worker, in its thread."""
        worker, failures = member.worker, 0
        while not self._closing.is_set():
            try:
                worker.start()
            except Exception as error:  # whatever it is: a thread that ended without a word would be waited for
                failures += 1
                if failures == _STARTS:
                    self._tell(worker, What.GONE, reason=f"it did not start {failures} times in a row: {error}")
                    return
                self._closing.wait(_PAUSE)
                continue
            failures = 0
            self._events.put(Event(worker.name, What.READY, nodes=worker.nodes))
            self._work(member)

    def _work(self, member: _Member) -> None:
        """One job after another, until the worker is lost or the pool closes."""
        while (job := member.jobs.get()) is not None:
            try:
                outcome = member.worker.run(job)
            except WorkerLostError as error:
                self._tell(member.worker, What.LOST, reason=str(error))
                return
            except Exception as error:  # a mistake of ours with this one job; the others may go well
                log.exception("%s failed in an unexpected way", job.id)
                outcome = Outcome(job.id, member.worker.name, 0.0, error=f"{type(error).__name__}: {error}")
            self._tell(member.worker, What.DONE, outcome)

    def _tell(self, worker: Worker, what: What, outcome: Outcome | None = None, reason: str = "") -> None:
        self._events.put(Event(worker.name, what, outcome, reason))


class _Member:
    """A worker, what it is to do, and the thread in which it does it."""

    def __init__(self, worker: Worker, serve: Callable[[_Member], None]) -> None:
        self.worker = worker
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=serve, args=(self,), name=worker.name, daemon=True)
