"""A worker: a ComfyUI of its own, and one job after another on it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import HTTPError

from .job_prompt import JobError, build_prompt
from .result_file import read_result
from .server import Server, ServerError, TimedOutError, WorkflowError
from .work import HostOptions, Job, Outcome


class WorkerLostError(RuntimeError):
    """The worker's ComfyUI did not start, died, or stopped answering: not the fault of the job it had, as far as one
    can tell."""


class Worker:
    """Runs jobs on a ComfyUI server that it starts for itself, in a scratch folder of its own.

    The server puts no metadata into its files: it would note paths and times there, and the same job shall give the
    same bytes.

    ``start`` (or the first ``run``) starts the server, ``close`` stops it and removes the scratch folder. ``close``
    may be called from any thread, also while another is in ``start`` or ``run``: that then raises
    :class:`WorkerLostError`.
    """

    def __init__(self, options: HostOptions, name: str) -> None:
        self.options, self.name = options, name
        self._server: Server | None = None
        self._object_info: dict[str, Any] = {}
        self._clip = ("", "")
        """Digest of the clip that lies in the input folder, and its name there."""
        self._lock, self._closed = threading.Lock(), False

    def __enter__(self) -> Worker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def nodes(self) -> Mapping[str, Any]:
        """The nodes that the worker's ComfyUI knows, once it has started (its answer to ``/object_info``)."""
        return self._object_info

    def start(self) -> Server:
        """Start ComfyUI unless it is running; takes seconds to minutes. Raises :class:`WorkerLostError`."""
        server = self._server
        if server is not None and server.alive():
            return server
        self._stop()
        options = self.options
        with self._lock:
            if self._closed:
                raise WorkerLostError("The worker was closed.")
            scratch = Path(tempfile.mkdtemp(prefix="motion-benchmark-"))
            base = options.base or options.comfyui
            arguments = ("--disable-metadata", *options.arguments)
            server = Server(options.comfyui, base, scratch, arguments, options.python, guarded=True)
            self._server = server
        try:
            with _losing(server):
                server.__enter__()
                self._object_info = server.object_info()
        except BaseException:
            self._stop()
            shutil.rmtree(scratch, ignore_errors=True)  # made anew, if `close` came before the server was there
            raise
        return server

    def run(self, job: Job) -> Outcome:
        """Make the video of ``job``.

        What is wrong with the job itself (titles, a refused prompt, a node that failed or ran out of memory, too long
        a time) is the outcome's ``error``. Raises :class:`WorkerLostError` when the server did not start or is gone;
        the next ``run`` starts a new one.
        """
        server = self.start()
        begin = time.monotonic()
        try:
            with _losing(server):
                video, suffix = self._make(server, job)
        except (JobError, WorkflowError) as error:
            return Outcome(job.id, self.name, time.monotonic() - begin, error=str(error))
        except TimedOutError:
            # What hangs may go on hanging: the next job gets a fresh server.
            self._stop()
            cause = f"It was stopped after {self.options.timeout:g} s, the longest that an item may take."
            return Outcome(job.id, self.name, time.monotonic() - begin, error=cause)
        except WorkerLostError:
            self._stop()
            raise
        return Outcome(job.id, self.name, time.monotonic() - begin, video, suffix)

    def close(self) -> None:
        """Stop ComfyUI, now and for good, and remove the scratch folder."""
        with self._lock:
            self._closed = True
        self._stop()

    def _make(self, server: Server, job: Job) -> tuple[bytes, str]:
        prompt, output = build_prompt(job, self._upload(server, job), self._object_info)
        history = server.run(prompt, timeout=self.options.timeout)
        files = server.outputs({"outputs": {output: history["outputs"].get(output, {})}})
        try:
            return read_result(files, job.clip)
        finally:
            # Not what a node wrote elsewhere, to a folder of the user's own, nor an upload that it passed on.
            for file in map(Path.resolve, files):
                if any(file.is_relative_to(server.work / folder) for folder in ("output", "temp")):
                    file.unlink(missing_ok=True)

    def _upload(self, server: Server, job: Job) -> str:
        """The name of the job's clip in the input folder, where only the last clip is kept."""
        digest = hashlib.sha256(job.clip).hexdigest()
        if self._clip[0] != digest:
            # The name tells the content, for the server's cache and for equal results in every run.
            name = Path(job.clip_name)
            file = server.work / f"{name.stem}-{digest[:10]}{name.suffix or '.mp4'}"
            file.write_bytes(job.clip)
            previous, self._clip = self._clip[1], (digest, server.upload(file))
            file.unlink()
            if previous:
                (server.work / "input" / previous).unlink(missing_ok=True)
        return self._clip[1]

    def _stop(self) -> None:
        with self._lock:
            server, self._server = self._server, None
            self._clip = ("", "")
        if server is not None:
            server.stop()
            shutil.rmtree(server.work, ignore_errors=True)


@contextlib.contextmanager
def _losing(server: Server) -> Iterator[None]:
    """Whatever a server that is gone or going can lead to, as :class:`WorkerLostError`."""
    try:
        yield
    except (JobError, WorkflowError, TimedOutError):
        raise
    except ServerError as error:
        raise WorkerLostError(str(error)) from error
    except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
        log = ""
        with contextlib.suppress(OSError):  # it goes with the scratch folder when the worker is closed
            log = f" Its log ends:\n{server.log_tail()}"
        raise WorkerLostError(f"ComfyUI stopped answering ({error}).{log}") from error
