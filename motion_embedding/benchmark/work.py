"""What passes between the runner and its workers, wherever they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class HostOptions:
    """The ComfyUI that a worker starts for itself, on the worker's machine.

    ``base`` holds models and custom nodes (``comfyui`` itself unless given); ``arguments`` go to ComfyUI;
    ``timeout`` is the longest one item may take, in seconds.
    """

    comfyui: Path
    base: Path | None = None
    python: str = ""
    arguments: tuple[str, ...] = ()
    timeout: float = 3600.0


@dataclass(frozen=True)
class Job:
    """One item as a worker needs it: whole in itself, so that it can be sent to another machine.

    Jobs of one ``group`` share a method and a clip; a worker that runs them one after another pays for their common
    work (training) once, because its host caches it. ``workflow`` is a workflow file's content, in the editor's
    format or the server's; ``values`` maps ``"Node title.input"`` to a value; ``clip_inputs`` names the inputs that
    get the name under which ``clip`` (the bytes of a video file) was uploaded; ``output`` is the title of the node
    whose file is the result.
    """

    id: str
    group: str
    workflow: Mapping[str, Any]
    values: Mapping[str, Any]
    clip_inputs: tuple[str, ...]
    clip_name: str
    clip: bytes = field(repr=False)
    output: str


@dataclass(frozen=True)
class Outcome:
    """What became of a job: the bytes of a video file, or ``error``, why the item itself cannot be made."""

    id: str
    worker: str
    seconds: float
    video: bytes = field(default=b"", repr=False)
    suffix: str = ".mp4"
    error: str = ""


class What(Enum):
    """READY: a worker can take a job. DONE: it has finished one and can take the next. LOST: it died, and its job with
    it; the pool starts it anew, which a READY will tell. GONE: it cannot be started, however often it was tried."""

    READY = "ready"
    DONE = "done"
    LOST = "lost"
    GONE = "gone"


@dataclass(frozen=True)
class Event:
    """News of one worker; ``outcome`` with DONE, ``reason`` with LOST and GONE; with READY may come ``nodes``, what its
    ComfyUI knows (its answer to ``/object_info``)."""

    worker: str
    what: What
    outcome: Outcome | None = None
    reason: str = ""
    nodes: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)


class Pool(Protocol):
    """Workers, each with a ComfyUI of its own, each busy with at most one job."""

    @property
    def workers(self) -> Sequence[str]:
        """Names of all workers, ready or not yet."""
        ...

    def submit(self, worker: str, job: Job) -> None:
        """Give a job to a worker that is READY or DONE; returns at once."""
        ...

    def events(self, timeout: float) -> list[Event]:
        """What happened since the last call, waiting up to ``timeout`` seconds for the first; empty if nothing did."""
        ...

    def close(self) -> None:
        """Stop every worker and its ComfyUI, now."""
        ...
