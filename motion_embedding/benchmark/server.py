"""A ComfyUI server of our own, and a client that runs workflows on it over HTTP.

with Server(comfyui, base) as server:
    server.upload(Path("clip.mp4"))
    history = server.run(prompt, on_progress=print)
    files = server.outputs(history)
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from .guard import Guard
from .progress import Progress, ProgressListener
from .queues import drain

log = logging.getLogger(__name__)


class ServerError(RuntimeError):
    """The server did not start, died or did not answer; the message holds the end of its log."""


class TimedOutError(ServerError):
    """A run took longer than it may."""


class WorkflowError(RuntimeError):
    """A workflow was refused or failed. ``node_id`` and ``node_class`` are empty if no node is to blame."""

    def __init__(self, message: str, node_id: str = "", node_class: str = "") -> None:
        self.message, self.node_id, self.node_class = message, node_id, node_class
        super().__init__(f"{node_class} (node {node_id}): {message}" if node_id else message)


class Server:
    """A ComfyUI server of its own on a free local port, running once, while the context is open.

    Args:
        comfyui: ComfyUI's own folder, the one with ``main.py``. Nothing is written to it.
        base: base directory: its ``models`` and ``custom_nodes`` are used.
        work: where uploads, outputs and the log (``server.log``) go; ``base`` unless given.
        arguments: more command-line arguments for ComfyUI.
        python: the interpreter that has ComfyUI's requirements; this one unless given.
        start_timeout: seconds to wait for the first answer.
        guarded: should this process be killed, the server is ended and ``work``, a scratch folder, removed.
    """

    def __init__(
        self,
        comfyui: Path,
        base: Path,
        work: Path | None = None,
        arguments: Sequence[str] = (),
        python: str = "",
        start_timeout: float = 300,
        guarded: bool = False,
    ) -> None:
        self.comfyui, self.base = comfyui.resolve(), base.resolve()
        self.work = (work or base).resolve()
        self.log_file = self.work / "server.log"
        self.address = ""
        self._arguments, self._start_timeout = list(arguments), start_timeout
        self._python, self._guarded = python or sys.executable, guarded
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        self._lock, self._stopped = threading.Lock(), False

    def __enter__(self) -> Server:
        port = _free_port()
        self.address = f"http://127.0.0.1:{port}"
        command = [self._python, str(self.comfyui / "main.py"), "--base-directory", str(self.base)]
        for folder in ("input", "output", "user"):
            (self.work / folder).mkdir(parents=True, exist_ok=True)
            command += [f"--{folder}-directory", str(self.work / folder)]
        command += ["--temp-directory", str(self.work)]  # the host adds its own "temp"
        command += ["--port", str(port), "--disable-auto-launch", "--disable-api-nodes"]
        command += ["--database-url", "sqlite:///:memory:", "--max-upload-size", "4096"]
        command += [*_device_arguments(self._python), *self._arguments]
        try:
            self._launch(command)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop it for good, now, from any thread, also while it starts: whoever waits for it gets a ServerError."""
        with self._lock:
            self._stopped = True
            process, self._process = self._process, None
            if self._guard is not None:  # first: a process id that is free again may be somebody else's
                self._guard.release()
                self._guard = None
            if process is not None:
                _end(process)

    def alive(self) -> bool:
        """Whether the process runs."""
        process = self._process  # another thread may stop it between two looks
        return process is not None and process.poll() is None

    def object_info(self) -> dict[str, Any]:
        """Every node the server knows, by class, as the editor sees it."""
        return self._request("/object_info")

    def upload(self, path: Path) -> str:
        """Put a file into the input folder; returns the name it got there."""
        boundary = uuid.uuid4().hex
        name = path.name.replace('"', "_")
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        body = f"{head}Content-Type: application/octet-stream\r\n\r\n".encode()
        body += path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        return self._request("/upload/image", body, f"multipart/form-data; boundary={boundary}")["name"]

    def run(
        self, prompt: dict[str, Any], on_progress: Callable[[Progress], None] | None = None, timeout: float = 3600
    ) -> dict[str, Any]:
        """Run an API prompt to its end and return its history entry (``outputs``, ``status``, ...).

        ``on_progress`` is called from this thread; what it raises stops the run.

        Raises:
            WorkflowError: the prompt is invalid, a node failed, or the run was interrupted.
            TimedOutError: ``timeout`` seconds passed.
            ServerError: the server died or was stopped.
        """
        client = uuid.uuid4().hex
        with ProgressListener(f"{self.address}/ws?clientId={client}") as events:
            prompt_id = self._post_prompt(prompt, client)
            try:
                history = self._wait_for(prompt_id, events, on_progress, time.monotonic() + timeout)
            except BaseException:
                with contextlib.suppress(ServerError, HTTPError):  # gone, or hanging: what went wrong before counts
                    self._cancel(prompt_id)
                raise
        _raise_if_failed(history)
        return history

    def interrupt(self) -> None:
        """Ask the running workflow to stop; ``run`` then raises ``WorkflowError``."""
        self._request("/interrupt", b"{}")

    def outputs(self, history: dict[str, Any]) -> list[Path]:
        """The files that a run wrote or previewed, in the order its nodes report them."""
        return [
            self.work / item["type"] / item.get("subfolder", "") / item["filename"]
            for node in history["outputs"].values()
            for items in node.values()
            for item in items
            if isinstance(item, dict) and "filename" in item
        ]

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of the server's log."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    def _post_prompt(self, prompt: dict[str, Any], client: str) -> str:
        try:
            answer = self._request("/prompt", json.dumps({"prompt": prompt, "client_id": client}).encode())
        except HTTPError as error:
            raise _refusal(json.loads(error.read())) from error
        # The host runs the valid part of a graph and only mentions the rest; here half a result is a failure.
        if answer["node_errors"]:
            self._cancel(answer["prompt_id"])
            raise _refusal(answer)
        return answer["prompt_id"]

    def _cancel(self, prompt_id: str) -> None:
        self._request("/queue", json.dumps({"delete": [prompt_id]}).encode())
        self.interrupt()

    def _wait_for(
        self,
        prompt_id: str,
        events: queue.SimpleQueue[Progress],
        on_progress: Callable[[Progress], None] | None,
        deadline: float,
    ) -> dict[str, Any]:
        while time.monotonic() < deadline:
            self._require_alive()
            history = self._request(f"/history/{prompt_id}").get(prompt_id)
            for event in drain(events, patience=0.1 if history else 0.25):
                if on_progress:
                    on_progress(event)
            if history:
                return history
        raise TimedOutError("The workflow did not finish in time.")

    def _request(self, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        request = Request(self.address + path, data=body, headers={"Content-Type": kind})
        try:
            with urlopen(request, timeout=60) as response:
                content = response.read()
        except HTTPError:
            raise
        except (URLError, TimeoutError, ConnectionError) as error:
            raise ServerError(f"ComfyUI does not answer {path} ({error}). Its log ends:\n{self.log_tail()}") from error
        return json.loads(content) if content else None

    def _launch(self, command: Sequence[str]) -> None:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        with self._lock, self.log_file.open("wb") as output:
            if self._stopped:
                raise ServerError("ComfyUI was stopped before it had started.")
            self._process = subprocess.Popen(
                command, cwd=self.work, env=environment, stdout=output, stderr=output, start_new_session=True
            )
            if self._guarded:
                self._guard = Guard(self._process.pid, self.work)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout
        while time.monotonic() < deadline:
            self._require_alive()
            try:
                self._request("/system_stats")
            except ServerError:
                time.sleep(0.25)
            else:
                log.info("ComfyUI answers at %s", self.address)
                return
        raise ServerError(f"ComfyUI did not start in {self._start_timeout:.0f} s. Its log ends:\n{self.log_tail()}")

    def _require_alive(self) -> None:
        if not self.alive():
            raise ServerError(f"ComfyUI is not running any more. Its log ends:\n{self.log_tail()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, sign)
            process.wait(timeout=10)
            return
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _device_arguments(python: str) -> list[str]:
    """``--cpu`` unless the interpreter that will run the server sees an accelerator."""
    check = "import sys, torch; sys.exit(not (torch.cuda.is_available() or torch.backends.mps.is_available()))"
    return [] if subprocess.run([python, "-c", check], capture_output=True).returncode == 0 else ["--cpu"]


def _refusal(answer: dict[str, Any]) -> WorkflowError:
    for node_id, node in answer.get("node_errors", {}).items():
        causes = "; ".join(f"{error['message']}: {error['details']}" for error in node["errors"])
        return WorkflowError(causes, node_id, node["class_type"])
    error = answer["error"]
    return WorkflowError(f"{error['message']} {error.get('details', '')}".strip())


def _raise_if_failed(history: dict[str, Any]) -> None:
    for kind, data in history["status"]["messages"]:
        if kind == "execution_error":
            raise WorkflowError(data["exception_message"].strip(), data["node_id"], data["node_type"])
        if kind == "execution_interrupted":
            raise WorkflowError("The run was interrupted.", data["node_id"], data["node_type"])
