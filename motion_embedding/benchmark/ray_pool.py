"""Workers on the machines of a Ray cluster: an actor each, which owns a ComfyUI on its machine."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import InputError
from .ray_cluster import connect
from .work import Event, HostOptions, Job, Outcome, What
from .worker import Worker, WorkerLostError

log = logging.getLogger(__name__)

_FAILED_STARTS = 3
_CLOSING = 15.0  # seconds for every ComfyUI to stop
_REASON = 2000  # characters: Ray's explanations are long, and the end of a log is worth keeping


class RayPool:
    """A :class:`.work.Pool` whose workers are Ray actors, one per GPU where the cluster has GPUs, else one per machine.

    An actor that waits for its GPU or CPUs is not READY yet; machines that join the cluster later are used as soon as
    an actor waits for them. Ray repeats nothing by itself: a worker that dies is reported LOST with its job, and an
    actor takes its place wherever there is room; whether the job is tried again is the scheduler's to say.

    Args:
        address: see :func:`.ray_cluster.connect`.
        options: the ComfyUI of every worker; its paths are those of the workers' machines, and absolute.
        workers: how many; 0 for as many as the cluster has room for now, at least one.
        cpus: cores that a worker takes; its ComfyUI gets as many threads.
        gpus: GPUs that a worker takes, also parts of one; 1 if the cluster has any, unless given. The worker's ComfyUI
            sees no others.

    Raises:
        InputError: Ray is missing, the cluster cannot be reached, or a path is not absolute.
    """

    def __init__(
        self, address: str, options: HostOptions, workers: int = 0, cpus: float = 1.0, gpus: float | None = None
    ) -> None:
        for path in (options.comfyui, options.base):
            if path is not None and not path.is_absolute():
                raise InputError(
                    "--ray", f"{path} is not an absolute path.", "Give it as it is on the workers' machines."
                )
        self._options = options
        self._ray = connect(address)
        total = self._ray.cluster_resources().get("GPU", 0)
        gpus = min(1.0, total) if gpus is None else gpus
        self._actor_class = self._ray.remote(
            num_cpus=cpus,
            num_gpus=gpus,
            scheduling_strategy="SPREAD",
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=2,  # `close` must get through while `run` is busy
        )(_Machine)
        room = int(total / gpus) if gpus else sum(node["Resources"].get("CPU", 0) >= cpus for node in self._nodes())
        self._names = [f"ray-{index}" for index in range(1, (workers or max(room, 1)) + 1)]
        self._clips = _Clips(self._ray.put, limit=2 * len(self._names))
        self._actors: dict[str, Any] = {}
        self._waiting: dict[Any, tuple[str, What]] = {}
        """Worker and what it will be, by the ref that says so."""
        self._failed_starts = dict.fromkeys(self._names, 0)
        for name in self._names:
            self._start(name)

    @property
    def workers(self) -> Sequence[str]:
        return tuple(self._names)

    def submit(self, worker: str, job: Job) -> None:
        bare = dataclasses.replace(job, clip=b"")
        self._waiting[self._actors[worker].run.remote(bare, self._clips.ref(job.clip))] = worker, What.DONE

    def events(self, timeout: float) -> list[Event]:
        if not self._waiting:
            time.sleep(timeout)
            return []
        done, _ = self._ray.wait(list(self._waiting), timeout=timeout)
        if done:
            done, _ = self._ray.wait(list(self._waiting), num_returns=len(self._waiting), timeout=0)
        return [event for ref in done if (event := self._event(ref)) is not None]

    def close(self) -> None:
        # A pending actor never answers, so only those are waited for that can; the rest have had word, too, when they
        # are killed.
        closing = {name: actor.close.remote() for name, actor in self._actors.items()}
        started = [ref for name, ref in closing.items() if (name, What.READY) not in self._waiting.values()]
        if started:
            self._ray.wait(started, num_returns=len(started), timeout=_CLOSING)
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        self._waiting.clear()
        self._ray.shutdown()

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _start(self, name: str) -> None:
        self._actors[name] = self._actor_class.remote(name, self._options)
        self._waiting[self._actors[name].start.remote()] = name, What.READY

    def _event(self, ref: Any) -> Event | None:
        """The news that ``ref`` brings; None for a failed start that will be tried again."""
        name, what = self._waiting.pop(ref)
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            return self._after_death(name, what, _reason(error))
        if what is What.READY:
            machine, nodes = answer
            log.info("%s is ready on %s", name, machine)
            self._failed_starts[name] = 0
            return Event(name, What.READY, nodes=nodes)
        return Event(name, What.DONE, answer)

    def _after_death(self, name: str, was_to_be: What, reason: str) -> Event | None:
        self._ray.kill(self._actors.pop(name))  # it may be alive, without its ComfyUI
        if was_to_be is What.READY:
            self._failed_starts[name] += 1
            log.warning("%s did not start (%d of %d): %s", name, self._failed_starts[name], _FAILED_STARTS, reason)
            if self._failed_starts[name] == _FAILED_STARTS:
                return Event(name, What.GONE, reason=f"it did not start {_FAILED_STARTS} times in a row: {reason}")
        self._start(name)
        return Event(name, What.LOST, reason=reason) if was_to_be is What.DONE else None


class _Machine:
    """The actor: a worker, in a process of its own on some machine of the cluster."""

    def __init__(self, name: str, options: HostOptions) -> None:
        self._machine = socket.gethostname()
        self._worker = Worker(options, f"{name}@{self._machine}")

    def start(self) -> tuple[str, Mapping[str, Any]]:
        """Start ComfyUI; returns the name of this machine and the nodes that its ComfyUI knows."""
        self._worker.start()
        return self._machine, self._worker.nodes

    def run(self, job: Job, clip: bytes) -> Outcome:
        try:
            return self._worker.run(dataclasses.replace(job, clip=clip))
        except WorkerLostError:
            raise
        except Exception as error:  # a mistake of ours with this one job; the others may go well
            return Outcome(job.id, self._worker.name, 0.0, error=f"{type(error).__name__}: {error}")

    def close(self) -> None:
        self._worker.close()


class _Clips:
    """Clips in the cluster's object store, so that each travels once to a machine and not once per job.

    The ``limit`` clips used last are kept; of others Ray keeps what a job still needs.
    """

    def __init__(self, put: Callable[[bytes], Any], limit: int) -> None:
        self._put, self._limit = put, limit
        self._refs: OrderedDict[str, Any] = OrderedDict()

    def ref(self, clip: bytes) -> Any:
        digest = hashlib.sha256(clip).hexdigest()
        if digest not in self._refs:
            self._refs[digest] = self._put(clip)
        self._refs.move_to_end(digest)
        while len(self._refs) > self._limit:
            self._refs.popitem(last=False)
        return self._refs[digest]


def _reason(error: Exception) -> str:
    """Why a worker died: what it raised itself if it could, else Ray's explanation, on one line."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return str(cause)[-_REASON:]
    return " ".join(str(error).split())[-_REASON:]
